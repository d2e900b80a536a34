"""Execution's hands on Temporal's Schedules, which tell when a time has come.

The row of a schedule says what is to be; Temporal is told after it, and told again by the sweep where the two
differ. The note of a schedule on Temporal names the revision of the row that it was told.
"""

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import stamina
from agora_contracts.envelope import utc_now
from agora_contracts.problems import AgoraError
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from agora_execution.queues import queue_name
from agora_execution.runs import describing
from agora_execution.schedules.model import (
    CATCH_UP_ONCE_SECONDS,
    CATCH_UP_SECONDS,
    Timing,
    never_fires,
    unreadable,
)
from agora_execution.schedules.store import ScheduleRow
from agora_execution.schedules.workflows import FireTask, ScheduledFire

_PREVIEW = "preview-"
_RPC_TIMEOUT = timedelta(seconds=3)
_LOOK_TIMEOUTS = [timedelta(seconds=seconds) for seconds in (1, 2, 3)]
_FIRE_TIMEOUT = timedelta(hours=1)


class Clock:
    """Tells Temporal what schedules say, and asks it for their times."""

    def __init__(self, client: Client, queues: str) -> None:
        self._client = client
        self._queues = queues

    async def next_times(self, timing: Timing) -> list[datetime]:
        """The next times of a timing, ten at most, as Temporal reads it. Nothing of it stays there.

        Raises:
            AgoraError: `invalid_input`, when it cannot be read; `schedule_never_fires`, when there is none;
                `unavailable`, when Temporal does not answer.
        """
        schedule = f"{_PREVIEW}{int(utc_now().timestamp())}-{uuid.uuid4().hex}"
        # Paused: whatever becomes of us, it starts nothing.
        shown = Schedule(
            action=self._action(schedule, ""), spec=_spec(timing), state=ScheduleState(paused=True)
        )
        try:
            handle = await self._client.create_schedule(schedule, shown, rpc_timeout=_RPC_TIMEOUT)
            try:
                found = await _times_of(handle)
            finally:
                await handle.delete(rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status == RPCStatusCode.INVALID_ARGUMENT:
                raise unreadable(timing, error.message) from error
            raise _away() from error
        except RuntimeError as error:
            raise _away() from error
        if not found:
            field, what = ("/cron", timing.cron) if timing.cron is not None else ("/at", str(timing.at))
            raise never_fires(field, f"{what} is at no time to come; name one that is in the calendar")
        return found

    async def drop_previews(self, older_than_seconds: float) -> None:
        """Remove what those left who died while they asked for the times of a timing.

        Raises:
            RPCError: Temporal does not answer.
        """
        before = utc_now().timestamp() - older_than_seconds
        left = await self._client.list_schedules(f"ScheduleId STARTS_WITH '{_PREVIEW}'")
        async for found in left:
            made = found.id.removeprefix(_PREVIEW).partition("-")[0]
            if found.id.startswith(_PREVIEW) and made.isdecimal() and int(made) <= before:
                await self.remove(found.id)

    async def tell(self, row: ScheduleRow) -> list[datetime]:
        """Bring Temporal to what a row says, unless it was told a later revision. Returns the next times.

        Raises:
            RPCError: Temporal does not answer.
        """
        if row.state in ("ended", "deleted"):
            await self.remove(row.id)
            return []
        handle = self._client.get_schedule_handle(row.id)
        wanted = self._wanted(row)

        async def update(current: ScheduleUpdateInput) -> ScheduleUpdate | None:
            if _revision(current.description.schedule.state.note) >= row.revision:
                return None
            return ScheduleUpdate(schedule=wanted)

        try:
            await _looking(lambda timeout: handle.update(update, rpc_timeout=timeout))
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            try:
                await self._client.create_schedule(row.id, wanted, rpc_timeout=_RPC_TIMEOUT)
            except ScheduleAlreadyRunningError:
                await _looking(lambda timeout: handle.update(update, rpc_timeout=timeout))
        return await _times_of(handle)

    async def stands(self, row: ScheduleRow) -> tuple[bool, list[datetime]]:
        """Whether Temporal has what a row says; and the next times.

        Raises:
            RPCError: Temporal does not answer.
        """
        try:
            found = await _described(self._client.get_schedule_handle(row.id))
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False, []
            raise
        state = found.schedule.state
        same = _revision(state.note) == row.revision and state.paused == (row.state != "active")
        return same, list(found.info.next_action_times)

    async def remove(self, schedule: str) -> None:
        """Have nothing of a schedule on Temporal.

        Raises:
            RPCError: Temporal does not answer.
        """
        try:
            await self._client.get_schedule_handle(schedule).delete(rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise

    def _wanted(self, row: ScheduleRow) -> Schedule:
        seconds = CATCH_UP_SECONDS if row.cron is not None else CATCH_UP_ONCE_SECONDS
        return Schedule(
            action=self._action(row.id, row.tenant, f"{row.name or row.package} for {row.tenant}"),
            spec=_spec(row.timing),
            # What happens while a run goes on is decided by our rows: the workflow that Temporal starts only tells us.
            policy=SchedulePolicy(
                overlap=ScheduleOverlapPolicy.ALLOW_ALL, catchup_window=timedelta(seconds=seconds)
            ),
            state=ScheduleState(note=f"revision {row.revision}", paused=row.state != "active"),
        )

    def _action(self, schedule: str, tenant: str, summary: str = "") -> ScheduleActionStartWorkflow:
        return ScheduleActionStartWorkflow(
            ScheduledFire.run,
            FireTask(schedule=schedule, tenant=tenant),
            id=f"fire-{schedule}",
            task_queue=queue_name(self._queues, "standard"),
            execution_timeout=_FIRE_TIMEOUT,
            static_summary=summary or None,
            typed_search_attributes=TypedSearchAttributes(
                [SearchAttributePair(describing.TENANT, tenant)] if tenant else []
            ),
            priority=describing.priority(tenant),
        )


async def _times_of(handle: ScheduleHandle) -> list[datetime]:
    return list((await _described(handle)).info.next_action_times)


async def _described(handle: ScheduleHandle) -> ScheduleDescription:
    return await _looking(lambda timeout: handle.describe(rpc_timeout=timeout))


async def _looking[T](look: Callable[[timedelta], Awaitable[T]]) -> T:
    """Ask what Temporal answers from within a schedule, or changes after such an answer; again when none comes.

    Temporal 1.29 loses one such question in about 700 on an idle machine and one in 100 on a busy one (measured with
    schedules just made); the next one is answered within milliseconds.
    """
    async for attempt in stamina.retry_context(
        on=_is_unanswered, attempts=len(_LOOK_TIMEOUTS), timeout=None, wait_initial=0.05, wait_jitter=0
    ):
        with attempt:
            return await look(_LOOK_TIMEOUTS[attempt.num - 1])
    raise AssertionError("a retry ends by returning or raising")


def _is_unanswered(error: Exception) -> bool:
    # The SDK calls its own timeout a cancellation.
    return isinstance(error, RPCError) and error.status in (
        RPCStatusCode.CANCELLED,
        RPCStatusCode.DEADLINE_EXCEEDED,
    )


def _spec(timing: Timing) -> ScheduleSpec:
    if timing.cron is not None:
        return ScheduleSpec(cron_expressions=[timing.cron], time_zone_name=timing.time_zone)
    assert timing.at is not None, "a timing has one of the two"
    at = timing.at.astimezone(UTC)
    calendar = ScheduleCalendarSpec(
        year=[ScheduleRange(at.year)],
        month=[ScheduleRange(at.month)],
        day_of_month=[ScheduleRange(at.day)],
        hour=[ScheduleRange(at.hour)],
        minute=[ScheduleRange(at.minute)],
        second=[ScheduleRange(at.second)],
    )
    return ScheduleSpec(calendars=[calendar], time_zone_name="UTC")


def _revision(note: str | None) -> int:
    number = (note or "").removeprefix("revision ")
    return int(number) if number.isdecimal() else 0


def _away() -> AgoraError:
    return AgoraError(
        "unavailable", "the clock of schedules does not answer; try again", retry_after_seconds=2
    )
