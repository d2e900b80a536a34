"""Schedules as the public API shows them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, get_args

import msgspec
from agora_contracts.money import PublicMoney
from agora_contracts.runs import RunError
from agora_contracts.schedules import (
    ChangeSchedule,
    Clearable,
    Cron,
    FailuresMax,
    Fire,
    FireState,
    Moment,
    Name,
    Overlap,
    Schedule,
    ScheduleState,
    TimeZone,
)
from msgspec import UNSET, Meta, UnsetType

from agora_gateway.edge.shapes import MoneyBody, optional_money, read_max_cost


class ScheduleBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to run (exactly one of `package` and `deployment`) on which `input`, and when (one of `cron` and `at`).

    `cron` has five fields: minute, hour, day of the month, month, day of the week; all of them must fit. `overlap`
    says what happens while the run before goes on: `skip` this time, start after it (`buffer_one`), or `allow` both.
    After `failures_max` failures in a row the schedule pauses itself. `max_cost` is the hard budget of each run.
    """

    input: dict[str, Any]
    package: str | None = None
    version: str | None = None
    deployment: str | None = None
    cron: Cron | None = None
    at: Moment | None = None
    time_zone: TimeZone = "UTC"
    overlap: Overlap = "skip"
    failures_max: FailuresMax = 5
    max_cost: MoneyBody | None = None
    name: Name = ""


class ScheduleChangeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall be changed from now on; the rest stays. `cron` and `at` replace each other.

    `max_cost: null` takes the hard budget away, `version: null` has the newest version run.
    """

    name: Name | UnsetType = UNSET
    input: dict[str, Any] | UnsetType = UNSET
    cron: Cron | UnsetType = UNSET
    at: Moment | UnsetType = UNSET
    time_zone: TimeZone | UnsetType = UNSET
    overlap: Overlap | UnsetType = UNSET
    failures_max: FailuresMax | UnsetType = UNSET
    max_cost: MoneyBody | UnsetType | None = UNSET
    version: str | UnsetType | None = UNSET


class PauseBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it is paused, in your own words."""

    reason: Annotated[str, Meta(max_length=300)] = ""


class TriggerBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing: the run is what the schedule says."""


class ScheduleShape(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule. `next_times` are the next ten at most; `failures` are those in a row until now."""

    id: str
    name: str
    state: ScheduleState
    package: str
    version: str | None
    deployment: str | None
    input: dict[str, Any]
    cron: str | None
    at: datetime | None
    time_zone: str
    overlap: Overlap
    failures_max: int
    failures: int
    max_cost: PublicMoney | None
    next_times: list[datetime]
    paused_for: RunError | None
    last_fired_at: datetime | None
    created_at: datetime


class SchedulePageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of schedules, newest first: fewer than asked for where their inputs are large."""

    items: list[ScheduleShape]
    next_cursor: str | None = None


class FireShape(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a time: a `run` that was started, or the `reason` why none was; `buffered` while it waits."""

    id: str
    scheduled_for: datetime
    at: datetime
    state: FireState
    manual: bool
    run: str | None
    reason: RunError | None


class FirePageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of what came of a schedule's times, newest first."""

    items: list[FireShape]
    next_cursor: str | None = None


def schedule_shape(found: Schedule) -> ScheduleShape:
    """A schedule for its tenant."""
    return ScheduleShape(
        id=found.id,
        name=found.name,
        state=found.state,
        package=found.package,
        version=found.version,
        deployment=found.deployment,
        input=found.input,
        cron=found.cron,
        at=found.at,
        time_zone=found.time_zone,
        overlap=found.overlap,
        failures_max=found.failures_max,
        failures=found.failures,
        max_cost=optional_money(found.max_cost),
        next_times=found.next_times,
        paused_for=found.paused_for,
        last_fired_at=found.last_fired_at,
        created_at=found.created_at,
    )


def fire_shape(fire: Fire) -> FireShape:
    """A fire for its tenant."""
    return FireShape(
        id=fire.id,
        scheduled_for=fire.scheduled_for,
        at=fire.at,
        state=fire.state,
        manual=fire.manual,
        run=fire.run,
        reason=fire.reason,
    )


def change(schedule: str, tenant: str, given: ScheduleChangeBody) -> ChangeSchedule:
    """The command that changes what was asked for."""
    fields = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not UNSET}
    cleared: tuple[Clearable, ...] = tuple(
        name for name in get_args(Clearable) if fields.get(name, UNSET) is None
    )
    if fields.get("max_cost") is not None:
        fields["max_cost"] = read_max_cost(fields["max_cost"])
    return ChangeSchedule(schedule=schedule, tenant=tenant, clear=cleared, **fields)


# --- examples of the documentation ---------------------------------------------------------------

_AT = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
A_BODY = ScheduleBody(
    package="echo",
    input={"text": "good morning"},
    cron="0 9 * * 1-5",
    time_zone="Europe/Berlin",
    name="Every working day",
)
A_CHANGE_BODY = ScheduleChangeBody(cron="30 9 * * 1-5", overlap="buffer_one")
A_PAUSE_BODY = PauseBody(reason="stocktaking")
A_TRIGGER_BODY = TriggerBody()
A_SCHEDULE = ScheduleShape(
    id="sch_0190a5b07c3a7d4e8f00112233445566",
    name="Every working day",
    state="active",
    package="echo",
    version=None,
    deployment=None,
    input={"text": "good morning"},
    cron="0 9 * * 1-5",
    at=None,
    time_zone="Europe/Berlin",
    overlap="skip",
    failures_max=5,
    failures=0,
    max_cost=None,
    next_times=[_AT + timedelta(days=1), _AT + timedelta(days=2)],
    paused_for=None,
    last_fired_at=_AT,
    created_at=datetime(2026, 1, 1, 12, 0, tzinfo=UTC),
)
A_PAGE = SchedulePageShape(items=[A_SCHEDULE])
A_FIRE = FireShape(
    id="fire_0190a5b07c3a7d4e8f00112233445566",
    scheduled_for=_AT,
    at=_AT,
    state="started",
    manual=False,
    run="run_0190a5b07c3a7d4e8f00112233445566",
    reason=None,
)
A_FIRE_PAGE = FirePageShape(items=[A_FIRE])
