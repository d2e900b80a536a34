"""Lists on the command line that have more pages than one."""

from collections.abc import Callable
from typing import Any

import pytest
from agora.cli import app
from typer.testing import CliRunner

from .scripted_platform import Answer, Platform


@pytest.fixture
def command(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `agora …` against the scripted platform."""
    monkeypatch.setenv("AGORA_URL", platform.url)
    monkeypatch.setenv("AGORA_API_KEY", "ak_env")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("runs",), "/runs"),
        (("schedules", "list"), "/schedules"),
        (("approvals", "list"), "/approvals"),
        (("chat", "list"), "/conversations"),
        (("memory", "list"), "/memory"),
        (("swarm", "list"), "/swarms"),
    ],
)
def test_a_list_says_that_there_is_more_and_goes_on(
    platform: Platform, command: Callable[..., Any], words: tuple[str, ...], path: str
) -> None:
    """
    The cursor of the next page stands on stderr, whole; given back it is asked for, and the last page says nothing.
    """
    cursor = "c" * 120
    platform.on(f"GET {path}", Answer(200, {"items": [], "next_cursor": cursor}), Answer(200, {"items": []}))
    first = command(*words)
    last = command(*words, "--cursor", cursor)

    assert f"more: --cursor {cursor}\n" == first.stderr
    assert "" == last.stderr
    assert f"cursor={cursor}" in platform.requests[-1].path
