"""HTTP of refunds, for the operator; a tenant sees them on the run's receipt and on its statement."""

from typing import Annotated

from agora_contracts.refunds import ListRefunds, RefundRun
from agora_kit.broker import Broker
from litestar import get, post
from litestar.di import NamedDependency

from agora_gateway.edge.routing import RunId, answers, body, existing
from agora_gateway.edge.shapes import read_money
from agora_gateway.refunds import shapes
from agora_gateway.refunds.shapes import (
    RefundBody,
    RefundListShape,
    RefundResultShape,
    list_shape,
    result_shape,
)


@post(
    "/runs/{run:str}/refunds",
    summary="Refund a run",
    operation_id="refundRun",
    responses=answers(
        shapes.A_RESULT,
        "not_found",
        "conflict",
        "refund_exceeds_charge",
        "malformed_request",
        "invalid_input",
        "currency_mismatch",
        status=201,
    ),
)
async def refund_run(
    broker: NamedDependency[Broker], run: RunId, data: Annotated[RefundBody, body(shapes.A_REFUND_BODY)]
) -> RefundResultShape:
    """Give back part or all of what a run was charged. The same reference does it once."""
    amount = None if data.amount is None else read_money(data.amount, "/amount")
    command = RefundRun(run=existing("run", run), amount=amount, reason=data.reason, reference=data.reference)
    return result_shape(await broker.ask(command))


@get(
    "/runs/{run:str}/refunds",
    summary="List a run's refunds",
    operation_id="listRefunds",
    responses=answers(shapes.A_LIST, "not_found"),
)
async def list_refunds(broker: NamedDependency[Broker], run: RunId) -> RefundListShape:
    """What was given back of a run's charge, with the reasons, oldest first."""
    return list_shape(await broker.ask(ListRefunds(run=existing("run", run))))


handlers = (refund_run, list_refunds)
