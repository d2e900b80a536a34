"""The scripted platform, and a client of it."""

import http.server
import json
import threading
from collections.abc import Iterator

import agora
import pytest
import stamina

from .scripted_platform import Platform, Request


@pytest.fixture
def platform() -> Iterator[Platform]:
    """A server on a free port; retries do not wait."""
    scripted = Platform()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = scripted.answer(Request(self.command, self.path, headers, body))
            if answer.cut:
                self.close_connection = True
                return
            raw = json.dumps(answer.body).encode() if answer.raw is None else answer.raw
            self.send_response(answer.status)
            for name, value in {"content-length": str(len(raw)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scripted.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    stamina.set_testing(True, attempts=5, cap=True)
    yield scripted
    stamina.set_testing(False)
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(platform: Platform) -> agora.Client:
    """A client of the scripted platform."""
    return agora.Client(platform.url, "ak_test")
