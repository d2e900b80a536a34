"""Schedules and the keys under which they run: one that was revoked starts nothing any more."""

from typing import Any

import pytest
from agora_contracts.envelope import utc_now
from agora_contracts.execution import GetRun
from agora_contracts.identity import KeyRevoked
from agora_contracts.problems import AgoraError
from agora_contracts.schedules import ResumeSchedule, SchedulePaused, TriggerSchedule

from .asking import OTHER_TENANT, TENANT, new_id
from .driving import Platform
from .test_schedules import fire, get, make


async def revoke(platform: Platform, key: str, tenant: str = TENANT) -> None:
    """Tell that a key was revoked, as the gateway does."""
    await platform.publish(tenant, KeyRevoked(key=key, at=utc_now()), entity=key)


async def paused(platform: Platform, schedule: str) -> Any:
    """The schedule once it is paused."""

    async def is_paused() -> Any:
        found = await get(platform, schedule)
        return found if found.state == "paused" else None

    return await platform.until(is_paused)


@pytest.mark.emits.with_args(SchedulePaused)
async def test_a_revoked_key_pauses_the_schedules_that_run_under_it(echo_listed: Platform) -> None:
    """
    They say why, tell it by an event, and start nothing; those of other keys and other tenants go on.
    """
    mine, other = await make(echo_listed), await make(echo_listed, requested_by="key_two")
    foreign = await make(echo_listed, tenant=OTHER_TENANT)
    await revoke(echo_listed, "key_one")
    found = await paused(echo_listed, mine.id)
    with pytest.raises(AgoraError) as caught:
        await fire(echo_listed, mine.id)

    assert ("key_revoked", "conflict") == (found.paused_for.code, caught.value.slug)
    assert ("active", "active") == ((await get(echo_listed, other.id)).state, foreign.state)
    [event] = await echo_listed.events(SchedulePaused, entity=mine.id)
    assert "key_revoked" == event.data.reason.code


async def test_a_revocation_that_is_told_twice_pauses_once(echo_listed: Platform) -> None:
    """
    A schedule that was resumed with another key is not paused by what is told of the first one again.
    """
    made = await make(echo_listed)
    await revoke(echo_listed, "key_one")
    await paused(echo_listed, made.id)
    await echo_listed.ask(ResumeSchedule(schedule=made.id, tenant=TENANT, requested_by="key_two"))
    later = await make(echo_listed)
    await revoke(echo_listed, "key_one")
    await paused(echo_listed, later.id)

    assert "active" == (await get(echo_listed, made.id)).state


async def test_a_resumed_schedule_runs_under_the_key_that_resumed_it(echo_listed: Platform) -> None:
    """
    Its next run is asked for by that key, whose budgets it counts to.
    """
    made = await make(echo_listed)
    await revoke(echo_listed, "key_one")
    await paused(echo_listed, made.id)
    await echo_listed.ask(ResumeSchedule(schedule=made.id, tenant=TENANT, requested_by="key_two"))
    started = await echo_listed.ask(TriggerSchedule(schedule=made.id, tenant=TENANT, trigger=new_id("fire")))

    await echo_listed.ask(GetRun(run=started.run, tenant=TENANT))
    assert ["key_two"] == [one.api_key for one in echo_listed.billing.placed]
