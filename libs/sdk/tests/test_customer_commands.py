"""The customer's commands, against a server that answers and fails as scripted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agora.cli import app
from typer.testing import CliRunner

from .scripted_platform import MONEY, STEP, Answer, Platform, a_problem, a_run, sse


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


A_RECEIPT: dict[str, Any] = {
    "run": "run_1", "state": "settled", "basis": "task", "quoted": MONEY, "held": MONEY, "charged": MONEY,
    "released": MONEY, "explanation": "delivered in full.", "settled_at": "2026-01-01T00:00:00Z",
    "lines": [{"meter": "tasks", "description": "tasks by task, tier 1", "quantity": "4", "unit_price": "0.125",
               "amount": "0.500"}],
    "quote_lines": [{"meter": "tasks", "description": "tasks by task, tier 2", "quantity": "8",
                     "unit_price": "0.125", "amount": "1.000"}],
    "differences": [{"meter": "tasks", "quoted": "1.000", "charged": "0.500", "why": "4 of 8 estimated"}],
}  # fmt: skip


def test_a_receipt_says_line_by_line_what_was_charged_and_why(
    platform: Platform, command: Callable[..., Any]
) -> None:
    """
    `agora receipt` shows the charge's lines and the differences from the quote; before the charge, the quote's.
    """
    platform.on("GET /runs/run_1/receipt", Answer(200, A_RECEIPT))
    held: dict[str, Any] = A_RECEIPT | {
        "run": "run_2",
        "state": "held",
        "lines": [],
        "differences": [],
        "settled_at": None,
    }
    platform.on("GET /runs/run_2/receipt", Answer(200, held))

    settled, waiting = command("receipt", "run_1").stdout, command("receipt", "run_2").stdout

    for text in ("delivered in full.", "tasks by task, tier 1", "0.125", "4 of 8 estimated"):
        assert text in settled
    assert "quoted for" in waiting and "tasks by task, tier 2" in waiting
    assert A_RECEIPT["differences"] == json.loads(command("receipt", "run_1", "--json").stdout)["differences"]


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
    (price,) = body["manifest"]["prices"]
    assert (price["basis"], price["unit_price"], price["meter"]) == ("task", "0.01", "tasks")
    assert set(body["schemas"]) == {"input", "output", "config"}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"state": "draft", "executable": False}, "draft"),
        ({"state": "published", "executable": False}, "installed beside the platform"),
    ],
)
def test_publish_says_what_keeps_customers_from_running_it(
    platform: Platform, command: Callable[..., Any], answer: dict[str, Any], told: str
) -> None:
    """
    A draft is seen by nobody and a stranger's agent runs nowhere yet: publishing alone does not tell.
    """
    echo = Path(__file__).parents[3] / "agents" / "echo"
    platform.on("POST /operator/packages", Answer(200, answer))
    result = command("publish", echo, "--token", "secret")

    assert (result.exit_code, told in " ".join(result.stdout.split())) == (0, True)


def test_the_address_may_be_that_of_the_api(platform: Platform, command: Callable[..., Any]) -> None:
    """
    What `./dev up` prints as API ends with /api/v1, and works as the address too.
    """
    platform.on("GET /account", a_problem(401, "unauthenticated"))
    assert "AGORA_API_KEY" in command("balance", "--url", f"{platform.url}/api/v1/").stderr
    assert [request.path for request in platform.requests] == ["/api/v1/account"]


def test_a_key_that_no_header_can_carry_is_a_message(command: Callable[..., Any]) -> None:
    """
    A key that was copied wrongly ends with a sentence, never with a traceback.
    """
    result = command("balance", "--key", "ak_\u00e9")

    assert (result.exit_code, "copy it once more" in result.stderr) == (1, True)
