"""Temporal workers of one process, one for each class of packages."""

import asyncio
from collections.abc import Sequence

from temporalio.worker import Worker


class ClassWorkers:
    """One Temporal worker for each class of packages that this process serves, each with places of its own."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    async def run(self) -> None:
        """Work until shut down or cancelled; when one fails the others end as well, and its error is raised."""
        async with asyncio.TaskGroup() as group:
            for worker in self._workers:
                group.create_task(worker.run())

    async def shutdown(self) -> None:
        """Let what is at hand end, and stop."""
        await asyncio.gather(*(worker.shutdown() for worker in self._workers))
