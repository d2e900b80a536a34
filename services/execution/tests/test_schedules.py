"""Schedules: each time starts its run exactly once, on Temporal's clock, and failures are told."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from agora_contracts.deployments import EndDeployment, StartDeployment
from agora_contracts.envelope import utc_now
from agora_contracts.problems import AgoraError
from agora_contracts.schedules import (
    ChangeSchedule,
    CreateSchedule,
    DeleteSchedule,
    FireSchedule,
    GetSchedule,
    ListFires,
    ListSchedules,
    PauseSchedule,
    ResumeSchedule,
    SchedulePaused,
    TriggerSchedule,
)
from agora_execution.packages.service import Packages
from agora_execution.runs.admission import Admission
from agora_execution.runs.starting import Starter
from agora_execution.schedules import fire_store, store
from agora_execution.schedules.firing import Firing
from agora_execution.schedules.model import Timing, fire_id
from agora_execution.schedules.service import Schedules
from agora_execution.schedules.timing import Clock
from temporalio.service import RPCError

from .asking import ACCOUNT, OTHER_TENANT, TENANT, new_id
from .driving import Platform

DUE = datetime(2036, 3, 3, 9, 15, tzinfo=UTC)


def firing(platform: Platform) -> Firing:
    """What does what is due, as the service has it; nothing has to be quiet for long."""
    admission = Admission(
        platform.database, platform.service.broker, platform.recorder, Packages(platform.database),
        platform.deployments, platform.files,
        Starter(platform.client, platform.database, platform.settings.task_queues), models_configured=lambda: False,
    )  # fmt: skip
    clock = Clock(platform.client, platform.settings.task_queues)
    schedules = Schedules(platform.database, admission, clock)
    return Firing(platform.database, admission, schedules, clock, quiet_seconds=0)


async def make(platform: Platform, **other: Any) -> Any:
    """Make a schedule of the echo agent, yearly unless told otherwise."""
    values: dict[str, Any] = {
        "schedule": new_id("sch"), "tenant": TENANT, "account": ACCOUNT, "fingerprint": "f1", "package": "echo",
        "input": {"text": "hello"}, "cron": "0 9 1 1 *", "requested_by": "key_one",
    }  # fmt: skip
    return await platform.ask(CreateSchedule(**(values | other)))


async def fire(platform: Platform, schedule: str, at: datetime = DUE) -> Any:
    """Tell that a schedule's time has come, as its workflow does."""
    return await firing(platform).fire(FireSchedule(schedule=schedule, tenant=TENANT, scheduled_for=at))


async def get(platform: Platform, schedule: str) -> Any:
    """The schedule as its tenant sees it."""
    return await platform.ask(GetSchedule(schedule=schedule, tenant=TENANT))


async def fires(platform: Platform, schedule: str) -> list[Any]:
    """What came of a schedule's times, oldest first."""
    found: list[Any] = (await platform.ask(ListFires(schedule=schedule, tenant=TENANT))).items
    return found[::-1]


async def test_temporal_fires_a_schedule(platform: Platform) -> None:
    """
    When its only moment comes, a run of the schedule is started once, and the schedule has ended.
    """
    at = utc_now().replace(microsecond=0) + timedelta(seconds=3)
    made = await make(platform, cron=None, at=at)
    assert ("active", [at]) == (made.state, made.next_times)

    async def fired() -> Any:
        return await fires(platform, made.id)

    [one] = await platform.until(fired)
    run = await platform.ended((await platform.until(lambda: _started(platform, made.id))).run)

    assert (at, "succeeded", {"text": "hello"}) == (
        one.scheduled_for, run.status, {"text": run.output["text"]},
    )  # fmt: skip
    found = await get(platform, made.id)
    assert ("ended", [], 0) == (found.state, found.next_times, found.failures)
    assert 1 == len(await fires(platform, made.id))


async def _started(platform: Platform, schedule: str) -> Any:
    found = await fires(platform, schedule)
    return found[0] if found and found[0].state == "started" else None


async def test_a_time_that_is_told_often_starts_one_run(echo_listed: Platform) -> None:
    """
    Told ten times at once and once more, a time brings one fire and one run, under ids that come from it.
    """
    made = await make(echo_listed)
    told = await asyncio.gather(*(fire(echo_listed, made.id) for _ in range(10)))
    again = await fire(echo_listed, made.id)

    assert {(again.id, again.run)} == {(one.id, one.run) for one in told}
    assert (fire_id(made.id, DUE), "started") == (again.id, again.state)
    assert 1 == len(await echo_listed.rows("SELECT 1 FROM runs"))
    run = await echo_listed.get(again.run)
    assert ("key_one", "echo") == (run.requested_by, run.package)


async def test_a_fire_without_credit_is_told_and_the_schedule_goes_on(platform: Platform) -> None:
    """
    Refused with the reason, nothing is charged; with credit the next time starts a run, and the count begins anew.
    """
    made = await make(platform, failures_max=3)
    platform.billing.refuse_holds = AgoraError("insufficient_credit", "0.01 USD are needed")
    refused = await fire(platform, made.id)
    assert ("refused", "insufficient_credit", None) == (refused.state, refused.reason.code, refused.run)
    assert ("active", 1) == ((found := await get(platform, made.id)).state, found.failures)

    platform.billing.refuse_holds = None
    started = await fire(platform, made.id, DUE + timedelta(days=1))
    await platform.ended(started.run)
    assert ("active", 0) == ((found := await get(platform, made.id)).state, found.failures)


@pytest.mark.emits.with_args(SchedulePaused)
async def test_failures_in_a_row_pause_a_schedule(echo_listed: Platform) -> None:
    """
    After as many failures in a row as it may have, it pauses, says why, and tells it by one event; resumed it counts anew.
    """
    made = await make(echo_listed, failures_max=2, name="mornings")
    echo_listed.billing.refuse_holds = AgoraError("budget_exhausted", "the budget has 0 USD left")
    for day in range(2):
        await fire(echo_listed, made.id, DUE + timedelta(days=day))
    paused = await get(echo_listed, made.id)

    assert ("paused", "failures_in_a_row", 2, []) == (
        paused.state, paused.paused_for.code, paused.failures, paused.next_times,
    )  # fmt: skip
    assert "the budget has 0 USD left" in paused.paused_for.detail
    [event] = await echo_listed.events(SchedulePaused)
    assert (made.id, 2, "mornings", ACCOUNT) == (
        event.data.schedule, event.data.failures, event.data.name, event.data.account,
    )  # fmt: skip
    with pytest.raises(AgoraError, match="paused") as refused:
        await fire(echo_listed, made.id, DUE + timedelta(days=2))
    assert "conflict" == refused.value.slug

    resumed = await echo_listed.ask(ResumeSchedule(schedule=made.id, tenant=TENANT))
    assert ("active", None, 0) == (resumed.state, resumed.paused_for, resumed.failures)
    assert resumed.next_times


async def test_failed_runs_count_as_failures(platform: Platform) -> None:
    """
    Runs that were started and failed pause the schedule as well; the time that comes then is no further failure.
    """
    made = await make(platform, failures_max=2, input={"text": "hello", "fail": "rejected"})
    for day in range(2):
        started = await fire(platform, made.id, DUE + timedelta(days=day))
        await platform.ended(started.run)
    third = await fire(platform, made.id, DUE + timedelta(days=2))

    assert ("refused", "failures_in_a_row") == (third.state, third.reason.code)
    assert "The input asked to be rejected." in third.reason.detail
    assert ("paused", 2) == ((found := await get(platform, made.id)).state, found.failures)
    assert [2] == [event.data.failures for event in await platform.events(SchedulePaused)]
    assert 2 == len(await platform.rows("SELECT 1 FROM runs"))


@pytest.mark.parametrize(
    ("overlap", "states"),
    [
        ("skip", ["started", "skipped", "skipped"]),
        ("buffer_one", ["started", "buffered", "skipped"]),
        ("allow", ["started", "started", "started"]),
    ],
)
async def test_what_happens_while_the_run_before_goes_on(
    echo_listed: Platform, overlap: str, states: list[str]
) -> None:
    """
    It is left out, one waits, or it starts beside; a run by hand starts whatever goes on.
    """
    made = await make(echo_listed, overlap=overlap)
    for minute in range(3):
        await fire(echo_listed, made.id, DUE + timedelta(minutes=minute))

    assert states == [one.state for one in await fires(echo_listed, made.id)]
    by_hand = await echo_listed.ask(TriggerSchedule(schedule=made.id, tenant=TENANT, trigger=new_id("fire")))
    assert ("started", True) == (by_hand.state, by_hand.manual)


async def test_what_waits_is_started_after_the_run_before(platform: Platform) -> None:
    """
    A buffered fire starts once the run before has ended, exactly once, however often the sweep comes.
    """
    made = await make(platform, overlap="buffer_one", input={"text": "hello", "delay_ms": 1500})
    first = await fire(platform, made.id)
    second = await fire(platform, made.id, DUE + timedelta(minutes=1))
    assert "buffered" == second.state
    await firing(platform).sweep()
    assert "buffered" == (await fires(platform, made.id))[1].state
    await platform.ended(first.run)
    await asyncio.gather(*(firing(platform).sweep() for _ in range(3)))
    [_, after] = await fires(platform, made.id)
    run = await platform.ended(after.run)

    assert ("started", "succeeded") == (after.state, run.status)
    assert 2 == len(await platform.rows("SELECT 1 FROM runs"))


async def test_what_was_left_starting_is_taken_up(echo_listed: Platform) -> None:
    """
    A service that died after it wrote a fire down: the sweep starts its run, once.
    """
    made = await make(echo_listed)
    platform = firing(echo_listed)
    await platform._write_down(made.id, TENANT, fire_id(made.id, DUE), DUE, manual=False)
    assert ["starting"] == [one.state for one in await fires(echo_listed, made.id)]
    await platform.sweep()
    await platform.sweep()

    [one] = await fires(echo_listed, made.id)
    assert "started" == one.state
    assert [one.run] == [row.id for row in await echo_listed.rows("SELECT id FROM runs")]


async def test_a_fire_waits_for_a_platform_that_is_away(echo_listed: Platform) -> None:
    """
    While billing is away a fire stays open and is started later; after an hour it is refused and counts as a failure.
    """
    made = await make(echo_listed)
    echo_listed.billing.refuse_holds = AgoraError("unavailable", "billing does not answer")
    with pytest.raises(AgoraError) as away:
        await fire(echo_listed, made.id)
    assert "unavailable" == away.value.slug
    echo_listed.billing.refuse_holds = None
    await firing(echo_listed).sweep()
    assert ["started"] == [one.state for one in await fires(echo_listed, made.id)]

    echo_listed.billing.refuse_holds = AgoraError("unavailable", "billing does not answer")
    with pytest.raises(AgoraError):
        await echo_listed.ask(TriggerSchedule(schedule=made.id, tenant=TENANT, trigger=new_id("fire")))
    await echo_listed.execute("UPDATE schedule_fires SET at = at - interval '2 hours' WHERE manual")
    await firing(echo_listed).sweep()
    refused = [one for one in await fires(echo_listed, made.id) if one.manual]
    assert [("refused", "unavailable")] == [(one.state, one.reason.code) for one in refused]


@pytest.mark.parametrize(
    ("timing", "slug", "field"),
    [
        ({"cron": "0 0 31 2 *"}, "schedule_never_fires", "/cron"),
        ({"cron": "0 0 30 feb *"}, "schedule_never_fires", "/cron"),
        ({"cron": "61 * * * *"}, "invalid_input", "/cron"),
        ({"cron": "0 9 * * someday"}, "invalid_input", "/cron"),
        ({"cron": "0 9 * *"}, "invalid_input", "/cron"),
        ({"cron": "0 9 * * *", "time_zone": "Mars/Base"}, "invalid_input", "/time_zone"),
        ({"cron": "0 9 * * *", "time_zone": "../etc/passwd"}, "invalid_input", "/time_zone"),
        ({"cron": None, "at": datetime(2025, 1, 28, 9, 15, tzinfo=UTC)}, "schedule_never_fires", "/at"),
        (
            {"cron": None, "at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
            "invalid_input",
            "/at",
        ),
        (
            {"cron": None, "at": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-9)))},
            "invalid_input",
            "/at",
        ),
        ({"cron": None, "at": datetime(2101, 1, 1, tzinfo=UTC)}, "invalid_input", "/at"),
    ],
)
async def test_a_schedule_that_can_never_fire_is_refused(
    echo_listed: Platform, timing: dict[str, Any], slug: str, field: str
) -> None:
    """
    The 31st of February, a moment that is over, nonsense: refused with the field, and nothing is stored.
    """
    with pytest.raises(AgoraError) as refused:
        await make(echo_listed, **timing)

    assert (slug, field) == (refused.value.slug, refused.value.problem.errors[0].field)
    assert [] == await echo_listed.rows("SELECT 1 FROM schedules")


async def test_a_schedule_is_not_moved_to_where_no_clock_reaches(echo_listed: Platform) -> None:
    """
    Moments at the ends of the calendar are refused with the field, and the last year that is allowed fires.
    """
    last = datetime(2100, 12, 31, 9, tzinfo=UTC)
    made = await make(echo_listed, cron=None, at=last)
    assert [last] == made.next_times
    for at in (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), datetime(9999, 1, 1, tzinfo=UTC)):
        with pytest.raises(AgoraError, match="2100") as refused:
            await echo_listed.ask(ChangeSchedule(schedule=made.id, tenant=TENANT, at=at))
        assert ["/at"] == [fault.field for fault in refused.value.problem.errors]
    assert [last] == (await get(echo_listed, made.id)).next_times


async def test_what_cannot_run_is_not_scheduled(echo_listed: Platform) -> None:
    """
    An unknown package, an input that does not fit, both targets or none: told when the schedule is made.
    """
    for slug, other in (
        ("not_found", {"package": "nobody"}),
        ("invalid_input", {"input": {"words": 1}}),
        ("invalid_input", {"deployment": new_id("dep")}),
        ("invalid_input", {"package": None}),
        ("not_found", {"package": None, "deployment": new_id("dep")}),
        ("invalid_input", {"name": "a\0b"}),
    ):
        with pytest.raises(AgoraError) as refused:
            await make(echo_listed, **other)
        assert slug == refused.value.slug


async def _times(platform: Platform, cron: str, zone: str) -> list[str]:
    clock = Clock(platform.client, platform.settings.task_queues)
    found = await clock.next_times(Timing(cron=cron, at=None, time_zone=zone))
    return [moment.astimezone(UTC).isoformat() for moment in found]


async def test_times_follow_the_calendar(service_alone: Platform) -> None:
    """
    A leap day comes in leap years only; a time that the clock skips does not come, one that it shows twice comes once.
    """
    leap = await _times(service_alone, "0 0 29 2 *", "UTC")
    assert leap[:2] == ["2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"]

    # On the last Sunday of March, Berlin goes from 02:00 to 03:00; in 2032 and 2038 that is the 28th.
    march = await _times(service_alone, "30 2 28 3 *", "Europe/Berlin")
    assert not [moment for moment in march if moment.startswith(("2027-", "2032-"))]
    assert "2028-03-28T00:30:00+00:00" == march[0]

    # On the last Sunday of October it goes from 03:00 back to 02:00; in 2027 that is the 31st.
    october = await _times(service_alone, "30 2 31 10 *", "Europe/Berlin")
    assert ["2027-10-31T01:30:00+00:00", "2028-10-31T01:30:00+00:00"] == october[:2]

    both = await _times(service_alone, "0 9 13 * 5", "UTC")
    assert all(datetime.fromisoformat(one).weekday() == 4 and "-13T" in one for one in both)


async def test_a_schedule_is_changed_paused_resumed_and_deleted(echo_listed: Platform) -> None:
    """
    Each change is seen in its next times, and Temporal has what the row says.
    """
    made = await make(echo_listed, name="first")
    clock = Clock(echo_listed.client, echo_listed.settings.task_queues)

    async def same_there() -> bool:
        async with echo_listed.database.system() as connection:
            row = await store.read(connection, made.id)
        assert row is not None
        return (await clock.stands(row))[0]

    changed = await echo_listed.ask(
        ChangeSchedule(
            schedule=made.id, tenant=TENANT, cron="30 6 * * *", time_zone="Europe/Berlin", name="second"
        )
    )
    assert ("30 6 * * *", "second", 10) == (changed.cron, changed.name, len(changed.next_times))
    assert await same_there()

    paused = await echo_listed.ask(PauseSchedule(schedule=made.id, tenant=TENANT, reason="stocktaking"))
    again = await echo_listed.ask(PauseSchedule(schedule=made.id, tenant=TENANT, reason="another"))
    assert ("paused", "stocktaking", []) == (paused.state, paused.paused_for.detail, paused.next_times)
    assert paused == again
    assert await same_there()

    resumed = await echo_listed.ask(ResumeSchedule(schedule=made.id, tenant=TENANT))
    assert ("active", None) == (resumed.state, resumed.paused_for)
    assert await same_there()

    await echo_listed.ask(DeleteSchedule(schedule=made.id, tenant=TENANT))
    for command in (
        GetSchedule(schedule=made.id, tenant=TENANT),
        DeleteSchedule(schedule=made.id, tenant=TENANT),
    ):
        with pytest.raises(AgoraError) as gone:
            await echo_listed.ask(command)
        assert "not_found" == gone.value.slug
    with pytest.raises(RPCError):
        await echo_listed.client.get_schedule_handle(made.id).describe()
    await firing(echo_listed).sweep()
    assert [] == await echo_listed.rows("SELECT 1 FROM schedules")


async def test_the_sweep_mends_what_temporal_has(echo_listed: Platform) -> None:
    """
    A schedule that Temporal lost, was never told, or has otherwise than its row says is told again.
    """
    lost, untold, otherwise = [await make(echo_listed) for _ in range(3)]
    client = echo_listed.client
    await client.get_schedule_handle(lost.id).delete()
    await client.get_schedule_handle(untold.id).delete()
    await echo_listed.execute("UPDATE schedules SET synced_revision = 0 WHERE id = :id", id=untold.id)
    await client.get_schedule_handle(otherwise.id).pause(note="by an operator")
    await echo_listed.execute("UPDATE schedules SET checked_at = now() - interval '1 day'")
    await firing(echo_listed).sweep()
    await echo_listed.execute("UPDATE schedules SET checked_at = now() - interval '1 day'")
    await firing(echo_listed).verify()

    for one in (lost, untold, otherwise):
        found = await client.get_schedule_handle(one.id).describe()
        assert not found.schedule.state.paused
        assert one.next_times == list(found.info.next_action_times)


async def test_a_schedule_pauses_when_its_deployment_ends(platform: Platform) -> None:
    """
    Told by an event with the reason, before its next time comes.
    """
    deployment = new_id("dep")
    await platform.ask(
        StartDeployment(
            deployment_id=deployment,
            tenant=TENANT,
            account=ACCOUNT,
            fingerprint="f1",
            package="echo",
            basis="task",
        )
    )
    await platform.until(
        lambda: platform.rows("SELECT 1 FROM deployments WHERE id = :id AND status = 'active'", id=deployment)
    )
    made = await make(platform, package=None, deployment=deployment)
    await platform.ask(EndDeployment(deployment=deployment, tenant=TENANT))
    await firing(platform).sweep()
    await firing(platform).sweep()
    found = await get(platform, made.id)

    assert ("paused", "deployment_ended") == (found.state, found.paused_for.code)
    assert 1 == len(await platform.events(SchedulePaused))
    with pytest.raises(AgoraError) as refused:
        await platform.ask(ResumeSchedule(schedule=made.id, tenant=TENANT))
    assert "not_executable" == refused.value.slug


async def test_a_schedule_is_made_once_per_key(echo_listed: Platform) -> None:
    """
    The same request again gives the same schedule; another one under its id conflicts, also another tenant's.
    """
    schedule = new_id("sch")
    first = await make(echo_listed, schedule=schedule)
    second = await make(echo_listed, schedule=schedule)
    assert first == second
    for other in ({"fingerprint": "f2"}, {"tenant": OTHER_TENANT}):
        with pytest.raises(AgoraError) as refused:
            await make(echo_listed, schedule=schedule, **other)
        assert "idempotency_conflict" == refused.value.slug


async def test_another_tenant_finds_no_schedule(echo_listed: Platform) -> None:
    """
    Read, changed, paused, fired or deleted by another tenant, a schedule is not there.
    """
    made = await make(echo_listed)
    for command in (
        GetSchedule(schedule=made.id, tenant=OTHER_TENANT),
        ListFires(schedule=made.id, tenant=OTHER_TENANT),
        ChangeSchedule(schedule=made.id, tenant=OTHER_TENANT, name="mine"),
        PauseSchedule(schedule=made.id, tenant=OTHER_TENANT),
        ResumeSchedule(schedule=made.id, tenant=OTHER_TENANT),
        TriggerSchedule(schedule=made.id, tenant=OTHER_TENANT, trigger=new_id("fire")),
        DeleteSchedule(schedule=made.id, tenant=OTHER_TENANT),
    ):
        with pytest.raises(AgoraError) as refused:
            await echo_listed.ask(command)
        assert "not_found" == refused.value.slug
    assert [] == (await echo_listed.ask(ListSchedules(tenant=OTHER_TENANT))).items


async def test_a_trigger_with_one_key_starts_one_run(echo_listed: Platform) -> None:
    """
    Sent again it is the same fire; the same id on another schedule conflicts.
    """
    made, other = await make(echo_listed), await make(echo_listed)
    trigger = new_id("fire")
    told = [
        await echo_listed.ask(TriggerSchedule(schedule=made.id, tenant=TENANT, trigger=trigger))
        for _ in range(3)
    ]
    assert 1 == len({one.run for one in told}) == len(await echo_listed.rows("SELECT 1 FROM runs"))
    with pytest.raises(AgoraError) as refused:
        await echo_listed.ask(TriggerSchedule(schedule=other.id, tenant=TENANT, trigger=trigger))
    assert "idempotency_conflict" == refused.value.slug


async def test_schedules_and_fires_come_in_pages(echo_listed: Platform) -> None:
    """
    Every one comes once, newest first; old fires are forgotten.
    """
    made = [await make(echo_listed) for _ in range(3)]
    page = await echo_listed.ask(ListSchedules(tenant=TENANT, limit=2))
    rest = await echo_listed.ask(ListSchedules(tenant=TENANT, limit=2, cursor=page.next_cursor))
    assert [one.id for one in reversed(made)] == [one.id for one in (*page.items, *rest.items)]
    assert rest.next_cursor is None

    for minute in range(3):
        await fire(echo_listed, made[0].id, DUE + timedelta(minutes=minute))
    first = await echo_listed.ask(ListFires(schedule=made[0].id, tenant=TENANT, limit=2))
    last = await echo_listed.ask(
        ListFires(schedule=made[0].id, tenant=TENANT, limit=2, cursor=first.next_cursor)
    )
    assert [2, 1, 0] == [(one.scheduled_for - DUE).seconds // 60 for one in (*first.items, *last.items)]

    await echo_listed.execute("UPDATE schedule_fires SET at = now() - interval '100 days'")
    async with echo_listed.database.system() as connection:
        await fire_store.expire(connection, 90)
    assert [] == await fires(echo_listed, made[0].id)
