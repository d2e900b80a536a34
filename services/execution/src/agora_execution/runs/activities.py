"""What the run's workflow does to the world: confirm, call a node, record, end."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import structlog
from agora import Agent, Context, state_codec
from agora.steps import StepDefinition
from agora.suspension import Suspended, suspended_in
from agora_contracts.billing import ConfirmHold
from agora_contracts.envelope import utc_now
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunError
from agora_kit.broker import Broker
from temporalio import activity
from temporalio.exceptions import ApplicationError

from agora_execution import agents
from agora_execution.memory.recording import written
from agora_execution.models.port import RunModels
from agora_execution.patience import PlatformAway, noticing, patiently
from agora_execution.runs.failures import Absences, StepAsks, asks, failure, failure_of, timed_out, told
from agora_execution.runs.live import LiveRuns
from agora_execution.runs.model import (
    CANCELLED,
    HOLD_LOST,
    RUN_ENDED,
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
from agora_execution.runs.tasks import Opening, RunEnding, RunTask, StepReturn, StepTask
from agora_execution.runs.workflows import require_size

log = structlog.get_logger()

HEARTBEAT_SECONDS = 3.0
_SETTLING_SECONDS = 5.0
"""What model calls at hand have at least, when their step's time is up and it is to be called again."""

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
            await patiently(self._broker.ask, ConfirmHold(run=task.run, tenant=task.tenant))
        except AgoraError as error:
            if error.slug in ("insufficient_credit", "budget_exhausted", "hold_closed", "not_found"):
                log.warning("hold lost", run=task.run, reason=str(error))
                return "hold_lost"
            raise
        begun = await patiently(self._recorder.begin, task.run, task.tenant)
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
        agent = agents.get(step.task.package)
        definition = agent.nodes[step.node]
        # A heartbeat from the beginning to the end: beginning and recording may have to wait for the platform, too.
        with self._absences.counted(step.step):
            async with self._heartbeat(definition):
                known = await self._prepare(step)
                if known is not None:
                    return StepReturn(update=msgspec.Raw(known))
                try:
                    result = await self._attempt(agent, definition, step)
                except StepAsks as asking:
                    return StepReturn(asked=asking.asked)
                except Exception as error:
                    raise self._failure(definition, step, error) from told(error)
                record = await patiently(self._recorder.record, result)
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
                raise self._failure(definition, step, first.failure) from told(first.failure)
            if first.result is None:
                return Opening()
            if ending is None:
                record = await patiently(self._recorder.record, first.result)
            else:
                run = fresh_run(step.task)
                record = await patiently(self._recorder.finish, run, first.result, _ending(ending))
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
            raise timed_out()
        if step.first:
            begun = await self._begin(step.task)
            if reason := _NOT_BEGUN.get(begun):
                raise _stopped(reason)
        known, cancelled = await patiently(self._ports.known_result, step.task.run, step.step)
        if known is None and cancelled:
            # Called again: with the answers of runs that it had called, say, which were to stop with it and came first.
            raise _stopped(CANCELLED)
        if known is not None or step.task.origin is None:
            return known
        carried = await patiently(self._ports.carried, step)
        if carried is None:
            return None
        record = await patiently(self._recorder.record, carried)
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
        context = await patiently(self._ports.context, agent, step, attempt)
        told = self._live.step(step.task.tenant, step.task.run, step.step, step.node)
        context.on_progress, context.on_text, context.on_tool = told.progress, told.text, told.tool
        state = state_codec.decode_state(definition.state_type, bytes(step.state))
        started_at = utc_now()
        returned = await called(definition, state, context, step.deadline - time.time())
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
                await asyncio.sleep(HEARTBEAT_SECONDS)

        beating = asyncio.create_task(beat())
        try:
            yield
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating

    def _failure(self, definition: StepDefinition, step: StepTask, error: Exception) -> ApplicationError:
        own = activity.info().attempt - self._absences.of(step.step)
        return failure(definition, step, error, max(own, 1))


async def called(definition: StepDefinition, state: Any, context: Context, seconds_left: float) -> Any:
    """Call a step's function, within its own limit and the run's.

    Raises:
        StepAsks: it cannot go on before it has an answer.
        Exception: what went wrong, out of any group.
    """
    ended: BaseException | None = None
    returned = None
    over = time.monotonic() + min(definition.timeout_seconds, seconds_left)
    with noticing() as absence:
        try:
            async with asyncio.timeout(over - time.monotonic()) as limit:
                returned = await definition.function(state, context)
        except (Exception, Suspended, BaseExceptionGroup) as error:
            ended = error
    # A step that waits for something waits for it, whatever became of that exception in the agent's code.
    suspended = context.suspended or (None if ended is None else suspended_in(ended))
    if suspended is not None:
        if isinstance(context.models, RunModels):
            await context.models.settled(max(over - time.monotonic(), _SETTLING_SECONDS))
        raise asks(suspended) from ended
    if ended is None:
        return returned
    if limit.expired() and absence.noticed:
        raise PlatformAway(f"the step {definition.title!r} had to wait for the platform") from ended
    raise failure_of(ended)


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
        raise _stopped(RUN_ENDED)
    if record.cancel_requested:
        # Told here, as Temporal tells a workflow that is busy with short steps only seconds later.
        raise _stopped(CANCELLED)


def _stopped(reason: RunError) -> ApplicationError:
    """What ends a run's workflow for this reason, whatever is left of its steps."""
    return ApplicationError(reason.detail, reason, type=reason.code, non_retryable=True)


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
