"""`@agora.step`: a LangGraph node as its author writes it, with what the platform must know about it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from agora.context import Context
from agora.errors import AgentDefinitionError
from agora.retries import POLICIES, PolicyName

StateUpdate = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDefinition:
    """One kind of step of an agent.

    `title` is shown to customers and operators. A `long` step gets a heartbeat and is seen by an operator
    while it works; it may take minutes. `timeout_seconds` bounds one attempt. `state_type` is what the step
    takes: the agent's state, or another dataclass where a `Send` gives it one; the agent fills it in.
    """

    function: Callable[[Any, Context], Awaitable[StateUpdate]]
    title: str
    long: bool = False
    timeout_seconds: float = 60
    retry: PolicyName = "default"
    state_type: type[Any] = object


class StepFunction[StateT](Protocol):
    """A decorated node: still the plain function, with its definition beside it.

    The context is optional only in this type, so that `StateGraph.add_node` accepts it: the platform and
    tests always pass one.
    """

    definition: StepDefinition

    def __call__(self, state: StateT, context: Context = ...) -> Awaitable[StateUpdate]: ...


def step[StateT](
    *,
    title: str,
    long: bool = False,
    timeout_seconds: float = 60,
    retry: PolicyName = "default",
) -> Callable[[Callable[[StateT, Context], Awaitable[StateUpdate]]], StepFunction[StateT]]:
    """Mark an async function `(state, context) -> dict` as a step of an agent.

    Raises:
        AgentDefinitionError: an empty title, a timeout that is not above zero, an unknown retry policy.
    """
    if not title.strip():
        raise AgentDefinitionError("A step needs a title: customers and operators see it.")
    if timeout_seconds <= 0:
        raise AgentDefinitionError(
            f"The step {title!r} has timeout_seconds={timeout_seconds}: it must be above 0."
        )
    if retry not in POLICIES:
        raise AgentDefinitionError(
            f"The step {title!r} has retry={retry!r}: use one of {', '.join(POLICIES)}."
        )

    def decorate(function: Callable[[StateT, Context], Awaitable[StateUpdate]]) -> StepFunction[StateT]:
        marked = cast(Any, function)
        marked.definition = StepDefinition(
            function=function, title=title, long=long, timeout_seconds=timeout_seconds, retry=retry
        )
        return cast(StepFunction[StateT], marked)

    return decorate


def definition_of(function: object) -> StepDefinition | None:
    """The definition of a decorated function; None for any other object."""
    found = getattr(function, "definition", None)
    return found if isinstance(found, StepDefinition) else None
