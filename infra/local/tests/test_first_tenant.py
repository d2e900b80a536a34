"""The tenant of the first start: made once, also when the making is interrupted."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from agora_local.first_tenant import ensure_first_tenant, mark_shown, read_first_tenant
from agora_local.settings import PlatformFailed


class Operator(ThreadingHTTPServer):
    """The operator's routes of a gateway, which refuse the paths they are told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.refused = ""
        self.away = 0

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Operator)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if server.away:
            server.away -= 1
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        allowed = self.headers["Authorization"] == "Bearer token"
        refuse = not allowed or (server.refused and self.path.endswith(server.refused))
        if not refuse:
            server.asked.append((self.path, body))
        answer = b'{"title":"no"}' if refuse else b'{"id":"ten_7","key":"agora_secret"}'
        self.send_response(403 if refuse else 201)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def operator() -> Iterator[Operator]:
    """A running stand-in for the gateway."""
    with Operator() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_tenant_gets_credit_and_a_key_once(operator: Operator, tmp_path: Path) -> None:
    """
    The first call makes everything in the API's words; the second asks nothing.
    """
    tenant = ensure_first_tenant(tmp_path, operator.url, "token")
    again = ensure_first_tenant(tmp_path, operator.url, "token")

    assert tenant == again == read_first_tenant(tmp_path)
    assert (tenant.tenant_id, tenant.key) == ("ten_7", "agora_secret")
    credit = {"amount": {"amount": "100.000000", "currency": "USD"}, "reference": "first-start"}
    assert ("/api/v1/operator/tenants/ten_7/top-ups", credit) in operator.asked
    assert len(operator.asked) == 3


def test_a_key_that_was_shown_is_remembered_as_such(operator: Operator, tmp_path: Path) -> None:
    """
    Making the key shows it to nobody: whoever does says so, and only then it counts as shown.
    """
    tenant = ensure_first_tenant(tmp_path, operator.url, "token")
    mark_shown(tmp_path, tenant)
    again = ensure_first_tenant(tmp_path, operator.url, "token")

    assert (tenant.shown, again.shown, again.key) == (False, True, tenant.key)


@pytest.mark.parametrize("refused", ["/top-ups", "/keys"])
def test_an_interrupted_making_goes_on_where_it_was(operator: Operator, tmp_path: Path, refused: str) -> None:
    """
    A failure says what the gateway answered; the next start makes no second tenant and credits once.
    """
    operator.refused = refused
    with pytest.raises(PlatformFailed, match=rf"{refused}: 403"):
        ensure_first_tenant(tmp_path, operator.url, "token")
    operator.refused = ""

    tenant = ensure_first_tenant(tmp_path, operator.url, "token")

    assert tenant.key == "agora_secret"
    paths = [path.rsplit("/", 1)[-1] for path, _ in operator.asked]
    assert paths == ["tenants", "top-ups", "keys"]


def test_a_gateway_that_is_away_is_a_message(tmp_path: Path) -> None:
    """
    No answer is told as such, and nothing is remembered as made.
    """
    with pytest.raises(PlatformFailed, match="does not answer"):
        ensure_first_tenant(tmp_path, "http://127.0.0.1:1", "token")
    assert read_first_tenant(tmp_path) is None


def test_a_part_that_is_away_for_now_is_waited_for(operator: Operator, tmp_path: Path) -> None:
    """
    Right after a start a part may not answer yet: the request is sent again, and the start goes on.
    """
    operator.away = 2

    assert ensure_first_tenant(tmp_path, operator.url, "token").key == "agora_secret"
    assert 3 == len(operator.asked)
