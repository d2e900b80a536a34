"""The Litestar application: every route under /api/v1, and what they are given."""

from typing import Any

from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.broker import Broker
from agora_kit.health import HealthReport
from litestar import Litestar, Request, Router
from litestar.di import Provide

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


def _tenant(request: Request[Any, Any, Any]) -> Tenant:
    return current_tenant(request.scope)


def create_api(
    *,
    broker: Broker,
    report: HealthReport,
    identity: Identity,
    keys: KeyCache,
    pages: PageCache,
    feeds: RunFeeds,
    sockets: Sockets,
    files: Files,
) -> Litestar:
    """Build the application on the parts that its routes use."""
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
        dependencies={
            "broker": Provide(lambda: broker, sync_to_thread=False),
            "report": Provide(lambda: report, sync_to_thread=False),
            "identity": Provide(lambda: identity, sync_to_thread=False),
            "keys": Provide(lambda: keys, sync_to_thread=False),
            "pages": Provide(lambda: pages, sync_to_thread=False),
            "feeds": Provide(lambda: feeds, sync_to_thread=False),
            "sockets": Provide(lambda: sockets, sync_to_thread=False),
            "files": Provide(lambda: files, sync_to_thread=False),
            "tenant": Provide(_tenant, sync_to_thread=False),
        },
    )
