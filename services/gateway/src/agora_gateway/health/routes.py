"""HTTP of health: for people, balancers and probes; no key needed."""

from agora_contracts.platform import Health
from agora_kit.health import HealthReport
from litestar import Response, Router, get
from litestar.di import NamedDependency

from agora_gateway.edge.routing import answers

_READY = Health(service="gateway", status="ready", checks={"database": "ok", "nats": "ok", "http": "ok"})


@get("/health", summary="Health", operation_id="health", responses=answers(_READY))
async def health(report: NamedDependency[HealthReport]) -> Health:
    """The gateway and what it depends on; always 200 while the process answers."""
    return await report.report()


@get("/health/live", summary="Liveness", operation_id="live", responses=answers(_READY))
async def live(report: NamedDependency[HealthReport]) -> Health:
    """200 while the process runs."""
    return Health(service=report.service, status="ready")


@get("/health/ready", summary="Readiness", operation_id="ready", responses=answers(_READY))
async def ready(report: NamedDependency[HealthReport]) -> Response[Health]:
    """200 when the gateway can serve, else 503 and what does not answer."""
    found = await report.report()
    return Response(found, status_code=200 if found.status == "ready" else 503)


router = Router("", route_handlers=[health, live, ready], tags=["Health"])


def router_at_root() -> Router:
    """The same routes without the prefix, where probes look for them; described only once."""
    return Router("", route_handlers=[health, live, ready], include_in_schema=False)
