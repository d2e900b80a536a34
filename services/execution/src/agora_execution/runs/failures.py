"""How a step's attempt ends other than well: what it asks for, whose fault it is, and how Temporal should take it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from agora import InputRejected, PermissionNotGranted, Retryable, state_codec
from agora.errors import AgentDefinitionError
from agora.retries import POLICIES
from agora.steps import StepDefinition
from agora.suspension import Suspended
from agora.unwrapping import leaves_of, unwrapped
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunError
from temporalio.exceptions import ApplicationError

from agora_execution.patience import is_absence
from agora_execution.runs.model import TIMED_OUT, UPDATE_BYTES_MAX
from agora_execution.runs.tasks import Asked, StepTask
from agora_execution.runs.workflows import agent_error, require_size

log = structlog.get_logger()

_ABSENCES_MAX = 10_000
_CAUSES_MAX = 20
"""So long a chain of causes Temporal is told, which follows it without looking where it leads."""


class StepAsks(Exception):
    """A step cannot go on before it has an answer."""

    def __init__(self, asked: Asked) -> None:
        super().__init__("the step asks for something")
        self.asked = asked


def asks(suspended: Suspended) -> Exception:
    """What a step that ends by a suspension is for its caller."""
    asked = Asked(request=suspended.request, number=suspended.number)
    try:
        require_size("what the step asks for", state_codec.encode(asked), UPDATE_BYTES_MAX)
    except AgentDefinitionError as broken:
        return broken
    return StepAsks(asked)


def failure_of(error: BaseException) -> BaseException:
    """What went wrong in a step's function: out of a task group the one error that says most."""
    one = unwrapped(error)
    if isinstance(one, InputRejected | AgentDefinitionError | PermissionNotGranted):
        return one
    leaves = leaves_of(error)
    # What a customer can mend stays so when the platform is back; anything else is tried again then.
    refused = next((leaf for leaf in leaves if _is_refusal(leaf)), None)
    return refused or next((leaf for leaf in leaves if is_absence(leaf)), one)


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, AgoraError) and error.problem.status < 500 and not is_absence(error)


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
            if is_absence(error) or is_absence(error.__cause__):
                if len(self._counts) >= _ABSENCES_MAX:
                    self._counts.pop(next(iter(self._counts)))
                self._counts[step] = self.of(step) + 1
            raise
        self._counts.pop(step, None)


def timed_out() -> ApplicationError:
    """The run's time is over."""
    return ApplicationError(TIMED_OUT.detail, TIMED_OUT, type=TIMED_OUT.code, non_retryable=True)


def failure(definition: StepDefinition, step: StepTask, error: Exception, attempt: int) -> ApplicationError:
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
    away = is_absence(error)
    final = attempt >= policy.attempts_max and not away
    asked = error.after_seconds if isinstance(error, Retryable) else None
    wait_seconds = 0 if final else policy.delay_seconds(attempt) if asked is None else asked
    if time.time() + wait_seconds >= step.deadline:
        # The run's time is up, or would be before another attempt.
        return timed_out()
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


def told(error: Exception) -> Exception:
    """The error as a cause that Temporal can be told: its chain of causes ends, and soon."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None:
        seen.add(id(one))
        following = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if following is not None and (id(following) in seen or len(seen) >= _CAUSES_MAX):
            one.__cause__ = None
            one.__suppress_context__ = True
            following = None
        one = following
    return error
