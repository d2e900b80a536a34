"""Messages of schedules: runs that start by themselves, once at a time or again and again."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agora_contracts.money import Money
from agora_contracts.runs import RunError

Overlap = Literal["skip", "buffer_one", "allow"]
ScheduleState = Literal["active", "paused", "ended"]
Clearable = Literal["max_cost", "version"]
FireState = Literal["starting", "buffered", "started", "refused", "skipped"]

SCHEDULES_MAX = 200
"""How many schedules a tenant may have at once."""

Moment = Annotated[datetime, Meta(tz=True)]
Name = Annotated[str, Meta(max_length=120)]
Cron = Annotated[str, Meta(min_length=1, max_length=200)]
TimeZone = Annotated[str, Meta(min_length=1, max_length=80)]
FailuresMax = Annotated[int, Meta(ge=1, le=100)]


class CreateSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Start runs of a package or a rental (exactly one is set) at the times of `cron` or once `at`. Once per id.

    `cron` has five fields (minute, hour, day of the month, month, day of the week), or is one of `@hourly`,
    `@daily`, `@weekly`, `@monthly`, `@yearly`, in `time_zone`. `overlap` says what happens at a time at which the
    run before still goes on: nothing (`skip`), the run starts after it (`buffer_one`, at most one waits), or beside
    it (`allow`). After `failures_max` failures in a row, refused or failed runs, the schedule pauses itself; it also
    does when the key `requested_by`, under which its runs are asked for, is revoked or expires at `key_expires_at`.
    """

    schedule: str
    tenant: str
    account: str
    fingerprint: str
    input: dict[str, Any]
    package: str | None = None
    version: str | None = None
    deployment: str | None = None
    cron: Cron | None = None
    at: Moment | None = None
    time_zone: TimeZone = "UTC"
    overlap: Overlap = "skip"
    failures_max: FailuresMax = 5
    max_cost: Money | None = None
    name: Name = ""
    requested_by: str = ""
    key_expires_at: Moment | None = None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule. `next_times` are the next ten at most, none while it is paused or when it has ended.

    `paused_for` says why it is paused. `failures` counts the failures in a row until now.
    """

    id: str
    tenant: str
    name: str
    state: ScheduleState
    package: str
    input: dict[str, Any]
    time_zone: str
    overlap: Overlap
    failures_max: int
    failures: int
    next_times: list[datetime]
    created_at: datetime
    version: str | None = None
    deployment: str | None = None
    cron: str | None = None
    at: datetime | None = None
    max_cost: Money | None = None
    paused_for: RunError | None = None
    last_fired_at: datetime | None = None


class GetSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Read one schedule."""

    schedule: str
    tenant: str


class ListSchedules(msgspec.Struct, frozen=True, kw_only=True):
    """List a tenant's schedules, newest first."""

    tenant: str
    state: ScheduleState | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class SchedulePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of schedules: fewer than asked for where their inputs are large."""

    items: list[Schedule]
    next_cursor: str | None = None


class ChangeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Change a schedule from now on; what is not given stays. `cron` and `at` replace each other.

    What `clear` names is as if it had never been given: no hard budget, the newest version.
    """

    schedule: str
    tenant: str
    name: Name | None = None
    input: dict[str, Any] | None = None
    cron: Cron | None = None
    at: Moment | None = None
    time_zone: TimeZone | None = None
    overlap: Overlap | None = None
    failures_max: FailuresMax | None = None
    max_cost: Money | None = None
    version: str | None = None
    clear: tuple[Clearable, ...] = ()


class PauseSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Let a schedule start nothing until it is resumed. Pausing it again changes nothing."""

    schedule: str
    tenant: str
    reason: Annotated[str, Meta(max_length=300)] = ""


class ResumeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Let a paused schedule go on from its next time; its failures are counted anew.

    From now on its runs are asked for by the key `requested_by`, if there is one, until that expires.
    """

    schedule: str
    tenant: str
    requested_by: str = ""
    key_expires_at: Moment | None = None


class DeleteSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Delete a schedule; runs that it has started go on. Deleting it again changes nothing."""

    schedule: str
    tenant: str


class TriggerSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Start a run of a schedule now, whatever its times and its overlap; once per `trigger`, which the asker makes.

    The run is asked for by the key `requested_by`, or, without one, by the schedule's.
    """

    schedule: str
    tenant: str
    trigger: str
    requested_by: str = ""


class FireSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule's time has come: its run is started, exactly once for each `scheduled_for`."""

    schedule: str
    tenant: str
    scheduled_for: Moment


class Fire(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one of a schedule's times: a `run` that was started, or the `reason` why none was.

    `starting` until that is known; `buffered` while it waits for the run before. `manual` when it was triggered.
    """

    id: str
    schedule: str
    scheduled_for: datetime
    at: datetime
    state: FireState
    manual: bool = False
    run: str | None = None
    reason: RunError | None = None


class ListFires(msgspec.Struct, frozen=True, kw_only=True):
    """List what came of a schedule's times, newest first."""

    schedule: str
    tenant: str
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class FirePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a schedule's fires."""

    items: list[Fire]
    next_cursor: str | None = None


class SchedulePaused(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule paused itself: too many failures in a row, its key works no more, or what it runs on has ended."""

    schedule: str
    account: str
    package: str
    reason: RunError
    failures: int
    at: datetime
    deployment: str | None = None
    name: str = ""
