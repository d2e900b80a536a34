"""HTTP of packages: the marketplace's listings, estimates, health, and one-shot runs."""

from typing import Annotated

from agora_contracts.catalog import CategoryList, GetPackage, ListCategories, ListPackages, PackagePage
from agora_contracts.package_health import CheckPackageHealth, PackageHealth
from agora_kit.broker import Broker
from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import (
    TENANT_SECURITY,
    Cursor,
    IdempotencyKey,
    Limit,
    PackageId,
    Prefer,
    answers,
    body,
    existing_package,
)
from agora_gateway.packages import shapes
from agora_gateway.packages.price_routes import get_prices
from agora_gateway.packages.shapes import EstimateBody, EstimateShape, ExecuteBody, PackageDetailShape
from agora_gateway.runs.executing import RunTarget, estimate, estimates, execute, executes
from agora_gateway.runs.shapes import RunShape

Category = Annotated[
    str | None, QueryParameter(name="category", description="Only packages of this category.")
]
Search = Annotated[
    str | None,
    QueryParameter(
        name="search", max_length=200, description="Full text over title, summary, tags, description."
    ),
]
Version = Annotated[
    str | None,
    QueryParameter(name="version", description="A version such as 1.0.0; the newest one without it."),
]


@get(
    "/categories",
    guards=[requires("read")],
    summary="List the categories",
    operation_id="listCategories",
    responses=answers(shapes.CATEGORIES),
)
async def list_categories(broker: NamedDependency[Broker]) -> CategoryList:
    """The categories of the marketplace, with how many visible packages each holds."""
    found: CategoryList = await broker.ask(ListCategories())
    return found


@get(
    "/packages",
    guards=[requires("read")],
    summary="List packages",
    operation_id="listPackages",
    responses=answers(shapes.A_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_packages(
    broker: NamedDependency[Broker],
    category: Category = None,
    search: Search = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PackagePage:
    """Packages in their newest visible version, filtered by category and full text."""
    query = ListPackages(category=category, search=search, cursor=cursor, limit=limit)
    found: PackagePage = await broker.ask(query)
    return found


@get(
    "/packages/{package:str}",
    guards=[requires("read")],
    summary="Read a package",
    operation_id="getPackage",
    responses=answers(shapes.A_DETAIL, "not_found"),
)
async def get_package(
    broker: NamedDependency[Broker], package: PackageId, version: Version = None
) -> PackageDetailShape:
    """One package version, whole: description, schemas, prices, permissions, limits."""
    detail = await broker.ask(GetPackage(package=existing_package(package), version=version))
    return shapes.package_detail(detail)


@estimates(
    "/packages/{package:str}/estimate", summary="Estimate a one-shot run", operation_id="estimatePackage"
)
async def estimate_package(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    package: PackageId,
    data: Annotated[EstimateBody, body(shapes.AN_ESTIMATE_BODY)],
) -> EstimateShape:
    """What this input would cost at most. Nothing is started, nothing is set aside."""
    target = RunTarget(package=existing_package(package), version=data.version)
    return await estimate(broker, tenant, target, data)


@get(
    "/packages/{package:str}/health",
    guards=[requires("read")],
    summary="Check a package",
    operation_id="checkPackage",
    responses=answers(shapes.A_HEALTH, "not_found"),
)
async def check_package(
    broker: NamedDependency[Broker], package: PackageId, version: Version = None
) -> PackageHealth:
    """Whether a package can work now, and how its last runs went."""
    query = CheckPackageHealth(package=existing_package(package), version=version)
    found: PackageHealth = await broker.ask(query)
    return found


@executes("/packages/{package:str}/execute", summary="Start a one-shot run", operation_id="executePackage")
async def execute_package(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    package: PackageId,
    data: Annotated[ExecuteBody, body(shapes.AN_EXECUTE_BODY)],
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response[RunShape]:
    """Run a package once at its unit price. The quote is set aside at once and settled when the run ends."""
    target = RunTarget(package=existing_package(package), version=data.version)
    return await execute(broker, tenant, target, data, idempotency_key, prefer)


router = Router(
    "",
    route_handlers=[
        list_categories,
        list_packages,
        get_package,
        estimate_package,
        get_prices,
        check_package,
        execute_package,
    ],
    tags=["Marketplace"],
    security=TENANT_SECURITY,
)
