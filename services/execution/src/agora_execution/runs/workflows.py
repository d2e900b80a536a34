"""The durable run: it reads as the business process, and Temporal makes it survive everything.

Only our own code runs here, unsandboxed; the replay tests guard its determinism. A node of the agent's graph
is a local activity when it is short and an activity with a heartbeat when it is long; pure routing happens
in the workflow itself.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from agora import AgentDefinitionError, InputRejected, Output, graph_runner, state_codec
from agora.graph_runner import NodeCall
from agora.retries import POLICIES
from agora.steps import StepDefinition
from agora.suspension import BudgetDecided
from agora_contracts.runs import RunError
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    is_cancelled_exception,
)
from temporalio.exceptions import (
    TimeoutError as TemporalTimeout,
)

from agora_execution import agents
from agora_execution.runs.model import (
    CANCELLED,
    INTERNAL,
    OUTPUT_BYTES_MAX,
    STATE_BYTES_MAX,
    TIMED_OUT,
    step_id,
)
from agora_execution.runs.showing import Shown
from agora_execution.runs.tasks import Asked, Opening, RunEnding, RunTask, StepReturn, StepTask
from agora_execution.runs.waiting import WAIT_SECONDS_MAX, Waiting

WORKFLOW_TASK_TIMEOUT = timedelta(seconds=10)
END_MARGIN_SECONDS = 300
"""How much longer than the run's own limit a run may take before the sweep ends it."""

CLOSE_SECONDS = WAIT_SECONDS_MAX
"""How much longer than the run's own limit Temporal waits before it closes the workflow itself: people take days."""

_RECORDING = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5))
"""For what must happen in the end: recording goes on until the database answers."""

_HEARTBEAT = timedelta(seconds=20)
_OVERHEAD_SECONDS = 30
"""On top of a step's own limit: to find the agent, load what it prepared, and record the result."""


@workflow.defn(name="AgentRun")
class AgentRun:
    """One run of an agent, from its confirmed hold to its end."""

    @workflow.init
    def __init__(self, task: RunTask) -> None:
        self._stepped = False
        self._began = workflow.time()
        self._opened: Opening | None = None
        self._shown = Shown()
        self._waiting = Waiting(task.run, self._shown)

    @workflow.signal
    def look(self) -> None:
        """Something changed that the run may wait for; its row says what."""
        self._waiting.changed()

    @workflow.run
    async def run(self, task: RunTask) -> str:
        """Follow the agent's graph, whose first step confirms the hold, and end the run. Returns the outcome."""
        try:
            opening = await self._open(task)
            if opening.outcome is not None:
                return opening.outcome
            self._opened = opening if opening.taken or opening.asked is not None else None
            ending = await self._follow(task)
        except BaseException as error:
            found = _ending_of(task, error) if self._is_followed() else None
            if found is None:
                raise
            ending = found
        self._shown.show(status=ending.outcome)
        await self._end(ending)
        return ending.outcome

    def _is_followed(self) -> bool:
        """Whether it is this workflow that runs.

        What is left of one whose worker was stopped is garbage, and is collected at any moment: what it is told then,
        in the midst of another workflow, is no end of the run.
        """
        return workflow.in_workflow() and workflow.instance() is self

    async def _open(self, task: RunTask) -> Opening:
        """Take the first step where it is a short one, and end the run with it where it is the only one.

        Many runs have one step. All of such a run is one local activity, which follows the graph itself: the
        workflow is activated twice and not three times, and the step and the end are one transaction.
        """
        node = agents.opening_node(task.package)
        if node is None:
            return Opening()
        agent = agents.get(task.package)
        step = StepTask(
            task=task,
            step=step_id(task.run, node, 1, ""),
            node=node,
            visit=1,
            branch="",
            first=True,
            deadline=self._deadline(task),
        )
        definition = agent.nodes[node]
        opening: Opening = await workflow.execute_local_activity(
            "open_run",
            step,
            result_type=Opening,
            start_to_close_timeout=_limit(definition),
            retry_policy=_retry(definition),
            summary=definition.title,
        )
        return opening

    async def _follow(self, task: RunTask) -> RunEnding:
        agent = agents.get(task.package)

        async def call_node(call: NodeCall, state: Any) -> Mapping[str, Any]:
            return await self._step(task, agent.nodes[call.node], agent.state_type, call, state)

        output = await graph_runner.run(agent, agent.read_input(task.input), call_node)
        return success(task.run, output)

    async def _step(
        self, task: RunTask, definition: StepDefinition, state_type: type, call: NodeCall, state: Any
    ) -> Mapping[str, Any]:
        asked: Asked | None = None
        if self._opened is not None:
            opened, self._opened = self._opened, None
            self._stepped = True
            self._shown.cost(opened.cost_micros)
            if opened.asked is None:
                await self._waiting.rest(asked=opened.paused)
                return _update(state_type, call, opened.update)
            asked = opened.asked
        await self._waiting.rest(asked=False)
        encoded = state_codec.encode(state)
        require_size(f"the state of the step {call.node!r}", encoded, STATE_BYTES_MAX)
        step = StepTask(
            task=task,
            step=step_id(task.run, call.node, call.visit, call.branch),
            node=call.node,
            visit=call.visit,
            branch=call.branch,
            first=not self._stepped,
            deadline=self._deadline(task),
            state=msgspec.Raw(encoded),
            budget_refused=self._waiting.is_refused("model.cost"),
        )
        while True:
            if asked is not None:
                step = await self._answered(task, step, asked)
            returned = await self._attempt(definition, step)
            self._stepped = True
            self._shown.cost(returned.cost_micros)
            if definition.long:
                self._shown.show()
            if returned.asked is None:
                await self._waiting.rest(asked=returned.paused)
                return _update(state_type, call, returned.update)
            asked = returned.asked

    async def _answered(self, task: RunTask, step: StepTask, asked: Asked) -> StepTask:
        """The step as it is to be called again, once what it asks for is answered."""
        answer = await self._waiting.answer(task, step.step, asked)
        changes: dict[str, Any] = {"first": False, "deadline": self._deadline(task)}
        if isinstance(answer, BudgetDecided):
            changes["budget_refused"] = self._waiting.is_refused("model.cost")
        else:
            changes["answers"] = [*step.answers, answer]
        return msgspec.structs.replace(step, **changes)

    async def _attempt(self, definition: StepDefinition, step: StepTask) -> StepReturn:
        # The run's limit is kept by its steps and not by a timer: while short steps follow each other within one
        # workflow task, Temporal would learn of a timer, and we of its end, seconds late.
        left_seconds = step.deadline - workflow.time()
        if left_seconds <= 0:
            raise TimeoutError
        retry, limit = _retry(definition), _limit(definition)
        returned: StepReturn
        if definition.long:
            returned = await workflow.execute_activity(
                "run_step",
                step,
                result_type=StepReturn,
                schedule_to_close_timeout=timedelta(seconds=left_seconds),
                start_to_close_timeout=limit,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=retry,
                summary=definition.title,
            )
        else:
            # Without `schedule_to_close_timeout`: a local activity that is tried again outlives it.
            returned = await workflow.execute_local_activity(
                "run_step",
                step,
                result_type=StepReturn,
                start_to_close_timeout=limit,
                retry_policy=retry,
                summary=definition.title,
            )
        return returned

    def _deadline(self, task: RunTask) -> float:
        """When the run's time is up, in seconds since 1970; what it waited for people is not its own."""
        return self._began + task.timeout_seconds + self._waiting.waited_seconds

    async def _end(self, ending: RunEnding) -> None:
        while True:
            try:
                await self._recording("end_run", ending)
            except BaseException as error:
                # A cancellation that arrives while the end is being recorded changes nothing: the run has
                # ended as it has, and recording it again is harmless.
                if not is_cancelled_exception(error):
                    raise
            else:
                return

    async def _recording(self, name: str, argument: Any) -> Any:
        return await workflow.execute_local_activity(
            name,
            argument,
            result_type=str,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=_RECORDING,
            summary="Write the run's end",
        )


def _update(state_type: type, call: NodeCall, update: msgspec.Raw) -> Mapping[str, Any]:
    return state_codec.decode_update(state_type, bytes(update), f"the step {call.node!r}")


def _retry(definition: StepDefinition) -> RetryPolicy:
    # The policy's own end is kept by the activity, which tells the agent's failures from the platform's: a database
    # that is away for a minute must not use a step's attempts up.
    policy = POLICIES[definition.retry]
    return RetryPolicy(
        initial_interval=timedelta(seconds=max(policy.first_delay_seconds, 0.1)),
        backoff_coefficient=policy.factor,
        maximum_interval=timedelta(seconds=max(policy.delay_seconds_max, 1)),
    )


def _limit(definition: StepDefinition) -> timedelta:
    return timedelta(seconds=definition.timeout_seconds + _OVERHEAD_SECONDS)


def success(run: str, output: Output) -> RunEnding:
    """How a run ends with an output.

    Raises:
        AgentDefinitionError: the output is too large, or has no JSON form.
    """
    require_size("the output", state_codec.encode(output, "the output"), OUTPUT_BYTES_MAX)
    return RunEnding(
        run=run,
        outcome="succeeded",
        deliverable=output.deliverable,
        delivered_units=output.delivered_units,
        output=msgspec.to_builtins(output, str_keys=True),
    )


def _ending_of(task: RunTask, error: BaseException) -> RunEnding | None:
    """How the run ends for this error; None when the error is none of the run's (the workflow is evicted)."""
    if is_cancelled_exception(error):
        return RunEnding(run=task.run, outcome="cancelled", error=CANCELLED)
    if isinstance(error, TimeoutError):
        return RunEnding(run=task.run, outcome="timed_out", error=TIMED_OUT)
    # A long step's failure comes wrapped in an ActivityError, a short one's (a local activity) as it is.
    failure = error.cause if isinstance(error, ActivityError) else error
    if isinstance(failure, ApplicationError) and failure.type == CANCELLED.code:
        return RunEnding(run=task.run, outcome="cancelled", error=CANCELLED)
    if isinstance(failure, TemporalTimeout):
        # A long step's own limit is kept by the activity; what Temporal sees is the end of the run's time.
        return RunEnding(run=task.run, outcome="timed_out", error=TIMED_OUT)
    if isinstance(failure, ApplicationError) and failure.type == TIMED_OUT.code:
        return RunEnding(run=task.run, outcome="timed_out", error=TIMED_OUT)
    if isinstance(failure, ApplicationError):
        return RunEnding(run=task.run, outcome="failed", error=_step_error(failure))
    if isinstance(error, InputRejected):
        reason = RunError(code=error.code, detail=error.detail, place=error.place)
        return RunEnding(run=task.run, outcome="failed", error=reason)
    if isinstance(error, AgentDefinitionError):
        return RunEnding(run=task.run, outcome="failed", error=agent_error(error))
    if isinstance(error, Exception):
        workflow.logger.error("run failed", exc_info=error)
        return RunEnding(run=task.run, outcome="failed", error=INTERNAL)
    return None


def _step_error(failure: ApplicationError) -> RunError:
    return msgspec.convert(failure.details[0], RunError) if failure.details else INTERNAL


def agent_error(error: Exception) -> RunError:
    """What a customer is told of an agent that breaks a rule of the SDK."""
    return RunError(code="agent_error", detail=f"the agent broke a rule of the platform: {error}")


def require_size(what: str, encoded: bytes, bytes_max: int) -> None:
    """Raises: AgentDefinitionError, when what an agent made is larger than can be kept in a run."""
    if len(encoded) > bytes_max:
        raise AgentDefinitionError(f"{what} is larger than {bytes_max} bytes; keep large things in files")
