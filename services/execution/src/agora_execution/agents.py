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


def load_all() -> None:
    """Import every installed agent, so that the first run of each does not wait for it.

    One that cannot be imported is logged and left out: its runs fail with the reason, the others' do not.
    """
    for entry in entry_points(group=GROUP):
        try:
            get(entry.name)
        except Exception as error:
            log.error("an agent cannot be imported", package=entry.name, error=repr(error))
