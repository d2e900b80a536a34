"""The agents that this process can run: everything installed under the entry-point group `agora.agents`."""

from functools import cache
from importlib.metadata import entry_points

import structlog
from agora import Agent
from agora_contracts.problems import AgoraError

log = structlog.get_logger()

GROUP = "agora.agents"


@cache
def get(package: str) -> Agent:
    """The agent of a package, imported on first use.

    Raises:
        AgoraError: `not_executable`, when this worker does not have it.
    """
    found = entry_points(group=GROUP, name=package)
    for entry in found:
        agent = entry.load()
        if not isinstance(agent, Agent):
            raise TypeError(f"the entry point {package} of {GROUP} is not an agora.Agent")
        return agent
    raise AgoraError("not_executable", f"this worker has no agent {package!r} installed")


@cache
def opening_node(package: str) -> str | None:
    """The one short node that every run of an agent begins with; None where it begins otherwise.

    Raises:
        AgoraError: as for `get`.
    """
    from langgraph.graph import START

    agent = get(package)
    graph = agent.graph()
    first = [target for source, target in graph.edges if source == START]
    definition = agent.nodes.get(first[0]) if len(first) == 1 and not graph.branches.get(START) else None
    return None if definition is None or definition.long else first[0]


def load_all() -> None:
    """Import every installed agent, so that the first run of each does not wait for it.

    One that cannot be imported is logged and left out: its runs fail with the reason, the others' do not.
    """
    for entry in entry_points(group=GROUP):
        try:
            get(entry.name)
        except Exception as error:
            log.error("an agent cannot be imported", package=entry.name, error=repr(error))
