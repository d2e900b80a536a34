"""Schedules whose runs fail pause when these have ended, whenever their next time is."""

from typing import Any

from agora_contracts.schedules import SchedulePaused, TriggerSchedule

from .asking import TENANT, new_id
from .driving import Platform
from .test_schedules import DUE, fire, firing, get, make

FAILING = {"text": "hello", "fail": "rejected"}


async def triggered(platform: Platform, schedule: str) -> Any:
    """The run that a trigger starts, when it has ended."""
    started = await platform.ask(TriggerSchedule(schedule=schedule, tenant=TENANT, trigger=new_id("fire")))
    return await platform.ended(started.run)


async def test_a_schedule_pauses_when_the_run_that_is_one_too_many_has_failed(platform: Platform) -> None:
    """
    A yearly schedule does not wait for its next year: it is paused and told once, and counts what failed.
    """
    made = await make(platform, failures_max=1, input=FAILING)
    run = await triggered(platform, made.id)
    assert "failed" == run.status
    await firing(platform).sweep()
    await firing(platform).sweep()
    paused = await get(platform, made.id)

    assert ("paused", "failures_in_a_row", 1, []) == (
        paused.state, paused.paused_for.code, paused.failures, paused.next_times,
    )  # fmt: skip
    [event] = await platform.events(SchedulePaused)
    assert (made.id, 1) == (event.data.schedule, event.data.failures)
    described = await platform.client.get_schedule_handle(made.id).describe()
    assert described.schedule.state.paused
    assert [] == await platform.rows("SELECT 1 FROM schedule_fires WHERE NOT judged")


async def test_a_run_that_failed_among_others_pauses_nothing(platform: Platform) -> None:
    """
    Below the failures that it may have, and for one that was paused by hand meanwhile, a schedule stays as it is.
    """
    made = await make(platform, failures_max=2, input=FAILING)
    started = await fire(platform, made.id, DUE)
    await firing(platform).sweep()
    await platform.ended(started.run)
    await firing(platform).sweep()

    assert ("active", 1) == ((found := await get(platform, made.id)).state, found.failures)
    assert [] == await platform.events(SchedulePaused)
