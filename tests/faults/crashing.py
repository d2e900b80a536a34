"""A service in a process of its own that dies at failpoints, and is started again each time."""

import asyncio
import importlib
import multiprocessing
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any

from agora_kit.failpoints import EXIT_CODE
from agora_kit.settings import ServiceSettings

# Forked from a process that has loaded everything: a start takes a part of a second.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["agora_billing.app", "agora_metering.app", "alembic", "uvloop", __name__])

_ACK_WAIT_SECONDS = 0.5
_LOOK_SECONDS = 0.02


def serve(package: str, settings: ServiceSettings, points: str) -> None:
    """Run a service until it is killed, or dies at one of these points."""
    import uvloop
    from agora_kit import durable, failpoints

    # What a dead process had at hand is delivered again after this long.
    durable.ACK_WAIT_SECONDS = _ACK_WAIT_SECONDS
    failpoints.arm(points)
    build = importlib.import_module(f"{package}.app").build
    uvloop.run(build(settings).run())


class Crashing:
    """Keeps a service running that dies at each of some points, once. An asynchronous context manager.

    Args:
        package: the service's package, `agora_metering`.
        points: where it dies, such as `metering-usage:after_commit`, in whatever order they are reached.
    """

    def __init__(self, package: str, settings: ServiceSettings, points: Sequence[str]) -> None:
        self.left = list(points)
        self.unasked: list[int | None] = []
        """Exit codes of deaths at no point."""
        self._package = package
        self._settings = settings
        self._process: BaseProcess | None = None
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Crashing":
        process = await asyncio.to_thread(self._start)
        self._watch = asyncio.create_task(self._keep_running(process))
        return self

    async def __aexit__(self, *_: Any) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.join)

    async def _keep_running(self, process: BaseProcess) -> None:
        while True:
            while process.is_alive():  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_SECONDS)
            place = (process.exitcode or 0) - EXIT_CODE
            if 0 <= place < len(self.left):
                self.left.pop(place)
            else:
                self.unasked.append(process.exitcode)
            process = self._start()

    def _start(self) -> BaseProcess:
        points = ",".join(self.left)
        process = _context.Process(target=serve, args=(self._package, self._settings, points), daemon=True)
        process.start()
        self._process = process
        return process
