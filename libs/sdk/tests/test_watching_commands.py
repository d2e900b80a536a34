"""Runs on the command line: watched, lost sight of, and ended."""

from collections.abc import Callable
from typing import Any

import pytest
from agora.cli import app
from typer.testing import CliRunner

from .scripted_platform import Answer, Platform, a_problem, a_run


@pytest.fixture
def command(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `agora …` against the scripted platform."""
    monkeypatch.setenv("AGORA_URL", platform.url)
    monkeypatch.setenv("AGORA_API_KEY", "ak_env")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_a_run_is_ended_by_a_command(platform: Platform, command: Callable[..., Any]) -> None:
    """
    `agora cancel` asks the run to stop and shows how it stands; one that has ended says so.
    """
    platform.on("POST /runs/run_1/cancel", Answer(200, a_run("cancelled")), a_problem(409, "run_ended"))
    asked = command("cancel", "run_1")
    again = command("cancel", "run_1")

    assert (0, True) == (asked.exit_code, "cancelled" in asked.stdout)
    assert (1, True) == (again.exit_code, "why" in again.stderr)


def test_a_watcher_that_loses_sight_of_a_run_says_that_it_goes_on(
    platform: Platform, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is another exit code than that of a run that failed, and names the command that finds the run again.
    """
    monkeypatch.setattr("agora.client.runs.FAILURES_MAX", 1)
    platform.on("POST /packages/echo/execute", Answer(202, a_run()))
    platform.on("GET /runs/run_1/events", a_problem(503, "unavailable"))
    watched = command("execute", "echo", "--input", '{"text": "x"}', "--watch")

    assert 3 == watched.exit_code
    assert "The run goes on: `agora runs run_1`" in watched.stderr
