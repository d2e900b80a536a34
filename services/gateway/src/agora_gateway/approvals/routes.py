"""HTTP of approvals: list, read, decide, and what happened to them."""

from typing import Annotated

from agora_contracts.approvals import (
    Approval,
    ApprovalState,
    ApprovalTrail,
    DecideApproval,
    GetApproval,
    ListApprovals,
    ListApprovalTrail,
)
from agora_kit.broker import Broker
from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.approvals import shapes
from agora_gateway.approvals.shapes import (
    ApprovalPageShape,
    ApprovalShape,
    DecisionBody,
    approval_page_shape,
    approval_shape,
)
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import (
    TENANT_SECURITY,
    ApprovalId,
    Cursor,
    Limit,
    answers,
    body,
    existing,
)

State = Annotated[
    ApprovalState | None, QueryParameter(name="state", description="Only approvals in this state.")
]
OfRun = Annotated[str | None, QueryParameter(name="run", description="Only approvals of this run.")]

REFUSED = (
    "not_found",
    "forbidden",
    "approval_decided",
    "approval_expired",
    "run_ended",
    "invalid_input",
    "insufficient_credit",
    "budget_exhausted",
)
OPERATOR = "operator"
"""Who decided, where the operator did."""


@get(
    "/",
    guards=[requires("read")],
    summary="List approvals",
    operation_id="listApprovals",
    responses=answers(shapes.AN_APPROVAL_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_approvals(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    wanted: State = None,
    run: OfRun = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> ApprovalPageShape:
    """What the tenant's runs wait for people to decide, or waited for, newest first."""
    query = ListApprovals(tenant=tenant.id, run=run, state=wanted, cursor=cursor, limit=limit)
    return approval_page_shape(await broker.ask(query))


@get(
    "/{approval:str}",
    guards=[requires("read")],
    summary="Read an approval",
    operation_id="getApproval",
    responses=answers(shapes.AN_APPROVAL, "not_found"),
)
async def get_approval(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], approval: ApprovalId
) -> ApprovalShape:
    """What is to be decided, with which arguments, why, and until when."""
    return approval_shape(await broker.ask(GetApproval(approval=existing("apr", approval), tenant=tenant.id)))


@post(
    "/{approval:str}/decide",
    status_code=200,
    guards=[requires("approve")],
    summary="Decide an approval",
    operation_id="decideApproval",
    responses=answers(shapes.AN_APPROVAL, *REFUSED),
)
async def decide_approval(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    approval: ApprovalId,
    data: Annotated[DecisionBody, body(shapes.A_DECISION)],
) -> ApprovalShape:
    """Approve or reject; the run goes on. The same decision again is answered alike, another one is a conflict."""
    return approval_shape(await _decide(broker, approval, data, tenant.id, tenant.key))


@get(
    "/{approval:str}/trail",
    guards=[requires("read")],
    summary="Read an approval's trail",
    operation_id="getApprovalTrail",
    responses=answers(shapes.A_TRAIL, "not_found", "invalid_input", "invalid_cursor"),
)
async def get_trail(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    approval: ApprovalId,
    cursor: Cursor = None,
    limit: Limit = 200,
) -> ApprovalTrail:
    """Everything that happened to an approval, in order, refused decisions too.

    `refused` counts all of these; the first hundred have an entry each.
    """
    query = ListApprovalTrail(
        approval=existing("apr", approval), tenant=tenant.id, cursor=cursor, limit=limit
    )
    found: ApprovalTrail = await broker.ask(query)
    return found


router = Router(
    "/approvals",
    route_handlers=[list_approvals, get_approval, decide_approval, get_trail],
    tags=["Approvals"],
    security=TENANT_SECURITY,
)


@get(
    "/approvals",
    summary="List the operator's approvals",
    operation_id="listOperatorApprovals",
    responses=answers(shapes.AN_APPROVAL_PAGE, "invalid_cursor"),
)
async def list_for_operator(
    broker: NamedDependency[Broker], wanted: State = None, cursor: Cursor = None, limit: Limit = 50
) -> ApprovalPageShape:
    """What runs of all tenants wait for the operator to decide."""
    return approval_page_shape(await broker.ask(ListApprovals(state=wanted, cursor=cursor, limit=limit)))


@post(
    "/approvals/{approval:str}/decide",
    status_code=200,
    summary="Decide an approval as the operator",
    operation_id="decideOperatorApproval",
    responses=answers(shapes.AN_APPROVAL, *REFUSED),
)
async def decide_for_operator(
    broker: NamedDependency[Broker],
    approval: ApprovalId,
    data: Annotated[DecisionBody, body(shapes.A_DECISION)],
) -> ApprovalShape:
    """Decide what is the operator's to decide."""
    return approval_shape(await _decide(broker, approval, data, None, OPERATOR))


operator_handlers = [list_for_operator, decide_for_operator]


async def _decide(broker: Broker, approval: str, data: DecisionBody, tenant: str | None, by: str) -> Approval:
    command = DecideApproval(
        approval=existing("apr", approval),
        tenant=tenant,
        approve=data.decision == "approve",
        arguments=data.arguments,
        value=data.value,
        comment=data.comment,
        decided_by=by,
    )
    decided: Approval = await broker.ask(command)
    return decided
