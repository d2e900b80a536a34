"""Schedules and the keys under which they run: one that was revoked starts nothing any more."""

from datetime import timedelta
from typing import Any

import pytest
from agora_contracts.envelope import utc_now
from agora_contracts.identity import KeyRevoked
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import GetRun
from agora_contracts.schedules import (
    ChangeSchedule,
    PauseSchedule,
    ResumeSchedule,
    SchedulePaused,
    TriggerSchedule,
)

from .asking import OTHER_TENANT, TENANT, new_id
from .driving import Platform
from .test_schedules import DUE, fire, fires, firing, get, make


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
    later = await make(echo_listed, requested_by="key_three")
    await revoke(echo_listed, "key_one")
    await revoke(echo_listed, "key_three")
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


async def known_as_revoked(platform: Platform, key: str) -> None:
    """Revoke a key, and wait until execution knows."""
    await revoke(platform, key)
    await platform.until(lambda: platform.rows("SELECT 1 FROM revoked_keys WHERE id = :key", key=key))


async def test_nothing_is_made_or_resumed_under_a_key_that_was_revoked_meanwhile(
    echo_listed: Platform,
) -> None:
    """
    A request that was on its way when its key was revoked is refused; nothing of it is kept.
    """
    made = await make(echo_listed, requested_by="key_two")
    await echo_listed.ask(PauseSchedule(schedule=made.id, tenant=TENANT))
    await known_as_revoked(echo_listed, "key_one")
    slugs = []
    for late in (
        make(echo_listed),
        echo_listed.ask(ResumeSchedule(schedule=made.id, tenant=TENANT, requested_by="key_one")),
    ):
        with pytest.raises(AgoraError) as caught:
            await late
        slugs.append(caught.value.slug)

    assert ["key_revoked", "key_revoked"] == slugs
    assert 1 == len(await echo_listed.rows("SELECT 1 FROM schedules"))
    assert "paused" == (await get(echo_listed, made.id)).state


@pytest.mark.emits.with_args(SchedulePaused)
async def test_a_schedule_that_slipped_through_is_paused_when_its_time_comes(echo_listed: Platform) -> None:
    """
    Active under a key that was revoked, whatever brought that about: its next time starts nothing.
    """
    made = await make(echo_listed, requested_by="key_two")
    await known_as_revoked(echo_listed, "key_one")
    await echo_listed.execute("UPDATE schedules SET requested_by = 'key_one'")
    told = await fire(echo_listed, made.id)

    assert ("refused", "key_revoked", None) == (told.state, told.reason.code, told.run)
    assert ("paused", "key_revoked") == (
        (found := await get(echo_listed, made.id)).state,
        found.paused_for.code,
    )
    assert [] == await echo_listed.rows("SELECT 1 FROM runs")


async def test_a_schedule_ends_its_work_with_its_key(echo_listed: Platform) -> None:
    """
    Once the key has expired neither a time nor the sweep starts anything: it pauses, and says so; under another key it
    goes on.
    """
    at = utc_now() + timedelta(days=30)
    told, swept = [await make(echo_listed, key_expires_at=at, overlap="allow") for _ in range(2)]
    lasting = await make(echo_listed, key_expires_at=at)
    assert "started" == (await fire(echo_listed, told.id)).state
    await echo_listed.execute(
        "UPDATE schedules SET key_expires_at = now() WHERE id = ANY(:ids)", ids=[told.id, swept.id]
    )
    refused = await fire(echo_listed, told.id, DUE + timedelta(days=1))
    await firing(echo_listed).sweep()

    assert ("refused", "key_expired") == (refused.state, refused.reason.code)
    assert ["key_expired", "key_expired"] == [
        (await get(echo_listed, one.id)).paused_for.code for one in (told, swept)
    ]
    assert "active" == (await get(echo_listed, lasting.id)).state
    for expires_at, slug in ((utc_now() - timedelta(seconds=1), "key_expired"), (at, None)):
        command = ResumeSchedule(
            schedule=told.id, tenant=TENANT, requested_by="key_two", key_expires_at=expires_at
        )
        if slug is None:
            assert "active" == (await echo_listed.ask(command)).state
        else:
            with pytest.raises(AgoraError) as caught:
                await echo_listed.ask(command)
            assert slug == caught.value.slug
    assert "started" == (await fire(echo_listed, told.id, DUE + timedelta(days=2))).state


async def test_a_run_by_hand_is_asked_for_by_the_key_that_triggered_it(echo_listed: Platform) -> None:
    """
    It counts to that key's budgets, also when the sweep starts it later, and also of a schedule whose key was revoked.
    """
    made = await make(echo_listed)
    await revoke(echo_listed, "key_one")
    await paused(echo_listed, made.id)
    echo_listed.billing.refuse_holds = AgoraError("unavailable", "billing does not answer")
    with pytest.raises(AgoraError):
        await echo_listed.ask(
            TriggerSchedule(schedule=made.id, tenant=TENANT, trigger=new_id("fire"), requested_by="key_two")
        )
    echo_listed.billing.refuse_holds = None
    await firing(echo_listed).sweep()
    started = await echo_listed.ask(
        TriggerSchedule(schedule=made.id, tenant=TENANT, trigger=new_id("fire"), requested_by="key_three")
    )

    [later, _] = await fires(echo_listed, made.id)
    runs = [await echo_listed.get(run) for run in (later.run, started.run)]
    assert ["key_two", "key_three"] == [run.requested_by for run in runs]


async def test_a_key_that_is_revoked_starts_nothing_that_it_triggered(echo_listed: Platform) -> None:
    """
    What it triggered while billing was away is left out, and says why.
    """
    made = await make(echo_listed, requested_by="key_two")
    echo_listed.billing.refuse_holds = AgoraError("unavailable", "billing does not answer")
    with pytest.raises(AgoraError):
        await echo_listed.ask(
            TriggerSchedule(schedule=made.id, tenant=TENANT, trigger=new_id("fire"), requested_by="key_one")
        )
    await known_as_revoked(echo_listed, "key_one")
    echo_listed.billing.refuse_holds = None
    await firing(echo_listed).sweep()

    [one] = await fires(echo_listed, made.id)
    assert ("skipped", "key_revoked") == (one.state, one.reason.code)


async def test_what_was_given_once_can_be_taken_back(echo_listed: Platform) -> None:
    """
    A hard budget and a version are cleared, a version is changed and must exist; a rental's cannot be.
    """
    made = await make(echo_listed, max_cost=Money(amount=700_000))
    [listed] = await echo_listed.rows("SELECT version FROM packages")
    change = ChangeSchedule(schedule=made.id, tenant=TENANT, version=listed.version)
    pinned = await echo_listed.ask(change)
    cleared = await echo_listed.ask(
        ChangeSchedule(schedule=made.id, tenant=TENANT, clear=("max_cost", "version"))
    )
    with pytest.raises(AgoraError) as caught:
        await echo_listed.ask(ChangeSchedule(schedule=made.id, tenant=TENANT, version="9.9.9"))

    assert (listed.version, Money(amount=700_000)) == (pinned.version, pinned.max_cost)
    assert (None, None) == (cleared.version, cleared.max_cost)
    assert "not_found" == caught.value.slug
