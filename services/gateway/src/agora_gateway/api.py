"""The Litestar application: every route under /api/v1, and what they are given."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.broker import Broker
from agora_kit.health import HealthReport
from litestar import Litestar, Request, Router
from litestar.di import Provide
from litestar.types import ASGIApp, Receive, Scope, Send

from agora_gateway.account import routes as account
from agora_gateway.approvals import routes as approvals
from agora_gateway.budgets import routes as budgets
from agora_gateway.conversations import routes as conversations
from agora_gateway.deployments import routes as deployments
from agora_gateway.docs import routes as docs
from agora_gateway.docs.document import openapi_config
from agora_gateway.docs.schemas import DecimalSchemas
from agora_gateway.edge import problems
from agora_gateway.edge.bodies import BODY_BYTES_MAX, ApiRequest
from agora_gateway.edge.gate import PREFIX
from agora_gateway.edge.page_cache import PageCache
from agora_gateway.edge.principals import Tenant, current_tenant
from agora_gateway.edge.sockets import Sockets
from agora_gateway.files import routes as files_routes
from agora_gateway.files.service import Files
from agora_gateway.health import routes as health
from agora_gateway.identity import routes as identity_routes
from agora_gateway.identity.key_cache import KeyCache
from agora_gateway.identity.service import Identity
from agora_gateway.memory import routes as memory
from agora_gateway.models import routes as models
from agora_gateway.operators import routes as operators
from agora_gateway.packages import routes as packages
from agora_gateway.playground import routes as playground
from agora_gateway.runs import routes as runs
from agora_gateway.runs.feeds import RunFeeds
from agora_gateway.schedules import routes as schedules
from agora_gateway.swarms import routes as swarms
from agora_gateway.usage import export_routes, meter_routes, report_routes
from agora_gateway.usage import routes as usage

CACHED_PATHS = frozenset({f"{PREFIX}/packages", f"{PREFIX}/categories"})
CATALOG_EVENTS = f"agora.evt.{PLATFORM_TENANT}.catalog.>"
_PARTS = "agora.parts"


@dataclass(frozen=True)
class Parts:
    """What the routes use: their parameters of these names are given these."""

    broker: Broker
    report: HealthReport
    identity: Identity
    keys: KeyCache
    pages: PageCache
    feeds: RunFeeds
    sockets: Sockets
    files: Files


def create_api(parts: Parts) -> ASGIApp:
    """The application on the parts that its routes use."""
    routes = _routes()

    async def serve(scope: Any, receive: Receive, send: Send) -> None:
        scope[_PARTS] = parts
        await routes(scope, receive, send)

    return serve


@cache
def _routes() -> Litestar:
    """Every route. They have their parts from each request's scope and keep nothing, so that the gateways of a process
    share them: to build them takes a third of a second, and the tests have a gateway each."""
    version_1 = Router(
        PREFIX,
        route_handlers=[
            health.router,
            packages.router,
            deployments.router,
            runs.router,
            approvals.router,
            conversations.router,
            memory.router,
            schedules.router,
            playground.router,
            swarms.router,
            files_routes.router,
            usage.router,
            report_routes.router,
            export_routes.router,
            meter_routes.router,
            account.router,
            budgets.router,
            models.router,
            identity_routes.router,
            operators.router,
        ],
    )
    return Litestar(
        route_handlers=[version_1, health.router_at_root(), docs.router],
        request_class=ApiRequest,
        request_max_body_size=BODY_BYTES_MAX,
        exception_handlers={Exception: problems.respond},
        logging_config=None,
        openapi_config=openapi_config(),
        plugins=[DecimalSchemas()],
        dependencies={part.name: Provide(_part(part.name), sync_to_thread=False) for part in fields(Parts)}
        | {"tenant": Provide(_tenant, sync_to_thread=False)},
    )


def _part(name: str) -> Callable[..., Any]:
    def part(scope: Scope) -> Any:
        return getattr(scope[_PARTS], name)  # type: ignore[literal-required]

    return part


def _tenant(request: Request[Any, Any, Any]) -> Tenant:
    return current_tenant(request.scope)
