"""`python -m agora_execution.operate COMMAND`: what an operator does to Temporal, by hand or from a deployment's script.

register             tell Temporal the search attributes of our workflows; once for a new server
versions             list the versions of the workers, the current one marked
use VERSION          let new runs go to a version, such as an older one after a bad deploy
hand-over RUN        let a run go on at the current version
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
from agora_kit.settings import load_settings
from temporalio.service import RPCError

from agora_execution import temporal
from agora_execution.queues import queue_name
from agora_execution.settings import QUEUES
from agora_execution.versions import Versions


class OperateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Temporal is, as for the service and the worker."""

    temporal_address: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1:7233"
    temporal_namespace: str = "default"
    task_queues: str = QUEUES
    worker_deployment: str = "agora"


async def run(arguments: Sequence[str], settings: OperateSettings) -> str:
    """Do what the arguments say. Returns what to tell.

    Raises:
        ValueError: they say nothing that can be done.
        RPCError: Temporal refused.
    """
    client = await temporal.connect(settings.temporal_address, settings.temporal_namespace)
    versions = Versions(client, settings.worker_deployment, queue_name(settings.task_queues, "standard"))
    match arguments:
        case ["register"]:
            new = await temporal.register_search_attributes(client)
            return f"registered {', '.join(new)}" if new else "all search attributes were known"
        case ["versions"]:
            return await _listed(versions)
        case ["use", build]:
            await versions.use(build)
            return f"new runs go to {build}"
        case ["hand-over", workflow]:
            await versions.hand_over(workflow)
            return f"{workflow} goes on at the current version"
    raise ValueError(__doc__)


async def _listed(versions: Versions) -> str:
    current, known = await versions.known()
    lines = [
        f"{'*' if build == current else ' '} {build} since {since:%Y-%m-%d %H:%M:%S} UTC"
        for build, since in sorted(known.items(), key=lambda one: one[1])
    ]
    return "\n".join(lines) or "no worker with a version has asked for work yet"


async def _main() -> int:
    try:
        print(await run(sys.argv[1:], load_settings(OperateSettings)))
        code = 0
    except ValueError as error:
        print(error, file=sys.stderr)
        code = 2
    except (RPCError, RuntimeError) as error:
        print(f"Temporal refused, or does not answer: {error}", file=sys.stderr)
        code = 1
    await temporal.settle()
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
