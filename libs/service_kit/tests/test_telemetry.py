"""Logs and traces of a request from its asker to the consumer of its event, as an OTLP collector gets them."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from agora_kit import telemetry
from agora_kit.provision import DatabaseUrls
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PROGRAM = Path(__file__).with_name("traced_program.py")


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps the spans."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[Span] = []

    @property
    def endpoint(self) -> str:
        """What goes into OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        request = ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a request line per export helps nobody."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that listens."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def run(
    nats_url: str, urls: DatabaseUrls, sources: Path, **more: str
) -> tuple[str, list[dict[str, str]]]:
    """Run the program; the trace id that it printed, and its log lines."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}

    def run_it() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, PROGRAM, nats_url, urls.app, urls.system],
            env=environment | {"PYTHONPATH": str(sources)} | more,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    result = await asyncio.to_thread(run_it)
    assert 0 == result.returncode, result.stderr
    return result.stdout.strip(), [json.loads(line) for line in result.stderr.splitlines()]


async def test_one_trace_goes_through_everything(
    nats_url: str, urls: DatabaseUrls, sample_sources: Path, collector: Collector
):
    """
    Request, answer, statements, and the consumer of the event that was emitted share one trace; so do the logs.
    """
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    trace_id, lines = await run(nats_url, urls, sample_sources, **more)

    spans = [span for span in collector.spans if span.trace_id.hex() == trace_id]
    by_id = {span.span_id: span for span in spans}
    root = next(span for span in spans if not span.parent_span_id)
    assert "GET /balance" == root.name

    def line_of(span: Span) -> list[str]:
        """The names of a span and of those around it, outermost first."""
        parent = by_id.get(span.parent_span_id)
        return [*(line_of(parent) if parent is not None else []), span.name]

    lines_of_spans = [line_of(span) for span in spans]
    assert any("get_balance" in " ".join(names[1:]) for names in lines_of_spans), lines_of_spans
    assert any(names[-1].startswith("SELECT") and len(names) > 2 for names in lines_of_spans), lines_of_spans
    consumed = next(names for names in lines_of_spans if names[-1] == "consume billing-alarms")
    assert "GET /balance" == consumed[0]
    assert any(names[-2:-1] == ["consume billing-alarms"] for names in lines_of_spans), lines_of_spans
    said = {line["event"]: line for line in lines}
    assert trace_id == said["answered"]["trace_id"] == said["consumed"]["trace_id"]
    assert "billing" == said["answered"]["service"]


async def test_without_an_endpoint_nothing_is_traced(
    nats_url: str, urls: DatabaseUrls, sample_sources: Path, collector: Collector
):
    """
    Logs are JSON lines without trace ids, and nothing is sent anywhere.
    """
    trace_id, lines = await run(nats_url, urls, sample_sources)

    assert "0" * 32 == trace_id
    assert {"ready", "answered", "consumed", "stopped"} <= {line["event"] for line in lines}
    assert not any("trace_id" in line for line in lines)
    assert [] == collector.spans
    assert telemetry.trace_headers() is None
