"""Schedules whose times are noticed late, and what was being started when they were paused or deleted."""

from datetime import timedelta
from typing import Any

import pytest
from agora_contracts.envelope import utc_now
from agora_contracts.problems import AgoraError
from agora_contracts.schedules import (
    DeleteSchedule,
    FireSchedule,
    PauseSchedule,
    SchedulePaused,
    TriggerSchedule,
)
from agora_execution.runs.admission import Admission
from agora_execution.schedules import store
from agora_execution.schedules.model import run_of
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec, ScheduleState
from temporalio.service import RPCError

from .asking import TENANT, new_id
from .driving import Platform
from .test_schedules import DUE, fire, fires, firing, get, make

AWAY = AgoraError("unavailable", "billing does not answer")


async def make_overdue(platform: Platform, **late: float) -> Any:
    """A schedule whose only moment passed without Temporal telling it."""
    made = await make(platform, cron=None, at=utc_now() + timedelta(days=2))
    at = utc_now().replace(microsecond=0) - timedelta(**late)
    await platform.execute("UPDATE schedules SET fires_at = :at WHERE id = :id", at=at, id=made.id)
    return await get(platform, made.id)


async def test_a_moment_that_temporal_never_told_is_made_up_for(echo_listed: Platform) -> None:
    """
    The sweep starts its run, once, also when Temporal comes with it after all; then the schedule has ended.
    """
    made = await make_overdue(echo_listed, minutes=90)
    for _ in range(2):
        await firing(echo_listed).sweep()
    [one] = await fires(echo_listed, made.id)
    told = await fire(echo_listed, made.id, made.at)

    assert (one.id, one.run) == (told.id, told.run)
    assert ("started", made.at, False) == (one.state, one.scheduled_for, one.manual)
    assert [one.run] == [row.id for row in await echo_listed.rows("SELECT id FROM runs")]
    assert "ended" == (await get(echo_listed, made.id)).state


async def test_a_moment_to_come_is_left_to_temporal(echo_listed: Platform) -> None:
    """
    The sweep starts nothing of schedules whose moment has not come, or that are paused.
    """
    await make(echo_listed, cron=None, at=utc_now() + timedelta(days=2))
    paused = await make_overdue(echo_listed, minutes=5)
    await echo_listed.execute("UPDATE schedules SET state = 'paused' WHERE id = :id", id=paused.id)
    await firing(echo_listed).sweep()

    assert [] == await echo_listed.rows("SELECT 1 FROM schedule_fires")


@pytest.mark.emits.with_args(SchedulePaused)
async def test_a_moment_of_more_than_a_month_ago_is_missed(echo_listed: Platform) -> None:
    """
    Nothing is started so late: the schedule pauses, and says so.
    """
    made = await make_overdue(echo_listed, days=31)
    for _ in range(2):
        await firing(echo_listed).sweep()

    assert [] == await fires(echo_listed, made.id)
    found = await get(echo_listed, made.id)
    assert ("paused", "missed") == (found.state, found.paused_for.code)
    assert 1 == len(await echo_listed.events(SchedulePaused, entity=made.id))


async def test_a_time_of_a_cron_expression_that_is_told_late_is_left_out(echo_listed: Platform) -> None:
    """
    Within ten minutes it is made up for; after that no run starts, and its line says that it came too late.
    """
    made = await make(echo_listed, overlap="allow")
    late = await fire(echo_listed, made.id, utc_now() - timedelta(minutes=11))
    in_time = await fire(echo_listed, made.id, utc_now() - timedelta(minutes=9))

    assert ("skipped", "late", None) == (late.state, late.reason.code, late.run)
    assert "started" == in_time.state
    assert 0 == (await get(echo_listed, made.id)).failures


async def left_starting(platform: Platform, **other: Any) -> Any:
    """A schedule with a fire whose start failed, as billing was away; billing is back."""
    made = await make(platform, **other)
    platform.billing.refuse_holds = AWAY
    with pytest.raises(AgoraError):
        await fire(platform, made.id)
    platform.billing.refuse_holds = None
    return made


async def test_a_pause_stops_what_could_not_be_started_yet(echo_listed: Platform) -> None:
    """
    Its run is never started, held or charged, and the fire says why.
    """
    made = await left_starting(echo_listed)
    await echo_listed.ask(PauseSchedule(schedule=made.id, tenant=TENANT, reason="stocktaking"))
    await firing(echo_listed).sweep()

    [one] = await fires(echo_listed, made.id)
    assert ("skipped", "paused", None) == (one.state, one.reason.code, one.run)
    assert [] == await echo_listed.rows("SELECT 1 FROM runs")


async def test_a_deleted_schedule_starts_nothing_that_was_left(echo_listed: Platform) -> None:
    """
    A fire that was being started when its schedule was deleted brings no run.
    """
    made = await left_starting(echo_listed)
    await echo_listed.ask(DeleteSchedule(schedule=made.id, tenant=TENANT))
    for _ in range(2):
        await firing(echo_listed).sweep()

    assert [] == await echo_listed.rows("SELECT 1 FROM runs")
    assert [] == await echo_listed.rows("SELECT 1 FROM schedule_fires")


async def test_a_run_by_hand_starts_although_the_schedule_is_paused(echo_listed: Platform) -> None:
    """
    It was asked for in spite of the pause: the sweep starts it when billing is back.
    """
    made = await make(echo_listed)
    await echo_listed.ask(PauseSchedule(schedule=made.id, tenant=TENANT))
    echo_listed.billing.refuse_holds = AWAY
    with pytest.raises(AgoraError):
        await echo_listed.ask(TriggerSchedule(schedule=made.id, tenant=TENANT, trigger=new_id("fire")))
    echo_listed.billing.refuse_holds = None
    await firing(echo_listed).sweep()

    assert ["started"] == [one.state for one in await fires(echo_listed, made.id)]


async def test_a_run_that_was_started_before_the_pause_is_told(echo_listed: Platform) -> None:
    """
    A service that died after it started a run and before it wrote so: its fire says `started`, paused or not.
    """
    made = await make(echo_listed)
    started = await fire(echo_listed, made.id)
    await echo_listed.execute("UPDATE schedule_fires SET state = 'starting', run_id = NULL")
    await echo_listed.ask(PauseSchedule(schedule=made.id, tenant=TENANT))
    await firing(echo_listed).sweep()

    [one] = await fires(echo_listed, made.id)
    assert ("started", started.run) == (one.state, one.run)


async def test_a_pause_that_comes_while_a_run_is_admitted_does_not_hide_the_run(
    echo_listed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Paused and swept while another process had the run admitted: the run goes on, and its fire tells of it.
    """
    made = await make(echo_listed)
    admit = Admission.start

    async def slow(self: Admission, command: Any) -> Any:
        if command.run_id == run_of((await fires(echo_listed, made.id))[0].id):
            await echo_listed.ask(PauseSchedule(schedule=made.id, tenant=TENANT))
            await firing(echo_listed).sweep()
        return await admit(self, command)

    monkeypatch.setattr(Admission, "start", slow)
    told = await fire(echo_listed, made.id)
    [one] = await fires(echo_listed, made.id)

    assert ("started", told.run) == (one.state, one.run)
    assert [one.run] == [row.id for row in await echo_listed.rows("SELECT id FROM runs")]


async def test_a_long_run_is_seen_behind_many_that_were_refused_or_by_hand(echo_listed: Platform) -> None:
    """
    Twenty-five refused triggers and as many that ran do not let the next time start beside a run that goes on.
    """
    made = await make(echo_listed, overlap="skip", failures_max=100)
    first = await fire(echo_listed, made.id)
    assert "started" == first.state
    await echo_listed.execute("UPDATE runs SET finished_at = NULL WHERE id = :id", id=first.run)
    await echo_listed.execute(
        """
        INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object('id', r.id || n, 'finished_at', now()))).*
        FROM runs r, generate_series(1, 25) n WHERE r.id = :id
        """,
        id=first.run,
    )
    await echo_listed.execute(
        """
        INSERT INTO schedule_fires (id, tenant_id, schedule_id, scheduled_for, at, state, manual, run_id, reason)
        SELECT f.id || s.state || n, tenant_id, schedule_id, now(), now() + make_interval(secs => n), s.state, true,
            CASE s.state WHEN 'started' THEN run_id || n END, NULL
        FROM schedule_fires f, generate_series(1, 25) n, unnest(ARRAY['refused', 'started']) AS s(state)
        """
    )
    second = await fire(echo_listed, made.id, DUE + timedelta(minutes=1))

    assert ("skipped", "overlap") == (second.state, second.reason.code)


async def test_a_clock_that_ticks_for_no_schedule_is_stopped(echo_listed: Platform) -> None:
    """
    What Temporal still has of a schedule that was deleted, made anew by a race, goes when its time comes.
    """
    made = await make(echo_listed)
    async with echo_listed.database.system() as connection:
        row = await store.read(connection, made.id)
    await echo_listed.ask(DeleteSchedule(schedule=made.id, tenant=TENANT))
    await firing(echo_listed).sweep()
    assert row is not None
    await firing(echo_listed)._clock.tell(row)
    with pytest.raises(AgoraError) as gone:
        await firing(echo_listed).fire(FireSchedule(schedule=made.id, tenant=TENANT, scheduled_for=DUE))

    assert "not_found" == gone.value.slug
    with pytest.raises(RPCError):
        await echo_listed.client.get_schedule_handle(made.id).describe()


async def test_a_deletion_while_temporal_is_told_leaves_no_clock(echo_listed: Platform) -> None:
    """
    A schedule that is deleted while its clock is set anew has none afterwards.
    """
    made = await make(echo_listed)
    async with echo_listed.database.system() as connection:
        row = await store.read(connection, made.id)
    assert row is not None
    await echo_listed.ask(DeleteSchedule(schedule=made.id, tenant=TENANT))
    await firing(echo_listed)._schedules.sync(row)

    async def gone() -> bool:
        # Temporal closes what was deleted a moment later.
        try:
            await echo_listed.client.get_schedule_handle(made.id).describe()
        except RPCError:
            return True
        return False

    await echo_listed.until(gone)


async def test_what_a_death_left_of_asking_for_times_is_removed(service_alone: Platform) -> None:
    """
    Previews that are old go, those of just now stay, and so do schedules.
    """
    made = await make_preview(service_alone, "preview-1700000000-left")
    fresh = await make_preview(service_alone, f"preview-{int(utc_now().timestamp())}-new")
    other = await make_preview(service_alone, new_id("sch"))

    async def listed() -> bool:
        found = [one.id async for one in await service_alone.client.list_schedules()]
        return {fresh, other} <= set(found)

    async def gone() -> bool:
        # What was made just now is listed a moment later.
        await firing(service_alone).expire()
        try:
            await service_alone.client.get_schedule_handle(made).describe()
        except RPCError:
            return True
        return False

    await service_alone.until(listed)
    await service_alone.until(gone)

    for kept in (fresh, other):
        await service_alone.client.get_schedule_handle(kept).describe()
        await service_alone.client.get_schedule_handle(kept).delete()


async def make_preview(platform: Platform, schedule: str) -> str:
    """A paused schedule on Temporal that no row tells of."""
    action = ScheduleActionStartWorkflow("Nothing", id=f"fire-{schedule}", task_queue="nobody")
    spec = ScheduleSpec(cron_expressions=["0 9 1 1 *"])
    await platform.client.create_schedule(
        schedule, Schedule(action=action, spec=spec, state=ScheduleState(paused=True))
    )
    return schedule
