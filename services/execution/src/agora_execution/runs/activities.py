"""What the run's workflow does to the world: confirm, call a node, record, end."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import Any

import msgspec
import stamina
import structlog
from agora import (
    Agent,
    Context,
    InputRejected,
    PermissionNotGranted,
    Retryable,
    state_codec,
)
from agora.errors import AgentDefinitionError
from agora.retries import POLICIES
from agora.steps import StepDefinition
from agora.suspension import Suspended, suspended_in
from agora_contracts.billing import ConfirmHold
from agora_contracts.envelope import utc_now
from agora_contracts.execution import RunError
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker
from agora_kit.database import is_transient
from temporalio import activity
from temporalio.exceptions import ApplicationError

from agora_execution import agents
from agora_execution.memory.recording import written
from agora_execution.runs.live import LiveRuns
from agora_execution.runs.model import (
    CANCELLED,
    HOLD_LOST,
    RUN_ENDED,
    TIMED_OUT,
    UPDATE_BYTES_MAX,
    Ending,
    StepRecord,
    StepResult,
    UsageItem,
    usage_id,
)
from agora_execution.runs.opening import FirstStep, fresh_run
from agora_execution.runs.ports import StepPorts
from agora_execution.runs.recording import Recorder
from agora_execution.runs.tasks import Asked, Opening, RunEnding, RunTask, StepReturn, StepTask
from agora_execution.runs.workflows import agent_error, require_size

log = structlog.get_logger()

_HEARTBEAT_SECONDS = 5.0
_PATIENCE_SECONDS = 25.0
_ABSENCES_MAX = 10_000

_NOT_BEGUN = {"ended": RUN_ENDED, "cancelled": CANCELLED, "hold_lost": HOLD_LOST}
"""Why a run takes no step, by what came of beginning it."""


class RunActivities:
    """The activities of runs, on the worker's connections."""

    def __init__(self, recorder: Recorder, broker: Broker, ports: StepPorts) -> None:
        self._recorder = recorder
        self._broker = broker
        self._ports = ports
        self._live = LiveRuns(broker)
        self._absences = Absences()

    @property
    def all(self) -> list[Any]:
        """Every activity, to be registered with a worker."""
        return [self.open_run, self.run_step, self.end_run]

    async def _begin(self, task: RunTask) -> str:
        """Make the hold firm and mark the run as running: `begun`, `known`, `ended`, `cancelled` or `hold_lost`."""
        try:
            await _patiently(self._broker.ask, ConfirmHold(run=task.run, tenant=task.tenant))
        except AgoraError as error:
            if error.slug in ("insufficient_credit", "budget_exhausted", "hold_closed", "not_found"):
                log.warning("hold lost", run=task.run, reason=str(error))
                return "hold_lost"
            raise
        begun = await _patiently(self._recorder.begin, task.run, task.tenant)
        if begun == "begun":
            self._ports.begun(task.run)
        return begun

    @activity.defn
    async def run_step(self, step: StepTask) -> StepReturn:
        """Call a node once, and record what it brought; a step that is recorded already is not called.

        A step that asks for something is not recorded: it is called again with the answer.

        The first one of a run confirms its hold before anything else: begun together they cost the workflow one
        activation less.
        """
        with self._absences.counted(step.step):
            known = await self._prepare(step)
            if known is not None:
                return StepReturn(update=msgspec.Raw(known))
            agent = agents.get(step.task.package)
            definition = agent.nodes[step.node]
            try:
                async with self._heartbeat(definition):
                    result = await self._attempt(agent, definition, step)
            except StepAsks as asks:
                return StepReturn(asked=asks.asked)
            except Exception as error:
                raise self._failure(definition, step, error) from error
            record = await _patiently(self._recorder.record, result)
            _require_open(record)
            return StepReturn(
                update=msgspec.Raw(record.update),
                paused=record.pause_requested,
                cost_micros=record.model_cost_micros,
            )

    @activity.defn
    async def open_run(self, step: StepTask) -> Opening:
        """Take a run's first step; where the graph ends with it, record the step and the run's end together.

        What fails beside the step itself, in the graph, is left to the workflow: it follows the same graph.
        """
        with self._absences.counted(step.step):
            known = await self._prepare(step)
            if known is not None:
                return Opening(taken=True, update=msgspec.Raw(known))
            agent = agents.get(step.task.package)
            definition = agent.nodes[step.node]
            first = FirstStep(agent, step, lambda task: self._attempt(agent, definition, task))
            ending = await first.follow()
            if isinstance(first.failure, StepAsks):
                return Opening(asked=first.failure.asked)
            if first.failure is not None:
                raise self._failure(definition, step, first.failure) from first.failure
            if first.result is None:
                return Opening()
            if ending is None:
                record = await _patiently(self._recorder.record, first.result)
            else:
                run = fresh_run(step.task)
                record = await _patiently(self._recorder.finish, run, first.result, _ending(ending))
                self._live.ended(step.task.run)
            if record.outcome is not None:
                return Opening(outcome=record.outcome)
            _require_open(record)
            return Opening(
                taken=True,
                update=msgspec.Raw(record.update),
                paused=record.pause_requested,
                cost_micros=record.model_cost_micros,
            )

    async def _prepare(self, step: StepTask) -> bytes | None:
        """Begin the run with its first step. Returns the step's update when it is recorded already, or taken over."""
        if time.time() >= step.deadline:
            raise _timed_out()
        if step.first:
            begun = await self._begin(step.task)
            if reason := _NOT_BEGUN.get(begun):
                raise ApplicationError(reason.detail, reason, type=reason.code, non_retryable=True)
        known = await _patiently(self._ports.known_result, step.task.run, step.step)
        if known is not None or step.task.origin is None:
            return known
        carried = await _patiently(self._ports.carried, step)
        if carried is None:
            return None
        record = await _patiently(self._recorder.record, carried)
        _require_open(record)
        return record.update

    @activity.defn
    async def end_run(self, ending: RunEnding) -> str:
        """Write the run's end, once."""
        await self._recorder.end(_ending(ending))
        self._live.ended(ending.run)
        return ending.outcome

    async def _attempt(self, agent: Agent, definition: StepDefinition, step: StepTask) -> StepResult:
        attempt = activity.info().attempt
        context = await _patiently(self._ports.context, agent, step, attempt)
        told = self._live.step(step.task.tenant, step.task.run, step.step, step.node)
        context.on_progress, context.on_text, context.on_tool = told.progress, told.text, told.tool
        state = state_codec.decode_state(definition.state_type, bytes(step.state))
        started_at = utc_now()
        try:
            async with asyncio.timeout(min(definition.timeout_seconds, step.deadline - time.time())):
                returned = await definition.function(state, context)
        except (Suspended, BaseExceptionGroup) as error:
            raise _asks(error) from error
        update = state_codec.encode(returned, f"the step {step.node!r}")
        require_size(f"what the step {step.node!r} returned", update, UPDATE_BYTES_MAX)
        state_codec.decode_update(agent.state_type, update, f"the step {step.node!r}")
        return StepResult(
            run=step.task.run,
            step=step.step,
            node=step.node,
            title=definition.title,
            visit=step.visit,
            branch=step.branch,
            attempt=attempt,
            started_at=started_at,
            finished_at=utc_now(),
            update=update,
            usage=_usage(step.step, context),
            memory=written(context),
        )

    @asynccontextmanager
    async def _heartbeat(self, definition: StepDefinition) -> AsyncIterator[None]:
        if not definition.long:
            yield
            return

        async def beat() -> None:
            while True:
                activity.heartbeat()
                await asyncio.sleep(_HEARTBEAT_SECONDS)

        beating = asyncio.create_task(beat())
        try:
            yield
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating

    def _failure(self, definition: StepDefinition, step: StepTask, error: Exception) -> ApplicationError:
        own = activity.info().attempt - self._absences.of(step.step)
        return _failure(definition, step, error, max(own, 1))


def _ending(ending: RunEnding) -> Ending:
    return Ending(
        run=ending.run,
        outcome=ending.outcome,  # type: ignore[arg-type]
        at=utc_now(),
        deliverable=ending.deliverable,  # type: ignore[arg-type]
        delivered_units=ending.delivered_units,
        output=ending.output,
        error=ending.error,
    )


def _require_open(record: StepRecord) -> None:
    """Raise what ends the workflow, when no further step of the run is wanted."""
    if record.state == "ended":
        raise ApplicationError(RUN_ENDED.detail, RUN_ENDED, type=RUN_ENDED.code, non_retryable=True)
    if record.cancel_requested:
        # Told here, as Temporal tells a workflow that is busy with short steps only seconds later.
        raise ApplicationError(CANCELLED.detail, CANCELLED, type=CANCELLED.code, non_retryable=True)


def _usage(step: str, context: Context) -> list[UsageItem]:
    return [
        UsageItem(
            id=usage_id(step, sequence, used.meter),
            meter=used.meter,
            quantity=used.quantity,
            dimensions=used.dimensions,
        )
        for sequence, used in enumerate(context.recorded)
    ]


class StepAsks(Exception):
    """A step cannot go on before it has an answer."""

    def __init__(self, asked: Asked) -> None:
        super().__init__("the step asks for something")
        self.asked = asked


def _asks(error: BaseException) -> BaseException:
    """What a step that ends by a suspension is for its caller; any other error as it is."""
    suspended = suspended_in(error)
    if suspended is None:
        return error
    asked = Asked(request=suspended.request, number=suspended.number)
    try:
        require_size("what the step asks for", state_codec.encode(asked), UPDATE_BYTES_MAX)
    except AgentDefinitionError as broken:
        return broken
    return StepAsks(asked)


class PlatformAway(Exception):
    """A part of the platform did not answer for too long; the agent is not to blame."""


def _is_away(error: Exception) -> bool:
    """Whether a part of the platform is away for now: a database, or a service that did not answer."""
    if isinstance(error, AgoraError):
        return error.slug in ("unavailable", "deadline_exceeded", "overloaded")
    return is_transient(error)


def _is_absence(error: BaseException | None) -> bool:
    """Whether an attempt ended because a part of the platform was away, and not by the agent's doing."""
    return isinstance(error, PlatformAway) or (isinstance(error, AgoraError) and _is_away(error))


class Absences:
    """How many attempts at each step this worker's platform, and not the agent, has cost.

    Temporal counts every attempt; these do not count against the step's policy. Kept in memory: with a worker that
    dies its count is lost, and the step has so many attempts fewer.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def of(self, step: str) -> int:
        """How many of the step's attempts the platform has cost so far."""
        return self._counts.get(step, 0)

    @contextmanager
    def counted(self, step: str) -> Iterator[None]:
        """Count the attempt inside when it ends by an absence; forget the step when it is done."""
        try:
            yield
        except Exception as error:
            if _is_absence(error) or _is_absence(error.__cause__):
                if len(self._counts) >= _ABSENCES_MAX:
                    self._counts.pop(next(iter(self._counts)))
                self._counts[step] = self.of(step) + 1
            raise
        self._counts.pop(step, None)


async def _patiently[**P, R](call: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
    """Wait out a part of the platform that is away: the node's work must not be lost, nor its attempts used up."""
    try:
        return await call(*args, **kwargs)
    except Exception as error:
        if not _is_away(error):
            raise
    try:
        async for attempt in stamina.retry_context(
            on=_is_away, attempts=None, timeout=_PATIENCE_SECONDS, wait_initial=0.1, wait_max=2.0
        ):
            with attempt:
                return await call(*args, **kwargs)
    except Exception as error:
        if _is_away(error):
            raise PlatformAway(repr(error)) from error
        raise
    raise AssertionError("a retry ends by returning or raising")


def _timed_out() -> ApplicationError:
    return ApplicationError(TIMED_OUT.detail, TIMED_OUT, type=TIMED_OUT.code, non_retryable=True)


def _failure(definition: StepDefinition, step: StepTask, error: Exception, attempt: int) -> ApplicationError:
    """How Temporal should take the agent's `attempt` that failed: for good, or to be tried again by its policy."""
    if isinstance(error, InputRejected):
        reason = RunError(code=error.code, detail=error.detail, place=error.place)
        return ApplicationError(error.detail, reason, type="rejected", non_retryable=True)
    if isinstance(error, AgentDefinitionError | PermissionNotGranted):
        log.error("agent at fault", run=step.task.run, step=step.step, error=str(error))
        return ApplicationError(str(error), agent_error(error), type="agent_error", non_retryable=True)
    if isinstance(error, AgoraError) and error.problem.status < 500:
        # A port refused for a reason that stays and that the customer can mend, such as a full quota.
        reason = RunError(code=error.slug, detail=str(error))
        return ApplicationError(str(error), reason, type="refused", non_retryable=True)
    policy = POLICIES[definition.retry]
    log.warning("step attempt failed", run=step.task.run, step=step.step, attempt=attempt, exc_info=error)
    away = _is_absence(error)
    final = attempt >= policy.attempts_max and not away
    asked = error.after_seconds if isinstance(error, Retryable) else None
    wait_seconds = 0 if final else policy.delay_seconds(attempt) if asked is None else asked
    if time.time() + wait_seconds >= step.deadline:
        # The run's time is up, or would be before another attempt.
        return _timed_out()
    what = "took longer than its limit" if isinstance(error, TimeoutError) else "failed"
    times = "once" if attempt == 1 else f"{attempt} times"
    reason = RunError(
        code="step_failed", detail=f"the step {definition.title!r} was tried {times} and {what}"
    )
    return ApplicationError(
        reason.detail,
        reason,
        type="step_failed",
        non_retryable=final,
        next_retry_delay=None if asked is None else timedelta(seconds=asked),
    )
