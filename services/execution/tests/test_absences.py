"""Attempts that the platform cost, and not the agent."""

import pytest
from agora_contracts.problems import AgoraError
from agora_execution.patience import PlatformAway
from agora_execution.runs.failures import Absences


def _attempt(absences: Absences, error: Exception | None, cause: Exception | None = None) -> None:
    with absences.counted("step-1"):
        if error is not None:
            raise error from cause


def test_only_attempts_that_the_platform_cost_are_counted() -> None:
    """
    A part that is away counts, whether it shows as itself or as the cause of what Temporal is told; the agent's own
    failure does not, and leaves the count as it is.
    """
    absences = Absences()
    with pytest.raises(PlatformAway):
        _attempt(absences, PlatformAway("postgres"))
    with pytest.raises(RuntimeError):
        _attempt(absences, RuntimeError("tried again"), AgoraError("unavailable", "billing does not answer"))
    with pytest.raises(ValueError):
        _attempt(absences, ValueError("the agent's"))
    with pytest.raises(AgoraError):
        _attempt(absences, AgoraError("quota_exceeded", "the tenant's files are full"))

    assert 2 == absences.of("step-1")
    assert 0 == absences.of("step-2")


def test_a_step_that_is_done_is_forgotten() -> None:
    """
    The count is kept as long as the step is tried, and no longer.
    """
    absences = Absences()
    with pytest.raises(PlatformAway):
        _attempt(absences, PlatformAway("nats"))
    _attempt(absences, None)

    assert 0 == absences.of("step-1")
