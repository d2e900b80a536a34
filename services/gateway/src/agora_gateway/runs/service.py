"""Starting a run and waiting for its end, over commands that may have to be repeated."""

import time

import msgspec
from agora_contracts.problems import AgoraError
from agora_contracts.runs import ENDED, GetRun, Run, StartRun
from agora_kit.broker import Broker

_SLICE_SECONDS = 4
"""A wait is asked for in slices, so that one lost to a restart costs seconds and not the whole wait."""
_SLACK_SECONDS = 5.0


async def start_run(broker: Broker, command: StartRun, seconds: int) -> Run:
    """Start a run and wait up to `seconds` for it to end and be charged.

    The first slice of the wait travels with the command: most runs are over by then, in one message.
    """
    first = min(seconds, _SLICE_SECONDS)
    started = time.monotonic()
    run: Run = await broker.ask(msgspec.structs.replace(command, wait_seconds=first))
    return await wait_for(broker, run, seconds - (time.monotonic() - started))


async def wait_for(broker: Broker, run: Run, seconds: float) -> Run:
    """Wait up to `seconds` until a run has ended and is charged; the run as last seen.

    A part that does not answer meanwhile is no error here: the run is known, and the caller asks again.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not is_settled(run):
        wait = max(1, min(int(left), _SLICE_SECONDS))
        query = GetRun(run=run.id, tenant=run.tenant, wait_seconds=wait)
        try:
            run = await broker.ask(query, deadline_seconds=wait + _SLACK_SECONDS)
        except AgoraError as error:
            if error.slug not in ("unavailable", "deadline_exceeded", "overloaded"):
                raise
            return run
    return run


def is_settled(run: Run) -> bool:
    """Whether nothing about a run is expected to change any more: it has ended and its cost is known."""
    return run.status in ENDED and run.cost is not None
