"""The client, against a server that answers and fails as scripted."""

import json
from pathlib import Path

import agora
import pytest
import stamina
from agora.client import ConnectionFailed

from .scripted_platform import MONEY, STEP, Answer, Platform, a_problem, a_run, sse


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


async def test_all_steps_are_read_page_by_page(platform: Platform, client: agora.Client) -> None:
    """
    A run's steps come as one list, however many pages they are.
    """
    second = STEP | {"id": "s2", "visit": 2, "seq": 2}
    platform.on(
        "GET /runs/run_1/steps",
        Answer(200, {"items": [STEP], "next_cursor": "there"}),
        Answer(200, {"items": [second], "next_cursor": None}),
    )
    async with client:
        steps = await client.runs.steps("run_1")

    assert ["s1", "s2"] == [step.id for step in steps]
    assert [False, True] == ["cursor=there" in request.path for request in platform.requests]


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


async def test_a_file_may_be_deleted_twice(platform: Platform, client: agora.Client) -> None:
    """
    A file that is gone is deleted; a key that may not delete is an error.
    """
    platform.on("DELETE /files/file_1", Answer(raw=b"{}"), a_problem(404, "not_found"))
    platform.on("DELETE /files/file_2", a_problem(403, "forbidden"))
    async with client:
        await client.files.delete("file_1")
        await client.files.delete("file_1")
        with pytest.raises(agora.ApiError, match="why"):
            await client.files.delete("file_2")


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
