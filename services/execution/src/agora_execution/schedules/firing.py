"""When a schedule's time has come: its run is started exactly once, or it is written down why not.

1. One transaction, with the schedule's row locked, writes down that the time has come and what is to be done.
2. Admission starts the run, whose id comes from the schedule and the time: however often it is asked, it is one run.
3. Another transaction writes down what came of it, and pauses a schedule that only fails. So does the sweep when its run
   has failed.

What dies between these is taken up by the sweep, which also starts what waited for the run before and what Temporal
never told, and pauses schedules whose deployment has ended or whose key has expired.
"""

from datetime import datetime, timedelta

import structlog
from agora_contracts.envelope import utc_now
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunError, StartRun
from agora_contracts.schedules import Fire, FireSchedule, TriggerSchedule
from agora_kit.database import Database
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.service import RPCError

from agora_execution.runs.admission import Admission
from agora_execution.schedules import fire_store, key_store, pausing, store
from agora_execution.schedules.fire_store import FireRow
from agora_execution.schedules.model import (
    GIVE_UP_SECONDS,
    LATE,
    SKIPPED,
    decide,
    deployment_ended,
    fire_id,
    missed,
    run_of,
    stopped,
    too_late,
)
from agora_execution.schedules.service import Schedules
from agora_execution.schedules.store import ScheduleRow
from agora_execution.schedules.timing import Clock

log = structlog.get_logger()

_BATCH = 50
_QUIET_SECONDS = 5.0
_VERIFY_SECONDS = 600.0
_RETENTION_DAYS = 90
_PREVIEW_SECONDS = 600.0
_TIMES_KNOWN_MIN = 5


class Firing:
    """Does what is due."""

    def __init__(
        self,
        database: Database,
        admission: Admission,
        schedules: Schedules,
        clock: Clock,
        *,
        quiet_seconds: float = _QUIET_SECONDS,
    ) -> None:
        self._database = database
        self._admission = admission
        self._schedules = schedules
        self._clock = clock
        self._quiet_seconds = quiet_seconds

    async def fire(self, command: FireSchedule) -> Fire:
        """A schedule's time has come: start its run, unless its overlap says otherwise. Once for each time.

        Raises:
            AgoraError: `not_found`; `conflict`, when the schedule is paused or has ended; and that a part of the
                platform does not answer: the run is then started as soon as it does.
        """
        fire = fire_id(command.schedule, command.scheduled_for)
        try:
            written = await self._write_down(
                command.schedule, command.tenant, fire, command.scheduled_for, manual=False
            )
        except AgoraError as error:
            if error.slug == "not_found":
                await self._forget(command.schedule)
            raise
        gone_on = await self._go_on(written)
        await self._refresh(command.schedule, command.tenant)
        return gone_on

    async def trigger(self, command: TriggerSchedule) -> Fire:
        """Start a run now, also of a schedule that is paused, has ended, or whose run before goes on.

        Raises:
            AgoraError: `not_found`, and as for `fire`.
        """
        written = await self._write_down(
            command.schedule,
            command.tenant,
            command.trigger,
            utc_now(),
            manual=True,
            requested_by=command.requested_by,
        )
        return await self._go_on(written)

    async def sweep(self) -> None:
        """Take up what was left lying, start what waited, and bring Temporal to what the rows say."""
        async with self._database.system() as connection:
            ended = await store.on_ended_deployments(connection, _BATCH)
            expired = await key_store.on_expired(connection, _BATCH)
            with_ended_runs = await fire_store.with_ended_runs(connection, _BATCH)
        for schedule, tenant, deployment in ended:
            await self._pause(schedule, tenant, deployment_ended(deployment))
        for schedule, tenant in expired:
            await self._pause_unusable(schedule, tenant)
        for one in with_ended_runs:
            await self._judge(one)
        async with self._database.system() as connection:
            left = await fire_store.open_ones(connection, "starting", self._quiet_seconds, _BATCH)
            waiting = await fire_store.open_ones(connection, "buffered", self._quiet_seconds / 5, _BATCH)
            overdue = await store.overdue(connection, self._quiet_seconds, _BATCH)
        for one in left:
            await self._look_after(one)
        for one in waiting:
            if (released := await self._released(one)) is not None:
                await self._look_after(released)
        for row in overdue:
            await self._make_up_for(row)
        async with self._database.system() as connection:
            unsynced = await store.unsynced(connection, self._quiet_seconds, _BATCH)
        for row in unsynced:
            await self._schedules.sync(row)
        async with self._database.system() as connection:
            await store.forget_deleted(connection)

    async def verify(self) -> None:
        """Compare Temporal with the rows: what is missing there, or says something else, is told again.

        Raises:
            RPCError: Temporal does not answer; the next round goes on.
        """
        async with self._database.system() as connection:
            rows = await store.unverified(connection, _VERIFY_SECONDS, _BATCH)
        for row in rows:
            same, next_times = await self._clock.stands(row)
            if same:
                async with self._database.system() as connection:
                    await store.save_next_times(connection, row.id, row.revision, next_times)
                continue
            log.warning("a schedule was not as its row says", schedule=row.id)
            # Under a new revision, as what stands there may have been told under this one.
            async with self._database.system() as connection:
                await store.tell_again(connection, row.id, row.revision)
                again = await store.read(connection, row.id)
            if again is not None:
                await self._schedules.sync(again)

    async def expire(self) -> None:
        """Forget what came of times long ago, the keys that were revoked then, and what was left on Temporal.

        Raises:
            RPCError: Temporal does not answer; the next round goes on.
        """
        async with self._database.system() as connection:
            await fire_store.expire(connection, _RETENTION_DAYS)
            await key_store.expire(connection, _RETENTION_DAYS)
        await self._clock.drop_previews(_PREVIEW_SECONDS)

    async def _write_down(
        self,
        schedule: str,
        tenant: str,
        fire: str,
        scheduled_for: datetime,
        *,
        manual: bool,
        requested_by: str = "",
    ) -> FireRow:
        async with self._database.transaction(tenant) as connection:
            row = await store.read(connection, schedule, lock=True)
            if row is None or row.state == "deleted":
                raise AgoraError("not_found", f"no schedule {schedule}")
            known = await fire_store.read(connection, fire)
            if known is not None:
                if known.public.schedule != schedule:
                    raise AgoraError("idempotency_conflict", "this id belongs to another schedule's fire")
                return known
            if not manual and row.state != "active":
                raise AgoraError("conflict", f"the schedule {schedule} is {row.state}")
            written = await self._decided(connection, row, fire, scheduled_for, manual=manual)
            new = FireRow(public=written, tenant=tenant, requested_by=requested_by)
            await fire_store.insert(connection, new)
            if written.state == "refused" and written.reason is not None:
                await pausing.pause(connection, row, written.reason)
            elif row.at is not None and not manual:
                await store.set_state(connection, schedule, "ended")
        if written.state == "refused" or (row.at is not None and not manual):
            await self._sync(schedule, tenant)
        return new

    async def _decided(
        self,
        connection: AsyncConnection,
        row: ScheduleRow,
        fire: str,
        scheduled_for: datetime,
        *,
        manual: bool,
    ) -> Fire:
        due = Fire(
            id=fire,
            schedule=row.id,
            scheduled_for=scheduled_for,
            at=utc_now(),
            state="starting",
            manual=manual,
        )
        if not manual and (reason := await pausing.reason_to_pause(connection, row)) is not None:
            # The last of the failures was a run that ended this moment: the sweep has not seen it yet.
            return replace(due, state="refused", reason=reason)
        if not manual and too_late(row.timing, scheduled_for, due.at):
            reason = LATE if row.cron is not None else missed(scheduled_for)
            return replace(due, state="skipped", reason=reason)
        state = decide(row.overlap, await fire_store.before(connection, row.id), manual=manual)  # type: ignore[arg-type]
        return replace(due, state=state, reason=SKIPPED if state == "skipped" else None)

    async def _go_on(self, written: FireRow) -> Fire:
        """Start the run of a fire that is to be started, and write down what came of it."""
        fire = written.public
        if fire.state != "starting":
            return fire
        async with self._database.transaction(written.tenant) as connection:
            row = await store.read(connection, fire.schedule, lock=True)
            if row is None:
                raise AgoraError("not_found", f"no schedule {fire.schedule}")
            reason = await self._held_back(connection, row, written)
            # A run that is there already was started before, by one who died before writing so.
            if reason is not None and not await fire_store.has_run(connection, run_of(fire.id)):
                await fire_store.settle(connection, fire.id, "skipped", run=None, reason=reason)
                settled = await fire_store.read(connection, fire.id)
                return fire if settled is None else settled.public
        try:
            run = await self._admission.start(_command(row, written))
        except AgoraError as error:
            passing = error.problem.status >= 500 or error.slug == "too_many_requests"
            if passing and utc_now() - fire.at < timedelta(seconds=GIVE_UP_SECONDS):
                raise
            reason = RunError(code=error.slug, detail=str(error))
            return await self._settled(written, row, "refused", run=None, reason=reason)
        return await self._settled(written, row, "started", run=run.id, reason=None)

    async def _held_back(
        self, connection: AsyncConnection, row: ScheduleRow, written: FireRow
    ) -> RunError | None:
        """Why what was to be started is not: its schedule was paused or deleted, the key that triggered it revoked."""
        if written.public.manual:
            return await pausing.unusable(connection, written.requested_by, None)
        return stopped(row.state, row.paused_for) if row.state in ("paused", "deleted") else None

    async def _settled(
        self, written: FireRow, row: ScheduleRow, state: str, *, run: str | None, reason: RunError | None
    ) -> Fire:
        pause: RunError | None = None
        async with self._database.transaction(written.tenant) as connection:
            locked = await store.read(connection, row.id, lock=True) or row
            if await fire_store.settle(connection, written.public.id, state, run=run, reason=reason):
                pause = await pausing.reason_to_pause(connection, locked) if state == "refused" else None
                if pause is not None and locked.state == "active":
                    await pausing.pause(connection, locked, pause)
            settled = await fire_store.read(connection, written.public.id)
        if pause is not None:
            await self._sync(row.id, written.tenant)
        return written.public if settled is None else settled.public

    async def _pause(self, schedule: str, tenant: str, reason: RunError) -> None:
        async with self._database.transaction(tenant) as connection:
            row = await store.read(connection, schedule, lock=True)
            if row is None or row.state != "active":
                return
            await pausing.pause(connection, row, reason)
        await self._sync(schedule, tenant)

    async def _pause_unusable(self, schedule: str, tenant: str) -> None:
        async with self._database.transaction(tenant) as connection:
            row = await store.read(connection, schedule, lock=True)
            if row is None or row.state != "active":
                return
            reason = await pausing.unusable(connection, row.requested_by, row.key_expires_at)
            if reason is None:
                return
            await pausing.pause(connection, row, reason)
        await self._sync(schedule, tenant)

    async def _judge(self, ended: FireRow) -> None:
        """Pause a schedule whose run has ended, if that was one failure too many."""
        schedule = ended.public.schedule
        reason: RunError | None = None
        async with self._database.transaction(ended.tenant) as connection:
            row = await store.read(connection, schedule, lock=True)
            if row is not None and row.state == "active":
                reason = await pausing.reason_to_pause(connection, row)
                if reason is not None:
                    await pausing.pause(connection, row, reason)
            await fire_store.judge(connection, ended.public.id)
        if reason is not None:
            await self._sync(schedule, ended.tenant)

    async def _look_after(self, left: FireRow) -> None:
        try:
            await self._go_on(left)
        except AgoraError as error:
            log.info("a fire waits to be started", fire=left.public.id, error=repr(error))
        except Exception as error:
            # One that cannot be helped must not keep the others from being looked after.
            log.exception("a fire could not be looked after", fire=left.public.id, error=repr(error))

    async def _make_up_for(self, row: ScheduleRow) -> None:
        """Fire a schedule whose only moment went by untold: it was over when Temporal heard of it, or no worker came."""
        assert row.at is not None, "only a schedule with one moment is overdue"
        if too_late(row.timing, row.at, utc_now()):
            await self._pause(row.id, row.tenant, missed(row.at))
            return
        command = FireSchedule(schedule=row.id, tenant=row.tenant, scheduled_for=row.at)
        try:
            await self.fire(command)
        except AgoraError as error:
            log.info("a moment waits to be made up for", schedule=row.id, error=repr(error))
        except Exception as error:
            log.exception("a moment could not be made up for", schedule=row.id, error=repr(error))

    async def _forget(self, schedule: str) -> None:
        """Stop Temporal's clock of a schedule that is gone, which a race with its deletion has made anew."""
        async with self._database.system() as connection:
            row = await store.read(connection, schedule)
        if row is None:
            await self._schedules.stop_clock(schedule)

    async def _released(self, waiting: FireRow) -> FireRow | None:
        """The fire that waited, to be started now, when the run before has ended."""
        fire = waiting.public
        async with self._database.transaction(waiting.tenant) as connection:
            row = await store.read(connection, fire.schedule, lock=True)
            before = await fire_store.before(connection, fire.schedule)
            free = row is not None and not before.unfinished
            if not (free and await fire_store.release(connection, fire.id)):
                return None
            return await fire_store.read(connection, fire.id)

    async def _sync(self, schedule: str, tenant: str) -> None:
        async with self._database.transaction(tenant) as connection:
            row = await store.read(connection, schedule)
        if row is not None:
            await self._schedules.sync(row)

    async def _refresh(self, schedule: str, tenant: str) -> None:
        """Look up further times to come before those that are known run out; else the next comparison does it."""
        async with self._database.transaction(tenant) as connection:
            row = await store.read(connection, schedule)
        if row is None or row.state != "active":
            return
        now = utc_now()
        if sum(moment > now for moment in row.next_times) >= _TIMES_KNOWN_MIN:
            return
        try:
            same, next_times = await self._clock.stands(row)
        except (RPCError, RuntimeError) as error:
            log.info("times to come not looked up", schedule=schedule, error=repr(error))
            return
        if same:
            async with self._database.system() as connection:
                await store.save_next_times(connection, row.id, row.revision, next_times)


def _command(row: ScheduleRow, written: FireRow) -> StartRun:
    named, fire = row.named, written.public
    return StartRun(
        run_id=run_of(fire.id),
        tenant=row.tenant,
        account=row.account,
        # Whatever the schedule says by then: the run of a fire is one, and no other request makes its id.
        fingerprint=f"schedule:{fire.id}",
        requested_by=written.requested_by or row.requested_by,
        package=named.package,
        version=named.version,
        deployment=named.deployment,
        input=row.input,
        max_cost=row.max_cost,
    )
