"""HTTP of rentals: hire, change, end, run."""

from typing import Annotated

from agora_contracts.deployments import (
    ChangeDeploymentConfig,
    DeploymentStatus,
    EndDeployment,
    GetDeployment,
    ListDeployments,
    StartDeployment,
)
from agora_kit.broker import Broker
from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.deployments import shapes
from agora_gateway.deployments.shapes import (
    ConfigBody,
    DeploymentBody,
    DeploymentEstimateBody,
    DeploymentPageShape,
    DeploymentRunBody,
    DeploymentShape,
    deployment_shape,
)
from agora_gateway.edge.headers import fingerprint, requested_id
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import (
    TENANT_SECURITY,
    Cursor,
    DeploymentId,
    IdempotencyKey,
    Limit,
    Prefer,
    answers,
    body,
    existing,
)
from agora_gateway.packages.shapes import EstimateShape
from agora_gateway.runs.executing import RunTarget, estimate, estimates, execute, executes
from agora_gateway.runs.shapes import RunShape

Status = Annotated[
    DeploymentStatus | None, QueryParameter(name="status", description="Only rentals in this state.")
]


@post(
    "/",
    guards=[requires("execute")],
    summary="Hire a package",
    operation_id="startDeployment",
    responses=answers(
        shapes.A_DEPLOYMENT,
        "not_found",
        "not_executable",
        "idempotency_conflict",
        "malformed_request",
        "invalid_input",
        "invalid_config",
        "invalid_price",
        "insufficient_credit",
        status=201,
    ),
)
async def start_deployment(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    data: Annotated[DeploymentBody, body(shapes.A_BODY)],
    idempotency_key: IdempotencyKey = None,
) -> DeploymentShape:
    """Rent a package: its version and basis stay as they are now; its config is prepared.

    By the hour or the month the first of it must be available on the account. Prices that change later reach the
    deployment as the price book says, a rise not before its notice is over.
    """
    command = StartDeployment(
        deployment_id=requested_id("dep", tenant.id, idempotency_key),
        tenant=tenant.id,
        account=tenant.account,
        fingerprint=fingerprint("deploy", f"package:{data.package}", data),
        package=data.package,
        version=data.version,
        basis=data.basis,
        name=data.name,
        config=data.config,
        requested_by=tenant.key,
    )
    return deployment_shape(await broker.ask(command))


@get(
    "/",
    guards=[requires("read")],
    summary="List deployments",
    operation_id="listDeployments",
    responses=answers(shapes.A_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_deployments(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    status: Status = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> DeploymentPageShape:
    """The tenant's rentals, newest first."""
    page = await broker.ask(ListDeployments(tenant=tenant.id, status=status, cursor=cursor, limit=limit))
    items = [deployment_shape(deployment) for deployment in page.items]
    return DeploymentPageShape(items=items, next_cursor=page.next_cursor)


@get(
    "/{deployment:str}",
    guards=[requires("read")],
    summary="Read a deployment",
    operation_id="getDeployment",
    responses=answers(shapes.A_DEPLOYMENT, "not_found"),
)
async def get_deployment(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], deployment: DeploymentId
) -> DeploymentShape:
    """One rental with its config and state."""
    query = GetDeployment(deployment=existing("dep", deployment), tenant=tenant.id)
    return deployment_shape(await broker.ask(query))


@patch(
    "/{deployment:str}",
    guards=[requires("execute")],
    summary="Change a deployment's config",
    operation_id="changeDeployment",
    responses=answers(
        shapes.A_DEPLOYMENT,
        "not_found",
        "conflict",
        "malformed_request",
        "invalid_input",
        "invalid_config",
    ),
)
async def change_deployment(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    deployment: DeploymentId,
    data: Annotated[ConfigBody, body(shapes.A_CONFIG)],
) -> DeploymentShape:
    """Replace the config. It takes effect once prepared; until then runs use the old one."""
    command = ChangeDeploymentConfig(
        deployment=existing("dep", deployment), tenant=tenant.id, config=data.config
    )
    return deployment_shape(await broker.ask(command))


@delete(
    "/{deployment:str}",
    status_code=200,
    guards=[requires("execute")],
    summary="End a deployment",
    operation_id="endDeployment",
    responses=answers(shapes.AN_ENDED, "not_found"),
)
async def end_deployment(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], deployment: DeploymentId
) -> DeploymentShape:
    """End the rental: runs that go on finish, new ones are refused. Doing it again changes nothing."""
    command = EndDeployment(deployment=existing("dep", deployment), tenant=tenant.id)
    return deployment_shape(await broker.ask(command))


@estimates(
    "/{deployment:str}/estimate", summary="Estimate a run of a deployment", operation_id="estimateDeployment"
)
async def estimate_deployment(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    deployment: DeploymentId,
    data: Annotated[DeploymentEstimateBody, body(shapes.AN_ESTIMATE_BODY)],
) -> EstimateShape:
    """What this input would cost at most at the rental's price. Nothing is started or set aside."""
    return await estimate(broker, tenant, RunTarget(deployment=existing("dep", deployment)), data)


@executes(
    "/{deployment:str}/execute", summary="Start a run of a deployment", operation_id="executeDeployment"
)
async def execute_deployment(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    deployment: DeploymentId,
    data: Annotated[DeploymentRunBody, body(shapes.A_RUN_BODY)],
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response[RunShape]:
    """Run what is hired, with its config and at its price."""
    target = RunTarget(deployment=existing("dep", deployment))
    return await execute(broker, tenant, target, data, idempotency_key, prefer)


router = Router(
    "/deployments",
    route_handlers=[
        start_deployment,
        list_deployments,
        get_deployment,
        change_deployment,
        end_deployment,
        estimate_deployment,
        execute_deployment,
    ],
    tags=["Deployments"],
    security=TENANT_SECURITY,
)
