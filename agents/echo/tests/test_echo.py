"""What the echo agent does, and how it misbehaves when asked to."""

from collections import Counter
from pathlib import Path
from typing import Any

import agora
import pytest
from agora import alone
from agora_echo import agent


async def no_wait(seconds: float) -> None:
    """Between attempts, do not wait."""


async def run(folder: Path, **given: object) -> alone.AloneResult:
    """Run the agent on an input."""
    return await alone.run(agent, given, base=folder, out=folder, sleep=no_wait)


def totals(result: alone.AloneResult) -> Counter[str]:
    """Usage by meter."""
    counted: Counter[str] = Counter()
    for used in result.usage:
        counted[used.meter] += int(used.quantity)
    return counted


async def test_the_default_path_is_one_visit(tmp_path: Path) -> None:
    """
    A text comes back after exactly one step, which uses one task.
    """
    result = await run(tmp_path, text="hello")

    assert (result.output.text, len(result.steps)) == ("hello", 1)
    assert totals(result) == {"echoes": 1, "tasks": 1}


async def test_more_steps_use_one_task_in_all(tmp_path: Path) -> None:
    """
    Each visit records an echo, and only the last one the task.
    """
    result = await run(tmp_path, text="hello", steps=4)

    assert [step.visit for step in result.steps] == [1, 2, 3, 4]
    assert totals(result) == {"echoes": 4, "tasks": 1}


async def test_a_step_that_crashes_once_counts_once(tmp_path: Path) -> None:
    """
    The attempt that crashed leaves no usage behind.
    """
    result = await run(tmp_path, text="hello", fail="retry_once")

    assert result.steps[0].attempt == 2
    assert totals(result) == {"echoes": 1, "tasks": 1}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"text": "x", "fail": "rejected"}, "asked_to_reject"),
        ({"text": "x", "fail": "crash"}, "step_failed"),
        ({"text": ""}, "invalid_input"),
        ({"text": "x", "steps": 0}, "invalid_input"),
        ({"text": "x", "fail": "maybe"}, "invalid_input"),
    ],
)
async def test_a_run_that_fails_says_why(tmp_path: Path, given: dict[str, Any], code: str) -> None:
    """
    Rejection, crash and wrong input each have their code.
    """
    with pytest.raises(agora.RunFailed) as caught:
        await run(tmp_path, **given)

    assert caught.value.code == code
