"""Logs as JSON lines with trace ids, and OpenTelemetry when an OTLP endpoint is set.

Tracing is off, and costs nothing, unless `OTEL_EXPORTER_OTLP_ENDPOINT` is in the environment.
"""

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from structlog.tracebacks import ExceptionDictTransformer

_enabled = False

# Without the frames' local variables: they hold what customers sent, and passwords.
_exceptions = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def tracing_enabled() -> bool:
    """Whether spans are made and exported in this process."""
    return _enabled


def configure(service: str, level: str = "info") -> None:
    """Set logging up for this process, and tracing where an endpoint is set. Call once, first thing."""
    global _enabled
    numeric = getattr(logging, level.upper(), logging.INFO)
    logging.basicConfig(
        level=max(numeric, logging.WARNING), stream=sys.stderr, format="%(message)s", force=True
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_trace,
            _exceptions,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        _enable_tracing(service)
        _enabled = True


def _enable_tracing(service: str) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"agora-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def instrument_database(*engines: Any) -> None:
    """Trace every statement of these engines, when tracing is on."""
    if not _enabled:
        return
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    # It refuses SQLAlchemy 2.1 by its declared range alone; the events that it listens to are the same, and
    # a test sees the spans.
    SQLAlchemyInstrumentor().instrument(
        engines=[engine.sync_engine for engine in engines], skip_dep_check=True
    )


def _add_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
        event["span_id"] = format(context.span_id, "016x")
    return event


def current_traceparent() -> str | None:
    """The W3C trace context to send along, or None when nothing is traced."""
    if not _enabled:
        return None
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier.get("traceparent")


def trace_headers() -> dict[str, str] | None:
    """Headers that carry the trace context over NATS, or None."""
    traceparent = current_traceparent()
    return {"traceparent": traceparent} if traceparent else None


def remote_context(traceparent: str | None) -> Any:
    """The context to start a span under, for a message that came with a trace; None without one."""
    return extract({"traceparent": traceparent}) if _enabled and traceparent else None


def tracer() -> trace.Tracer:
    """The tracer of the kit."""
    return trace.get_tracer("agora")
