"""The client and the customer's commands, against a server that answers and fails as scripted."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import agora
import pytest
import stamina
from agora.cli import app
from agora.client import ConnectionFailed
from typer.testing import CliRunner

MONEY = {"amount": "0.500000", "currency": "USD"}
STEP = {
    "id": "s1", "node": "echo", "title": "Echo the text", "visit": 1, "branch": "", "seq": 1, "attempt": 1,
    "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01Z",
    "usage": [{"meter": "tasks", "quantity": "1"}],
}  # fmt: skip


def a_run(status: str = "accepted", **more: Any) -> dict[str, Any]:
    """A run as the API shows it, with a field that this client does not know."""
    return {
        "id": "run_1", "status": status, "package": "echo", "version": "1.0.0", "basis": "task",
        "accepted_at": "2026-01-01T00:00:00Z", "quoted": MONEY, "from_the_future": True, **more,
    }  # fmt: skip


def a_problem(status: int, slug: str = "invalid_input", **more: Any) -> "Answer":
    """A problem document."""
    kind = f"https://agora.dev/problems/{slug}"
    problem = {"type": kind, "title": "Not so", "status": status, "detail": "why", **more}
    return Answer(status, problem)


@dataclass
class Answer:
    """One scripted answer; `cut` closes the connection without one."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    cut: bool = False


@dataclass
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Platform:
    """Answers in the order given per route; the last one repeats."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(self, route: str, *answers: Answer) -> None:
        """Script a route, such as `GET /runs/run_1`."""
        self.answers[route] = list(answers)

    def answer(self, request: Request) -> Answer:
        """The next answer for a request."""
        self.requests.append(request)
        path = request.path.removeprefix("/api/v1").partition("?")[0]
        scripted = self.answers.get(f"{request.method} {path}")
        if not scripted:
            return a_problem(404, "not_found")
        return scripted.pop(0) if len(scripted) > 1 else scripted[0]


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


def sse(*events: tuple[int | None, str, dict[str, Any]], comment: bool = False) -> Answer:
    """A stream of events that ends after them."""
    lines = [": keep-alive\n\n"] if comment else []
    for seq, kind, data in events:
        number = "" if seq is None else f"id: {seq}\n"
        lines.append(f"{number}event: {kind}\ndata: {json.dumps(data)}\n\n")
    return Answer(raw="".join(lines).encode(), headers={"content-type": "text/event-stream"})


async def test_a_run_is_started_and_waited_for(platform: Platform, client: agora.Client) -> None:
    """
    `execute` sends the key and an idempotency key, and `wait` ends with the output and the cost.
    """
    platform.on("POST /packages/echo/execute", Answer(202, a_run()))
    platform.on("GET /runs/run_1/events", sse((1, "run.accepted", {}), (2, "run.finished", {})))
    platform.on("GET /runs/run_1", Answer(200, a_run("succeeded", output={"text": "hi"}, cost=MONEY)))
    async with client:
        run = await client.execute("echo", {"text": "hi"})
        result = await run.wait()

    assert (result.status, result.output, result.cost.amount) == ("succeeded", {"text": "hi"}, "0.500000")  # type: ignore[union-attr]
    sent = platform.requests[0]
    assert json.loads(sent.body) == {"input": {"text": "hi"}}
    assert sent.headers["authorization"] == "Bearer ak_test"
    assert len(sent.headers["idempotency-key"]) == 32


@pytest.mark.parametrize(
    "failure", [Answer(cut=True), a_problem(503, "unavailable"), Answer(502, raw=b"<html>")]
)
async def test_a_repeated_start_carries_the_same_key(
    platform: Platform, client: agora.Client, failure: Answer
) -> None:
    """
    When the answer to a start is lost, it is asked for again under the same idempotency key.
    """
    platform.on("POST /deployments/dep_1/execute", failure, failure, Answer(202, a_run()))
    async with client:
        run = await client.execute("dep_1", {}, idempotency_key="mine")

    assert run.id == "run_1"
    assert [request.headers["idempotency-key"] for request in platform.requests] == ["mine"] * 3


async def test_a_problem_is_an_error_with_its_fields(platform: Platform, client: agora.Client) -> None:
    """
    A refusal is not tried again, and comes as an error that names the fields at fault.
    """
    errors = [{"field": "/input/text", "detail": "is missing"}]
    platform.on("POST /packages/echo/execute", a_problem(422, errors=errors))
    async with client:
        with pytest.raises(agora.ApiError) as caught:
            await client.execute("echo", {})

    error = caught.value
    assert (error.slug, error.status, error.title, error.detail) == ("invalid_input", 422, "Not so", "why")
    assert error.errors[0].field == "/input/text"
    assert "/input/text: is missing" in str(error)
    assert len(platform.requests) == 1


@pytest.mark.parametrize(
    "answer", [Answer(500, raw=b"<html>oops</html>"), Answer(200, raw=b"not json"), Answer(200, {"id": 1})]
)
async def test_an_answer_of_something_else_is_an_error(
    platform: Platform, client: agora.Client, answer: Answer
) -> None:
    """
    A proxy's page, or JSON that does not fit, is an `ApiError` and never a decoder's.
    """
    platform.on("GET /runs/run_1", answer)
    async with client:
        with pytest.raises(agora.ApiError):
            await client.runs.get("run_1")


async def test_a_platform_that_is_away_is_named(client: agora.Client) -> None:
    """
    Where nobody listens, the error names the address.
    """
    stamina.set_testing(True, attempts=2)
    try:
        async with agora.Client("http://127.0.0.1:1", "k") as away:
            with pytest.raises(ConnectionFailed, match=r"http://127\.0\.0\.1:1"):
                await away.account.balance()
    finally:
        stamina.set_testing(False)


async def test_a_broken_stream_goes_on_where_it_broke(platform: Platform, client: agora.Client) -> None:
    """
    Events come once and in order through broken connections, from the last one received; live notes pass.
    """
    platform.on(
        "GET /runs/run_1/events",
        sse((1, "run.accepted", {}), (None, "progress", {"message": "half"}), comment=True),
        Answer(cut=True),
        a_problem(503, "unavailable"),
        sse((1, "run.accepted", {}), (2, "step.recorded", {}), (3, "run.charged", {}), (4, "never", {})),
    )
    async with client:
        events = [(event.seq, event.type) async for event in client.runs.events("run_1")]

    assert events == [(1, "run.accepted"), (None, "progress"), (2, "step.recorded"), (3, "run.charged")]
    assert [request.headers.get("last-event-id") for request in platform.requests] == [None, "1", "1", "1"]


async def test_a_stream_of_an_unknown_run_is_refused(platform: Platform, client: agora.Client) -> None:
    """
    A problem in place of a stream is that problem, at once.
    """
    async with client:
        with pytest.raises(agora.ApiError, match="why"):
            async for _ in client.runs.events("run_2"):
                pass

    assert len(platform.requests) == 1


async def test_waiting_needs_no_stream(
    platform: Platform, client: agora.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where streams do not come through, waiting goes on by asking until the run is ended and charged.
    """
    monkeypatch.setattr("agora.client.runs.FAILURES_MAX", 1)
    platform.on("GET /runs/run_1/events", Answer(200, raw=b"<html>", headers={"content-type": "text/html"}))
    platform.on(
        "GET /runs/run_1",
        Answer(200, a_run("running")),
        Answer(200, a_run("failed", error={"code": "x", "detail": "y"})),
        Answer(200, a_run("failed", error={"code": "x", "detail": "y"}, cost=MONEY)),
    )
    async with client:
        result = await client.runs.wait("run_1")

    assert (result.status, result.succeeded) == ("failed", False)
    assert result.cost is not None
    assert {request.headers.get("prefer") for request in platform.requests[1:]} == {"wait=20"}


async def test_waiting_may_end_before_the_run(platform: Platform, client: agora.Client) -> None:
    """
    A wait that takes too long raises TimeoutError.
    """
    platform.on("GET /runs/run_1/events", sse((1, "run.finished", {})))
    platform.on("GET /runs/run_1", Answer(200, a_run("running")))
    async with client:
        with pytest.raises(TimeoutError):
            await client.runs.wait("run_1", timeout_seconds=0.3)


def names_in(folder: Path) -> list[str]:
    """The names of what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def test_files_go_up_and_come_down(platform: Platform, client: agora.Client, tmp_path: Path) -> None:
    """
    An upload carries name and type; a download appears whole, or not at all.
    """
    record = {
        "id": "file_1", "name": "a.csv", "size": 3, "sha256": "x", "content_type": "text/csv",
        "created_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    platform.on("POST /files", Answer(201, record))
    platform.on("GET /files/file_1/content", Answer(raw=b"a,b"))
    platform.on("DELETE /files/file_1", Answer(204, raw=b""))
    (tmp_path / "a.csv").write_text("a,b")
    async with client:
        uploaded = await client.files.upload(tmp_path / "a.csv")
        down = await client.files.download(uploaded.id, tmp_path / "b.csv")
        with pytest.raises(agora.ApiError):
            await client.files.download("file_2", tmp_path / "c.csv")
        await client.files.delete("file_1")

    assert b'filename="a.csv"' in platform.requests[0].body
    assert b"text/csv" in platform.requests[0].body
    assert down.read_bytes() == b"a,b"
    assert names_in(tmp_path) == ["a.csv", "b.csv"]


@pytest.mark.parametrize("name", ["../account", "a/b", "..", "x?y=1"])
async def test_an_id_reaches_no_other_route(platform: Platform, client: agora.Client, name: str) -> None:
    """
    Whatever stands in an id stays one segment of the path.
    """
    async with client:
        with pytest.raises(agora.ApiError):
            await client.runs.get(name)

    path = platform.requests[0].path
    assert path.startswith("/api/v1/runs/")
    assert path.count("/") == 4
    assert "?" not in path


@pytest.fixture
def command(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `agora …` against the scripted platform."""
    monkeypatch.setenv("AGORA_URL", platform.url)
    monkeypatch.setenv("AGORA_API_KEY", "ak_env")

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)

    return run


def test_execute_watch_follows_a_run_to_its_output(
    platform: Platform, command: Callable[..., Any], tmp_path: Path
) -> None:
    """
    `agora execute --watch` uploads files, tells the steps on stderr, and prints the output on stdout.
    """
    record = {
        "id": "file_7", "name": "a.csv", "size": 3, "sha256": "x", "content_type": "text/csv",
        "created_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    (tmp_path / "a.csv").write_text("a,b")
    platform.on("POST /files", Answer(201, record))
    platform.on("POST /packages/echo/execute", Answer(202, a_run()))
    platform.on(
        "GET /runs/run_1/events",
        sse(
            (1, "step.recorded", {"title": "Echo the text"}), (2, "run.finished", {}), (3, "run.charged", {})
        ),
    )
    platform.on("GET /runs/run_1", Answer(200, a_run("succeeded", output={"text": "hi"}, cost=MONEY)))
    result = command(
        "execute", "echo", "--input", "{}", "--file", f"data={tmp_path / 'a.csv'}",
        "--file", f"more[]={tmp_path / 'a.csv'}", "--watch",
    )  # fmt: skip

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"text": "hi"}
    assert "done: Echo the text" in result.stderr
    sent = next(request for request in platform.requests if request.path.endswith("/execute"))
    assert json.loads(sent.body) == {"input": {"data": "file_7", "more": ["file_7"]}}
    assert sent.headers["authorization"] == "Bearer ak_env"


def test_execute_watch_ends_with_1_for_a_failed_run(platform: Platform, command: Callable[..., Any]) -> None:
    """
    A run that failed ends the command with 1 and the run's own reason.
    """
    error = {"code": "no_text", "detail": "The file holds no text."}
    platform.on("POST /packages/echo/execute", Answer(202, a_run()))
    platform.on("GET /runs/run_1/events", sse((1, "run.charged", {})))
    platform.on("GET /runs/run_1", Answer(200, a_run("failed", error=error, cost=MONEY)))
    result = command("execute", "echo", "--watch")

    assert result.exit_code == 1
    assert "run_1 failed: The file holds no text. (no_text)" in result.stderr


def test_the_other_commands_print_what_the_api_answers(
    platform: Platform, command: Callable[..., Any]
) -> None:
    """
    Lists, one run, balance, statement and hire print tables for people and JSON on demand.
    """
    price = {"basis": "task", "unit_price": "0.01", "meter": "tasks"}
    package = {
        "id": "echo", "version": "1.0.0", "title": "Echo", "summary": "Says it again.", "state": "published",
        "category": "it-devops", "executable": True, "prices": [price], "tags": [],
    }  # fmt: skip
    line = {
        "posting": "post_1", "at": "2026-01-01T00:00:00Z", "kind": "charge", "cause": "run_1", "run": "run_1",
        "description": "echo", "amount": {"amount": "-0.010000", "currency": "USD"}, "balance": MONEY,
    }  # fmt: skip
    account = {"credit": MONEY, "held": MONEY, "available": MONEY, "receivable": MONEY}
    deployment = {
        "id": "dep_1", "status": "pending", "package": "echo", "version": "1.0.0", "basis": "task",
        "started_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    platform.on("GET /packages", Answer(200, {"items": [package], "next_cursor": None}))
    platform.on("GET /runs", Answer(200, {"items": [a_run("succeeded", cost=MONEY)], "next_cursor": None}))
    platform.on("GET /runs/run_1", Answer(200, a_run("succeeded", cost=MONEY, output={"text": "hi"})))
    platform.on("GET /runs/run_1/steps", Answer(200, {"items": [STEP]}))
    platform.on("GET /account", Answer(200, account))
    statement = {"balance": account, "entries_sum": MONEY, "items": [line], "next_cursor": None}
    platform.on("GET /account/statement", Answer(200, statement))
    platform.on("POST /deployments", Answer(201, deployment))

    assert "0.01/task" in command("packages").stdout
    assert "run_1" in command("runs").stdout
    assert "Echo the text" in command("runs", "run_1").stdout
    assert "0.500000 USD" in command("balance").stdout
    assert "sum of all postings 0.500000 USD" in command("statement").stdout
    assert "dep_1 echo 1.0.0 pending" in command("hire", "echo", "--basis", "task").stdout
    for arguments in (["packages"], ["runs"], ["runs", "run_1"], ["balance"], ["statement"]):
        assert json.loads(command(*arguments, "--json").stdout)


def test_a_refused_key_says_how_to_give_one(platform: Platform, command: Callable[..., Any]) -> None:
    """
    A missing or wrong key ends with the reason and where a key is given.
    """
    platform.on("GET /account", a_problem(401, "unauthenticated"))
    result = command("balance")

    assert result.exit_code == 1
    assert "AGORA_API_KEY" in result.stderr


def test_publish_sends_manifest_and_schemas_with_the_operators_token(
    platform: Platform, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    `agora publish` needs the operator's token, and sends what the catalogue stores.
    """
    echo = Path(__file__).parents[3] / "agents" / "echo"
    monkeypatch.delenv("AGORA_OPERATOR_TOKEN", raising=False)
    assert command("publish", echo).exit_code == 2

    platform.on("POST /operator/packages", Answer(200, {"id": "echo"}))
    assert command("publish", echo, "--token", "secret").exit_code == 0
    sent = platform.requests[-1]
    assert sent.headers["authorization"] == "Bearer secret"
    body = json.loads(sent.body)
    assert body["manifest"]["prices"] == [{"basis": "task", "unit_price": "0.01", "meter": "tasks"}]
    assert set(body["schemas"]) == {"input", "output", "config"}


def test_importing_the_authors_side_does_not_import_the_client() -> None:
    """
    A worker that loads agents pays for neither the client nor the command.
    """
    import subprocess
    import sys

    code = (
        "import sys, agora, agora.graph_runner, agora.alone\n"
        "late = {'agora.client', 'agora.cli', 'typer', 'stamina', 'httpx_sse', 'numpy', 'temporalio'}\n"
        "print(sorted(late & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
