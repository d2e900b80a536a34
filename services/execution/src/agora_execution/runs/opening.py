"""The first step of a run, called from the agent's graph itself: so it is known whether it was the only one."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog
from agora import Agent, graph_runner, state_codec
from agora.graph_runner import NodeCall

from agora_execution.runs.model import STARTED_SEQ, STATE_BYTES_MAX, LockedRun, StepResult
from agora_execution.runs.tasks import RunEnding, RunTask, StepTask
from agora_execution.runs.workflows import require_size, success

log = structlog.get_logger()


class FirstStep:
    """Follows an agent's graph from the run's input through its first node, and no further.

    Args:
        attempt: calls the node, with the state that the task then has, and returns what it brought.
    """

    def __init__(
        self, agent: Agent, step: StepTask, attempt: Callable[[StepTask], Awaitable[StepResult]]
    ) -> None:
        self._agent = agent
        self._step = step
        self._attempt = attempt
        self.result: StepResult | None = None
        """What the step brought; None when it failed, or the graph before it."""
        self.failure: Exception | None = None
        """Why the step failed."""

    async def follow(self) -> RunEnding | None:
        """The run's end, where the graph ends after the step; None where it goes on, or something failed."""
        task = self._step.task
        try:
            output = await graph_runner.run(self._agent, self._agent.read_input(task.input), self._call)
            return success(task.run, output)
        except _GoesOn:
            return None
        except Exception as error:
            if self.failure is None:
                log.info("the graph failed beside its first step", run=task.run, error=repr(error))
            return None

    async def _call(self, call: NodeCall, state: Any) -> Mapping[str, Any]:
        if self.result is not None:
            raise _GoesOn
        try:
            encoded = state_codec.encode(state)
            require_size(f"the state of the step {call.node!r}", encoded, STATE_BYTES_MAX)
            self.result = await self._attempt(msgspec.structs.replace(self._step, state=msgspec.Raw(encoded)))
        except Exception as error:
            self.failure = error
            raise
        return state_codec.decode_update(
            self._agent.state_type, self.result.update, f"the step {call.node!r}"
        )


class _GoesOn(Exception):
    """The graph calls a node after its first."""


def fresh_run(task: RunTask) -> LockedRun:
    """A run as it is when it has just begun."""
    return LockedRun(
        id=task.run,
        tenant=task.tenant,
        account="",
        status="running",
        package=task.package,
        version=task.version,
        deployment=task.deployment,
        next_seq=STARTED_SEQ + 1,
        steps=0,
        usage_count=0,
        usage={},
    )
