"""Use cases of schedules: make, read, change, pause, resume, delete. What their times bring is in `firing`."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from agora_contracts.envelope import utc_now
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.runs import RunError
from agora_contracts.schedules import (
    SCHEDULES_MAX,
    ChangeSchedule,
    CreateSchedule,
    DeleteSchedule,
    FirePage,
    GetSchedule,
    ListFires,
    ListSchedules,
    PauseSchedule,
    ResumeSchedule,
    Schedule,
    SchedulePage,
)
from agora_kit.database import Database
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.service import RPCError

from agora_execution.deployments.model import Named
from agora_execution.packages.model import null_characters
from agora_execution.runs.admission import Admission
from agora_execution.schedules import fire_store, key_store, pausing, store
from agora_execution.schedules.model import Timing, beyond_the_clock, check_timing, failures_in_row
from agora_execution.schedules.store import ScheduleRow
from agora_execution.schedules.timing import Clock

log = structlog.get_logger()


class Schedules:
    """Keeps schedules, and Temporal to what they say."""

    def __init__(self, database: Database, admission: Admission, clock: Clock) -> None:
        self._database = database
        self._admission = admission
        self._clock = clock

    async def create(self, command: CreateSchedule) -> Schedule:
        """Make a schedule. Nothing is set aside for its runs: each is admitted when its time comes.

        Raises:
            AgoraError: `schedule_never_fires`, `invalid_input`, `not_found`, `not_executable`, `quota_exceeded`,
                `idempotency_conflict`, `unavailable`; `key_revoked` or `key_expired`, when that happened meanwhile. Nothing is stored then.
        """
        async with self._database.transaction(command.tenant) as connection:
            known = await store.read(connection, command.schedule)
        if known is not None:
            return await self._known(command, known)
        timing = Timing(cron=command.cron, at=_whole(command.at), time_zone=command.time_zone)
        _check(timing)
        if null_characters(command.input) or "\0" in command.name:
            raise AgoraError("invalid_input", "the character U+0000 cannot be stored; leave it out")
        named = Named(
            tenant=command.tenant,
            package=command.package,
            version=command.version,
            deployment=command.deployment,
        )
        target = await self._admission.check(named, command.input)
        next_times = await self._clock.next_times(timing)
        async with self._database.transaction(command.tenant) as connection:
            if await store.lock_quota(connection, command.tenant) >= SCHEDULES_MAX:
                raise AgoraError(
                    "quota_exceeded", f"at most {SCHEDULES_MAX} schedules are kept at once; delete some"
                )
            await pausing.check_key(connection, command.requested_by, command.key_expires_at)
            await store.insert(connection, replace(command, at=timing.at), target.package.package, next_times)
            row = await store.read(connection, command.schedule)
        if row is None:
            raise AgoraError("idempotency_conflict", "this id belongs to another schedule")
        await self.sync(row)
        return await self._known(command, row)

    async def get(self, query: GetSchedule) -> Schedule:
        """One schedule with its next times.

        Raises:
            AgoraError: `not_found`, also for another tenant's.
        """
        async with self._database.transaction(query.tenant) as connection:
            return await self._public(connection, await _existing(connection, query.schedule))

    async def page(self, query: ListSchedules) -> SchedulePage:
        """A tenant's schedules, newest first."""
        async with self._database.transaction(query.tenant) as connection:
            rows, cursor = await store.page(connection, query)
            return SchedulePage(items=await self._shown(connection, rows), next_cursor=cursor)

    async def fires(self, query: ListFires) -> FirePage:
        """What came of a schedule's times, newest first.

        Raises:
            AgoraError: `not_found`.
        """
        async with self._database.transaction(query.tenant) as connection:
            await _existing(connection, query.schedule)
            return await fire_store.page(connection, query)

    async def change(self, command: ChangeSchedule) -> Schedule:
        """Change a schedule from now on.

        Raises:
            AgoraError: `not_found`; `conflict`, when it has ended; and what refuses a new one.
        """
        async with self._database.transaction(command.tenant) as connection:
            row = await _existing(connection, command.schedule)
        wanted = _changed(row, command)
        if "\0" in wanted.name:
            raise AgoraError("invalid_input", "the character U+0000 cannot be stored; leave it out")
        if wanted.state == "ended":
            raise AgoraError("conflict", "the schedule has ended; make a new one")
        if null_characters(wanted.input):
            raise AgoraError("invalid_input", "the character U+0000 cannot be stored; leave it out")
        if wanted.deployment is not None and wanted.version != row.version:
            detail = "is the deployment's; leave it out"
            raise AgoraError(
                "invalid_input", f"the version {detail}", errors=[FieldError(field="/version", detail=detail)]
            )
        if (wanted.input, wanted.version) != (row.input, row.version):
            await self._admission.check(wanted.named, wanted.input)
        if wanted.timing != row.timing:
            _check(wanted.timing)
            wanted = replace(wanted, next_times=await self._clock.next_times(wanted.timing))
        async with self._database.transaction(command.tenant) as connection:
            locked = await _existing(connection, command.schedule, lock=True)
            if locked.revision != row.revision:
                raise AgoraError("conflict", "the schedule was changed meanwhile; look at it and try again")
            await store.change(connection, wanted)
        return await self._told(command.tenant, command.schedule)

    async def pause(self, command: PauseSchedule) -> Schedule:
        """Let a schedule start nothing until it is resumed; what waited for a run is left out.

        Raises:
            AgoraError: `not_found`; `conflict`, when it has ended.
        """
        reason = RunError(code="paused", detail=command.reason or "paused by its owner")
        async with self._database.transaction(command.tenant) as connection:
            row = await _existing(connection, command.schedule, lock=True)
            if row.state == "ended":
                raise AgoraError("conflict", "the schedule has ended already")
            if row.state == "active":
                await store.set_state(connection, command.schedule, "paused", reason)
                await fire_store.drop_buffered(connection, command.schedule, reason)
        return await self._told(command.tenant, command.schedule)

    async def resume(self, command: ResumeSchedule) -> Schedule:
        """Let a paused schedule go on from its next time.

        Raises:
            AgoraError: `not_found`; `conflict`, when it has ended; `schedule_never_fires`, when its time is over; and,
                when it could not run now, why: `not_executable`, `not_found`, `invalid_input`, `key_revoked`,
                `key_expired`.
        """
        async with self._database.transaction(command.tenant) as connection:
            row = await _existing(connection, command.schedule)
        if row.state == "active":
            return await self._told(command.tenant, command.schedule)
        if row.state == "ended":
            raise AgoraError("conflict", "the schedule has ended; make a new one")
        _check(row.timing)
        await self._admission.check(row.named, row.input)
        async with self._database.transaction(command.tenant) as connection:
            await key_store.lock(connection, command.tenant)
            row = await _existing(connection, command.schedule, lock=True)
            key, expires_at = command.requested_by, command.key_expires_at
            if not key:
                key, expires_at = row.requested_by, row.key_expires_at
            await pausing.check_key(connection, key, expires_at)
            if row.state == "paused":
                await store.set_state(connection, command.schedule, "active")
                await key_store.ask_as(connection, command.schedule, key, expires_at)
        return await self._told(command.tenant, command.schedule)

    async def delete(self, command: DeleteSchedule) -> Schedule:
        """Delete a schedule; runs that it has started go on.

        Raises:
            AgoraError: `not_found`.
        """
        reason = RunError(code="deleted", detail="the schedule was deleted")
        async with self._database.transaction(command.tenant) as connection:
            row = await _existing(connection, command.schedule, lock=True)
            shown = await self._public(connection, row)
            await store.set_state(connection, command.schedule, "deleted", reason)
            await fire_store.drop_buffered(connection, command.schedule, reason)
            row = await store.read(connection, command.schedule) or row
        await self.sync(row)
        return replace(shown, state="ended", next_times=[])

    async def sync(self, row: ScheduleRow) -> None:
        """Tell Temporal what a row says; a Temporal that does not answer is left to the sweep."""
        try:
            next_times = await self._clock.tell(row)
        except (RPCError, RuntimeError) as error:
            log.warning("schedule not told, the sweep will", schedule=row.id, error=repr(error))
            return
        async with self._database.system() as connection:
            await store.save_synced(connection, row.id, row.revision)
            await store.save_next_times(connection, row.id, row.revision, next_times)
            current = await store.read(connection, row.id)
        if current is None or current.state == "deleted":
            # Deleted meanwhile: what was made anew must not stay.
            await self.stop_clock(row.id)

    async def stop_clock(self, schedule: str) -> None:
        """Have Temporal forget a schedule that is gone; where it does not answer, its next time has it forgotten."""
        try:
            await self._clock.remove(schedule)
        except (RPCError, RuntimeError) as error:
            log.warning("the clock of a deleted schedule goes on", schedule=schedule, error=repr(error))

    async def _told(self, tenant: str, schedule: str) -> Schedule:
        async with self._database.transaction(tenant) as connection:
            row = await _existing(connection, schedule)
        if row.synced_revision < row.revision:
            await self.sync(row)
        async with self._database.transaction(tenant) as connection:
            return await self._public(connection, await _existing(connection, schedule))

    async def _known(self, command: CreateSchedule, row: ScheduleRow) -> Schedule:
        if row.fingerprint != command.fingerprint or row.state == "deleted":
            raise AgoraError(
                "idempotency_conflict", "this Idempotency-Key was used for another request; use a new key"
            )
        return await self._told(command.tenant, command.schedule)

    async def _public(self, connection: AsyncConnection, row: ScheduleRow) -> Schedule:
        (shown,) = await self._shown(connection, [row])
        return shown

    async def _shown(self, connection: AsyncConnection, rows: list[ScheduleRow]) -> list[Schedule]:
        found = await fire_store.outcomes(connection, {row.id: row.counted_from for row in rows})
        now = utc_now()
        return [
            row.public(now, failures_in_row(outcome for outcome, _ in found.get(row.id, []))) for row in rows
        ]


async def _existing(connection: AsyncConnection, schedule: str, *, lock: bool = False) -> ScheduleRow:
    row = await store.read(connection, schedule, lock=lock)
    if row is None or row.state == "deleted":
        raise AgoraError("not_found", f"no schedule {schedule}")
    return row


def _check(timing: Timing) -> None:
    check_timing(timing, utc_now())
    try:
        ZoneInfo(timing.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        detail = f"{timing.time_zone!r} is no time zone; use a name such as Europe/Berlin"
        raise AgoraError(
            "invalid_input", detail, errors=[FieldError(field="/time_zone", detail=detail)]
        ) from error


def _whole(at: datetime | None) -> datetime | None:
    """A moment in UTC without its fraction of a second, which no clock of schedules knows."""
    if at is None:
        return None
    try:
        return at.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:
        # In its own zone it is a date, in UTC none.
        raise beyond_the_clock() from error


def _changed(row: ScheduleRow, command: ChangeSchedule) -> ScheduleRow:
    if command.cron is not None and command.at is not None:
        raise AgoraError("invalid_input", "at most one of cron and at is given")
    timed = command.cron is not None or command.at is not None
    given: dict[str, Any] = {
        "name": command.name,
        "input": command.input,
        "time_zone": command.time_zone,
        "overlap": command.overlap,
        "failures_max": command.failures_max,
        "max_cost": command.max_cost,
        "version": command.version,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if timed:
        changes |= {"cron": command.cron, "at": _whole(command.at)}
    changes |= dict.fromkeys(command.clear)
    return replace(row, **changes)
