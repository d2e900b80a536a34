"""Conversations, memory and schedules in the client and in the command, against a server that answers as scripted."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import agora
import pytest
from agora.cli import app, show
from typer.testing import CliRunner

from .scripted_platform import MONEY, Answer, Platform, a_problem

AT = "2026-01-05T09:00:00Z"
CONVERSATION: dict[str, Any] = {
    "id": "conv_1", "title": "First", "package": "echo", "version": None, "deployment": None, "input": {},
    "messages": 2, "running": None, "created_at": AT, "updated_at": AT, "from_the_future": 1,
}  # fmt: skip
ASKED = {"id": "msg_1", "seq": 1, "role": "user", "content": "hello", "run": "run_1", "at": AT, "error": None}
ANSWERED = ASKED | {"id": "msg_2", "seq": 2, "role": "assistant", "content": "[hi] there"}
FAILED = ANSWERED | {"content": "No answer", "error": {"code": "step_failed", "detail": "why"}}
ENTRY: dict[str, Any] = {
    "id": "mem_1", "package": "echo", "kind": "value", "key": "language", "value": "de", "text": None, "payload": {},
    "bytes": 12, "run": "run_1", "at": AT,
}  # fmt: skip
SCHEDULE = {
    "id": "sch_1", "name": "", "state": "active", "package": "echo", "version": None, "deployment": None,
    "input": {"text": "hello"}, "cron": "0 9 * * 1-5", "at": None, "time_zone": "Europe/Berlin", "overlap": "skip",
    "failures_max": 5, "failures": 0, "max_cost": MONEY, "next_times": ["2026-01-06T08:00:00Z"], "paused_for": None,
    "last_fired_at": None, "created_at": AT,
}  # fmt: skip
FIRE = {
    "id": "fire_1", "scheduled_for": AT, "at": AT, "state": "started", "manual": True, "run": "run_1", "reason": None,
}  # fmt: skip


@pytest.fixture
def command(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `agora …` against the scripted platform."""
    monkeypatch.setenv("AGORA_URL", platform.url)
    monkeypatch.setenv("AGORA_API_KEY", "ak_env")
    monkeypatch.setattr(show.out, "width", 200)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def sent(platform: Platform) -> dict[str, Any]:
    """The body of the last request."""
    body: dict[str, Any] = json.loads(platform.requests[-1].body)
    return body


def test_a_conversation_from_the_command_line(platform: Platform, command: Callable[..., Any]) -> None:
    """
    start prints the id, say waits for the reply and prints it as it is, show prints both sides.
    """
    platform.on("POST /conversations", Answer(201, CONVERSATION))
    posted = {"message": ASKED, "run": "run_1", "reply": None}
    platform.on(
        "POST /conversations/conv_1/messages", Answer(202, posted), Answer(200, posted | {"reply": ANSWERED})
    )
    platform.on(
        "GET /conversations/conv_1/messages",
        Answer(200, {"items": [ASKED], "next_cursor": "c"}),
        Answer(200, {"items": [ANSWERED]}),
    )
    platform.on("GET /conversations", Answer(200, {"items": [CONVERSATION]}))

    assert "conv_1" == command("chat", "start", "echo", "--title", "First").stdout.strip()
    assert ("echo", "First") == (sent(platform)["package"], sent(platform)["title"])
    assert "[hi] there" == command("chat", "say", "conv_1", "hello").stdout.strip()
    one, other = platform.requests[-2:]
    assert one.headers["idempotency-key"] == other.headers["idempotency-key"]
    assert "user: hello\nassistant: [hi] there\n" == command("chat", "show", "conv_1").stdout
    assert "First" in command("chat", "list").stdout
    command("chat", "start", "dep_1")
    assert "dep_1" == sent(platform)["deployment"]


def test_a_reply_that_is_none_ends_with_an_error(platform: Platform, command: Callable[..., Any]) -> None:
    """
    A run that failed, and a conversation that is busy, end the command with 1.
    """
    platform.on(
        "POST /conversations/conv_1/messages",
        Answer(200, {"message": ASKED, "run": "run_1", "reply": FAILED}),
    )
    failed = command("chat", "say", "conv_1", "hello")
    platform.on("POST /conversations/conv_1/messages", a_problem(409, "conversation_busy"))
    busy = command("chat", "say", "conv_1", "hello")

    assert (show.FAILED, "No answer\n") == (failed.exit_code, failed.stdout)
    assert show.FAILED == busy.exit_code


def test_memory_from_the_command_line(platform: Platform, command: Callable[..., Any]) -> None:
    """
    list shows what is kept; remove and forget delete it.
    """
    platform.on("GET /memory", Answer(200, {"items": [ENTRY]}))
    platform.on("DELETE /memory/mem_1", Answer(200, {"deleted": 1}))
    platform.on("DELETE /memory", Answer(200, {"deleted": 3}))

    assert all(word in command("memory", "list").stdout for word in ("mem_1", "language", "de"))
    assert "mem_1 removed" in command("memory", "remove", "mem_1").stdout
    assert "3 removed" in command("memory", "forget", "echo").stdout
    assert platform.requests[-1].path.endswith("/memory?package=echo")


def test_schedules_from_the_command_line(platform: Platform, command: Callable[..., Any]) -> None:
    """
    create, list, show, pause, resume, trigger and remove send what the API asks for.
    """
    platform.on("POST /schedules", Answer(201, SCHEDULE))
    platform.on("GET /schedules", Answer(200, {"items": [SCHEDULE]}))
    platform.on("GET /schedules/sch_1", Answer(200, SCHEDULE))
    platform.on("GET /schedules/sch_1/fires", Answer(200, {"items": [FIRE]}))
    platform.on("POST /schedules/sch_1/pause", Answer(200, SCHEDULE | {"state": "paused"}))
    platform.on("POST /schedules/sch_1/resume", Answer(200, SCHEDULE))
    platform.on("POST /schedules/sch_1/trigger", Answer(200, FIRE))
    platform.on("DELETE /schedules/sch_1", Answer(200, SCHEDULE))

    made = command(
        "schedules", "create", "echo", "--input", '{"text": "hello"}', "--cron", "0 9 * * 1-5", "--zone",
        "Europe/Berlin", "--max-cost", "0.50",
    )  # fmt: skip
    body = sent(platform)
    assert ("0 9 * * 1-5", "Europe/Berlin", "0.50", {"text": "hello"}) == (
        body["cron"], body["time_zone"], body["max_cost"]["amount"], body["input"],
    )  # fmt: skip
    assert "2026-01-06 08:00:00 UTC" in made.stdout
    command("schedules", "create", "echo", "--at", "2030-01-05T09:00:00+01:00")
    assert "2030-01-05T09:00:00+01:00" == sent(platform)["at"]
    assert "sch_1" in command("schedules", "list").stdout
    assert "started" in command("schedules", "show", "sch_1").stdout
    assert "paused" in command("schedules", "pause", "sch_1", "--reason", "why").stdout
    assert "active" in command("schedules", "resume", "sch_1").stdout
    assert "started run_1" in command("schedules", "trigger", "sch_1").stdout
    assert "sch_1 removed" in command("schedules", "remove", "sch_1").stdout


def test_a_wrong_use_of_schedules_is_told(platform: Platform, command: Callable[..., Any]) -> None:
    """
    A moment without a zone, no moment, an input that is no object: refused before anything is sent.
    """
    for words in (
        ("--at", "2030-01-05T09:00:00"),
        ("--at", "tomorrow"),
        ("--input", "[]", "--cron", "@daily"),
    ):
        assert show.MISUSED == command("schedules", "create", "echo", *words).exit_code
    assert [] == platform.requests


def test_a_trigger_that_was_refused_ends_with_an_error(
    platform: Platform, command: Callable[..., Any]
) -> None:
    """
    Without credit the command says why and ends with 1.
    """
    reason = {"code": "insufficient_credit", "detail": "0.01 USD are needed"}
    platform.on(
        "POST /schedules/sch_1/trigger",
        Answer(200, FIRE | {"state": "refused", "run": None, "reason": reason}),
    )
    refused = command("schedules", "trigger", "sch_1")

    assert (show.FAILED, True) == (refused.exit_code, "0.01 USD are needed" in refused.stdout)


async def test_the_client_reads_conversations_and_changes_schedules(platform: Platform) -> None:
    """
    Conversations are read, listed and deleted, an entry of memory is read, a schedule changed.
    """
    platform.on("GET /conversations/conv_1", Answer(200, CONVERSATION))
    platform.on("DELETE /conversations/conv_1", Answer(200, CONVERSATION))
    platform.on("GET /memory/mem_1", Answer(200, ENTRY))
    platform.on("PATCH /schedules/sch_1", Answer(200, SCHEDULE))
    async with agora.Client(platform.url, "ak") as client:
        assert "echo" == (await client.conversations.get("conv_1")).package
        await client.conversations.delete("conv_1")
        assert "de" == (await client.memory.get("mem_1")).value
        changed = await client.schedules.change("sch_1", cron="0 9 * * 1-5", overlap="skip")

    assert {"cron": "0 9 * * 1-5", "overlap": "skip"} == sent(platform)
    assert [datetime(2026, 1, 6, 8, tzinfo=UTC)] == changed.next_times
