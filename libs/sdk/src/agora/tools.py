"""`@agora.tool`: something that an agent does to the world, named so that people can watch it and decide on it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from agora.errors import AgentDefinitionError
from agora.suspension import Decider

type Approval = Literal["never", "always"]
type ToolFunction = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool of an agent, used as `await context.use(tool, name=value)`.

    With `approval="always"` a person decides on every use before it happens, `decider` says who.
    """

    name: str
    title: str
    function: ToolFunction
    approval: Approval = "never"
    decider: Decider = "customer"

    def __call__(self, **arguments: Any) -> Awaitable[Any]:
        """Call the function itself, as tests do; nobody is asked and nobody watches."""
        return self.function(**arguments)


def tool(
    *, title: str, approval: Approval = "never", decider: Decider = "customer"
) -> Callable[[ToolFunction], Tool]:
    """Make an async function, which takes its arguments by name, a tool.

    Raises:
        AgentDefinitionError: an empty title.
    """
    if not title.strip():
        raise AgentDefinitionError("A tool needs a title: people who decide on its use read it.")

    def decorate(function: ToolFunction) -> Tool:
        return Tool(
            name=getattr(function, "__name__", "tool"),
            title=title,
            function=function,
            approval=approval,
            decider=decider,
        )

    return decorate
