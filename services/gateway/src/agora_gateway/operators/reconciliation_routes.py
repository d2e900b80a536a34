"""HTTP of the operator: is what was recorded, published, counted, charged and booked the same everywhere."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.reconciliation import Difference, Reconcile, Reconciliation
from agora_kit.broker import Broker
from litestar import post
from litestar.di import NamedDependency
from msgspec import Meta

from agora_gateway.edge.routing import answers, body, existing


class ReconcileBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when on to compare, of which tenant, and up to how many seconds ago: what is newer may be on its way."""

    since: Annotated[datetime, Meta(tz=True)]
    tenant: str | None = None
    grace_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 60.0


_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_A_REQUEST = ReconcileBody(since=_AT, tenant="ten_0190a5b07c3a7d4e8f00112233445566")
_A_RECONCILIATION = Reconciliation(
    since=_AT,
    until=datetime(2026, 1, 5, 10, 0, tzinfo=UTC),
    events=120,
    runs=40,
    totals=360,
    differences=[
        Difference(
            joint="events",
            subject="run_0190a5b07c3a7d4e8f00112233445566/clean/1#0:tasks",
            detail="was recorded and is not counted",
            tenant="ten_0190a5b07c3a7d4e8f00112233445566",
        )
    ],
)


@post(
    "/reconcile",
    status_code=200,
    summary="Reconcile usage and money",
    operation_id="reconcile",
    responses=answers(_A_RECONCILIATION, "not_found", "malformed_request", "invalid_input"),
)
async def reconcile(
    broker: NamedDependency[Broker], data: Annotated[ReconcileBody, body(_A_REQUEST)]
) -> Reconciliation:
    """Compare recorded usage, stream, counted events, totals, runs, charges, holds and ledger; may take minutes."""
    try:
        since = data.since.astimezone(UTC)
    except OverflowError as error:
        raise AgoraError(
            "invalid_input",
            "since must lie in the years 1 to 9999 in UTC",
            errors=[FieldError(field="/since", detail="must lie in the years 1 to 9999 in UTC")],
        ) from error
    tenant = None if data.tenant is None else existing("ten", data.tenant)
    command = Reconcile(since=since, tenant=tenant, grace_seconds=data.grace_seconds)
    found: Reconciliation = await broker.ask(command)
    return found


handlers = (reconcile,)
