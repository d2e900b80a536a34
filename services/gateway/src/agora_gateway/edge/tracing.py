"""A span around each HTTP request, when tracing is on; the commands it sends become its children."""

from typing import cast

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from opentelemetry import trace
from opentelemetry.trace import TracerProvider


def traced(app: ASGIApp, provider: TracerProvider | None = None) -> ASGIApp:
    """Wrap an ASGI app; spans are named after the route, never after the ids in the path."""
    # Here, because a gateway that traces nothing need not load it.
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        async def name_and_send(message: Message) -> None:
            # Now, because the span ends with the last byte that is sent.
            if message["type"] == "http.response.start":
                route = str(scope.get("path_template") or "unknown")
                span = trace.get_current_span()
                span.update_name(f"{scope.get('method', 'HTTP')} {route}")
                span.set_attribute("http.route", route)
            await send(message)

        await app(scope, receive, name_and_send)

    return cast(
        ASGIApp,
        OpenTelemetryMiddleware(
            named,
            default_span_details=lambda scope: (str(scope.get("method", "HTTP")), {}),
            tracer_provider=provider,
            exclude_spans=["receive", "send"],
        ),
    )
