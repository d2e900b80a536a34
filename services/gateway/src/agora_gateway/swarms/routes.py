"""HTTP of swarms: start, list, read with plan and agents, findings, cancel."""

from typing import Annotated

from agora_contracts.runs import CancelRun, ListRuns, RunStatus, StartRun
from agora_contracts.swarms import ListFindings
from agora_kit.broker import Broker
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge.gate import PREFIX
from agora_gateway.edge.headers import fingerprint, requested_id
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import (
    TENANT_SECURITY,
    Cursor,
    IdempotencyKey,
    Limit,
    RunId,
    answers,
    body,
    existing,
    header,
)
from agora_gateway.edge.shapes import read_max_cost
from agora_gateway.runs.service import start_run
from agora_gateway.swarms import shapes
from agora_gateway.swarms.service import read_swarm, swarm_run
from agora_gateway.swarms.shapes import (
    PACKAGE,
    FindingPageShape,
    SwarmBody,
    SwarmDetailShape,
    SwarmPageShape,
    SwarmShape,
    Topic,
    finding_page,
    swarm_shape,
)

Status = Annotated[RunStatus | None, QueryParameter(name="status", description="Only swarms in this state.")]
TopicQuery = Annotated[
    Topic,
    QueryParameter(
        name="topic", description="What of: findings, votes, verdicts, remedies, or the researchers' own."
    ),
]


@post(
    "/",
    status_code=202,
    guards=[requires("execute")],
    summary="Start a swarm",
    operation_id="startSwarm",
    response_headers=[header("Location", "Where the swarm is followed.")],
    responses=answers(
        shapes.A_SWARM,
        "not_executable",
        "malformed_request",
        "invalid_input",
        "payload_too_large",
        "insufficient_credit",
        "budget_exhausted",
        "account_closed",
        "currency_mismatch",
        "idempotency_conflict",
        status=202,
    ),
)
async def start_swarm(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    data: Annotated[SwarmBody, body(shapes.A_SWARM_BODY)],
    idempotency_key: IdempotencyKey = None,
) -> Response[SwarmShape]:
    """Let many agents work on one goal. A swarm is a run: its stream, steps and receipt are under `/runs/{id}`."""
    command = StartRun(
        run_id=requested_id("run", tenant.id, idempotency_key),
        tenant=tenant.id,
        account=tenant.account,
        fingerprint=fingerprint("swarm", PACKAGE, data),
        requested_by=tenant.key,
        package=PACKAGE,
        input=data.input,
        max_cost=read_max_cost(data.max_cost),
    )
    run = await start_run(broker, command, 0)
    return Response(swarm_shape(run), status_code=202, headers={"location": f"{PREFIX}/swarms/{run.id}"})


@get(
    "/",
    guards=[requires("read")],
    summary="List swarms",
    operation_id="listSwarms",
    responses=answers(shapes.A_SWARM_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_swarms(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    status: Status = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> SwarmPageShape:
    """The tenant's swarms, newest first."""
    query = ListRuns(tenant=tenant.id, status=status, package=PACKAGE, cursor=cursor, limit=limit)
    page = await broker.ask(query)
    return SwarmPageShape(items=[swarm_shape(run) for run in page.items], next_cursor=page.next_cursor)


@get(
    "/{swarm:str}",
    guards=[requires("read")],
    summary="Read a swarm",
    operation_id="getSwarm",
    responses=answers(shapes.A_SWARM_DETAIL, "not_found"),
)
async def get_swarm(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], swarm: RunId
) -> SwarmDetailShape:
    """A swarm with its plan as it stands, how far each phase is, and every agent with its state and cost."""
    return await read_swarm(broker, tenant.id, existing("run", swarm))


@get(
    "/{swarm:str}/findings",
    guards=[requires("read")],
    summary="List a swarm's findings",
    operation_id="listFindings",
    responses=answers(shapes.A_FINDING_PAGE, "not_found", "invalid_input", "invalid_cursor"),
)
async def list_findings(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    swarm: RunId,
    topic: TopicQuery = "finding",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> FindingPageShape:
    """What stands on the swarm's blackboard, with the run that posted it and its evidence, while it goes on as well.

    What an agent has found is shown once it has delivered, after what was shown before: who reads on finds it on the
    pages to come. The list is complete once the swarm has ended.
    """
    run = await swarm_run(broker, tenant.id, existing("run", swarm))
    query = ListFindings(run=run.id, tenant=tenant.id, topic=topic, cursor=cursor, limit=limit)
    return finding_page(await broker.ask(query))


@post(
    "/{swarm:str}/cancel",
    status_code=200,
    guards=[requires("execute")],
    summary="Cancel a swarm",
    operation_id="cancelSwarm",
    responses=answers(shapes.A_SWARM, "not_found", "run_ended"),
)
async def cancel_swarm(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], swarm: RunId
) -> SwarmShape:
    """Ask a swarm to stop, and with it every agent that works for it. What agents have delivered is charged."""
    run = await swarm_run(broker, tenant.id, existing("run", swarm))
    command = CancelRun(run=run.id, tenant=tenant.id, requested_by=tenant.key)
    return swarm_shape(await broker.ask(command))


router = Router(
    "/swarms",
    route_handlers=[start_swarm, list_swarms, get_swarm, list_findings, cancel_swarm],
    tags=["Swarms"],
    security=TENANT_SECURITY,
)
