"""Runs as the public API shows them: without the tenant, money as decimal strings."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from agora_contracts.billing import ChargeDifference, Quantity, QuoteLine, Receipt
from agora_contracts.calls import CallCharge
from agora_contracts.money import PublicMoney, to_public
from agora_contracts.runs import ENDED, Deliverable, Run, RunError, RunStatus, Step, StepList, WaitingFor
from litestar import Response

from agora_gateway.edge.gate import PREFIX
from agora_gateway.edge.shapes import A_LINE, A_QUANTITY, USD_HALF, optional_money, public_money
from agora_gateway.refunds.shapes import RefundShape, refund_shape


class RunShape(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `quoted` was set aside for it; `cost` is null until the charge is settled."""

    id: str
    status: RunStatus
    waiting_for: WaitingFor | None
    package: str
    version: str
    deployment: str | None
    basis: str
    output: dict[str, Any] | None
    deliverable: Deliverable | None
    error: RunError | None
    usage: list[Quantity]
    steps: int
    quoted: PublicMoney
    cost: PublicMoney | None
    accepted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of runs, newest first."""

    items: list[RunShape]
    next_cursor: str | None = None


class CallShape(msgspec.Struct, frozen=True, kw_only=True):
    """A run that another one called, on that one's receipt: what was set aside for it, and its own charge."""

    run: str
    package: str
    state: str
    held: PublicMoney
    charged: PublicMoney
    refunded: PublicMoney


class ReceiptShape(msgspec.Struct, frozen=True, kw_only=True):
    """What was quoted, held, charged and released for a run, line by line, and why they differ, meter by meter."""

    run: str
    state: str
    price_version: str
    basis: str
    quoted: PublicMoney
    held: PublicMoney
    charged: PublicMoney
    released: PublicMoney
    revision: int
    lines: list[QuoteLine]
    quote_lines: list[QuoteLine]
    explanation: str
    settled_at: datetime | None
    differences: list[ChargeDifference]
    refunded: PublicMoney
    refunds: list[RefundShape]
    parent: str | None
    calls: list[CallShape]
    calls_charged: PublicMoney


def run_shape(run: Run) -> RunShape:
    """A run for its tenant."""
    return RunShape(
        id=run.id,
        status=run.status,
        waiting_for=run.waiting_for,
        package=run.package,
        version=run.version,
        deployment=run.deployment,
        basis=run.basis,
        output=run.output,
        deliverable=run.deliverable,
        error=run.error,
        usage=run.usage,
        steps=run.steps,
        quoted=to_public(run.quoted),
        cost=optional_money(run.cost),
        accepted_at=run.accepted_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )


def started(run: Run) -> Response[RunShape]:
    """The answer to a request that started a run: 200 when it has ended, else 202, and where to follow it."""
    ended = run.status in ENDED
    return Response(
        run_shape(run),
        status_code=200 if ended else 202,
        headers={"location": f"{PREFIX}/runs/{run.id}"},
    )


def receipt_shape(receipt: Receipt) -> ReceiptShape:
    """A receipt for the public."""
    currency = receipt.currency
    return ReceiptShape(
        run=receipt.run,
        state=receipt.state,
        price_version=receipt.price_version,
        basis=receipt.basis,
        quoted=public_money(receipt.quoted, currency),
        held=public_money(receipt.held, currency),
        charged=public_money(receipt.charged, currency),
        released=public_money(receipt.released, currency),
        revision=receipt.revision,
        lines=receipt.lines,
        quote_lines=receipt.quote_lines,
        explanation=receipt.explanation,
        settled_at=receipt.settled_at,
        differences=receipt.differences,
        refunded=public_money(receipt.refunded, currency),
        refunds=[refund_shape(one) for one in receipt.refunds],
        parent=receipt.parent,
        calls=[_call_shape(one, currency) for one in receipt.calls],
        calls_charged=public_money(receipt.calls_charged, currency),
    )


def _call_shape(call: CallCharge, currency: str) -> CallShape:
    return CallShape(
        run=call.run,
        package=call.package,
        state=call.state,
        held=public_money(call.held, currency),
        charged=public_money(call.charged, currency),
        refunded=public_money(call.refunded, currency),
    )


# --- examples of the documentation ---------------------------------------------------------------

_RUN = "run_0190a5b07c3a7d4e8f00112233445566"
_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_LATER = datetime(2026, 1, 5, 9, 0, 1, tzinfo=UTC)
A_RUN = RunShape(
    id=_RUN,
    status="succeeded",
    waiting_for=None,
    package="echo",
    version="1.0.0",
    deployment=None,
    basis="task",
    output={"text": "hello"},
    deliverable="full",
    error=None,
    usage=[A_QUANTITY],
    steps=1,
    quoted=USD_HALF,
    cost=USD_HALF,
    accepted_at=_AT,
    started_at=_AT,
    finished_at=_LATER,
)
A_RUN_PAGE = RunPageShape(items=[A_RUN])
STEPS = StepList(
    items=[
        Step(
            id="echo:1:",
            node="echo",
            title="Echo",
            visit=1,
            branch="",
            seq=3,
            attempt=1,
            started_at=_AT,
            finished_at=_LATER,
            usage=[Quantity(meter="tasks", quantity=Decimal(1))],
            summary="5 characters",
        )
    ]
)
A_RECEIPT = ReceiptShape(
    run=_RUN,
    state="settled",
    price_version="price_0190a5b07c3a7d4e8f00112233445566",
    basis="task",
    quoted=PublicMoney(amount="1.000000", currency="USD"),
    held=PublicMoney(amount="1.500000", currency="USD"),
    charged=USD_HALF,
    released=USD_HALF,
    revision=1,
    lines=[A_LINE],
    quote_lines=[msgspec.structs.replace(A_LINE, quantity=Decimal(2), amount=Decimal(1))],
    explanation="0.50 USD charged of 1.00 USD quoted: delivered in full; 0.50 USD went back to the account.",
    settled_at=_LATER,
    differences=[
        ChargeDifference(
            meter=A_LINE.meter, quoted=Decimal(1), charged=Decimal("0.5"), why="1 of 2 estimated"
        )
    ],
    refunded=PublicMoney(amount="0.000000", currency="USD"),
    refunds=[],
    parent=None,
    calls=[
        CallShape(
            run="run_0190a5b07c3a7d4e8f00112233445577",
            package="knowledge-base",
            state="settled",
            held=USD_HALF,
            charged=USD_HALF,
            refunded=PublicMoney(amount="0.000000", currency="USD"),
        )
    ],
    calls_charged=USD_HALF,
)
EVENTS = f"""\
id: 4
event: run.finished
data: {{"run":"{_RUN}","status":"succeeded","deliverable":"full","error":null}}

id: 5
event: run.charged
data: {{"run":"{_RUN}","revision":1,"amount":{{"amount":"0.500000","currency":"USD"}},"lines":[],\
"refunded":{{"amount":"0.000000","currency":"USD"}}}}

"""
