"""Publishing what is installed: once per contents, and again where nothing readable says that it was done."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from agora_local.first_party import publish_installed


class _Gateway(ThreadingHTTPServer):
    """The operator's route of a gateway; counts what is published."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.published: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Gateway)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.published.append(body["manifest"]["id"])
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("torn", ["", '{"echo": "4f', "[]"])
def test_a_torn_stamp_is_no_stamp(tmp_path: Path, torn: str):
    """
    A stamp that a crash left half-written does not keep the platform from starting; it is written anew.
    """
    (tmp_path / "published.json").write_text(torn)
    said: list[str] = []
    with _Gateway() as gateway:
        threading.Thread(target=gateway.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{gateway.server_port}"
        publish_installed(tmp_path, url, "op_token", said.append)
        first = list(gateway.published)
        publish_installed(tmp_path, url, "op_token", said.append)
        gateway.shutdown()

    assert "echo" in first
    assert first == gateway.published
    assert set(first) == set(json.loads((tmp_path / "published.json").read_text()))
