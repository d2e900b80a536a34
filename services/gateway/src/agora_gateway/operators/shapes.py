"""What only the operator sends and sees."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from agora_contracts.billing import OpenHolds
from agora_contracts.catalog import ListingState, Schemas
from agora_contracts.money import PublicMoney
from agora_contracts.platform import DeadLetter, DeadLetterPage, Health, ReplayReport
from agora_contracts.usage import Replayed
from msgspec import Meta

from agora_gateway.edge.shapes import MoneyBody, public_money


class TopUpBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Paid credit. `reference` (a payment's number) makes it happen once."""

    amount: MoneyBody
    reference: Annotated[str, Meta(min_length=1, max_length=200)]


class PublishBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package version: its manifest (what `agent.toml` says) and its JSON Schemas (2020-12)."""

    manifest: dict[str, Any]
    schemas: Schemas
    first_party: bool = False


class StateBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state that a version shall have."""

    state: ListingState


class ReplayBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters of a service to hand to their consumer again; none named means all."""

    service: str
    ids: list[Annotated[int, Meta(ge=1, le=2**63 - 1)]] = []


class OpenHoldShape(msgspec.Struct, frozen=True, kw_only=True):
    """Credit that is set aside for a run now."""

    run: str
    tenant: str
    account: str
    state: str
    amount: PublicMoney
    placed_at: datetime


class OpenHoldsShape(msgspec.Struct, frozen=True, kw_only=True):
    """Open holds, oldest first, and how many there are in all."""

    items: list[OpenHoldShape]
    total: int


class PlatformHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Every process of the platform; `status` is ready only when all of them are."""

    status: str
    processes: list[Health]


def open_holds_shape(holds: OpenHolds) -> OpenHoldsShape:
    """Open holds for the operator."""
    return OpenHoldsShape(
        items=[
            OpenHoldShape(
                run=hold.run,
                tenant=hold.tenant,
                account=hold.account,
                state=hold.state,
                amount=public_money(hold.amount, "USD"),
                placed_at=hold.placed_at,
            )
            for hold in holds.items
        ],
        total=holds.total,
    )


# --- examples of the documentation ---------------------------------------------------------------

_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
A_TOP_UP = TopUpBody(amount=MoneyBody(amount="100.000000"), reference="invoice 2026-0001")
A_PUBLICATION = PublishBody(
    manifest={
        "id": "echo",
        "version": "1.0.0",
        "title": "Echo",
        "summary": "Returns the text it was given.",
        "category": "operations-automation",
        "prices": [{"basis": "task", "unit_price": "0.5", "meter": "tasks"}],
        "estimate": {"tasks": {"fixed": "1"}},
    },
    schemas=Schemas(
        input={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        output={"type": "object", "properties": {"text": {"type": "string"}}},
        config={"type": "object"},
    ),
)
A_STATE = StateBody(state="deprecated")
DEAD_LETTERS = DeadLetterPage(
    items=[
        DeadLetter(
            id=7,
            subject="agora.evt.ten_1.usage.event.recorded",
            reason="quantity must be a number",
            message_id="evt_0190a5b07c3a7d4e8f00112233445566",
            payload="{}",
            received_at=_AT,
        )
    ]
)
A_REPLAY = ReplayBody(service="metering", ids=[7])
A_REPORT = ReplayReport(accepted=1)
REPLAYED = Replayed(count=3)
OPEN_HOLDS = OpenHoldsShape(
    items=[
        OpenHoldShape(
            run="run_0190a5b07c3a7d4e8f00112233445566",
            tenant="ten_0190a5b07c3a7d4e8f00112233445566",
            account="acc_0190a5b07c3a7d4e8f00112233445566",
            state="firm",
            amount=PublicMoney(amount="0.500000"),
            placed_at=_AT,
        )
    ],
    total=1,
)
PLATFORM_HEALTH = PlatformHealth(
    status="ready", processes=[Health(service="billing", status="ready", checks={"database": "ok"})]
)
