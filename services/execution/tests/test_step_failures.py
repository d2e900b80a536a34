"""Steps that fail in uncommon ways: out of task groups, in circles, while the platform is away."""

import pytest

from .driving import Platform


@pytest.mark.parametrize("deed", ["fail_together", "blame_itself"])
async def test_a_step_that_fails_is_tried_as_often_as_its_policy_says(
    deed: str, probe_platform: Platform
) -> None:
    """
    Also out of a task group, or with an error that names itself as its cause: the step's policy allows one attempt.
    """
    run = await probe_platform.run({"text": "hello", "do": deed}, package="probe")

    assert ("failed", "step_failed") == (run.status, run.error.code)
    assert "once" in run.error.detail


async def test_what_a_task_group_rejects_is_rejected(probe_platform: Platform) -> None:
    """
    The customer reads the reason that a step gives, also where it gives it inside of a task group.
    """
    run = await probe_platform.run({"text": "hello", "do": "reject_together"}, package="probe")

    assert ("failed", "too_short", "Write more.") == (run.status, run.error.code, run.error.detail)
