"""Who waits in this process for runs to end and be charged."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from agora_contracts.runs import Run


class Waiters:
    """Futures of finished runs, by run. A run is handed to all who wait for it, once its charge is committed."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[Run]]] = {}

    @contextmanager
    def waiting(self, run: str) -> Iterator[asyncio.Future[Run]]:
        """Wait for a run within this block: opened before anything that could let it end unseen."""
        future: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
        futures = self._waiting.setdefault(run, set())
        futures.add(future)
        try:
            yield future
        finally:
            futures.discard(future)
            if not futures:
                self._waiting.pop(run, None)

    def wanted(self, runs: list[str]) -> list[str]:
        """Which of these runs somebody waits for."""
        return [run for run in runs if run in self._waiting]

    def hand_out(self, finished: Mapping[str, Run]) -> None:
        """Give finished runs to those who wait for them."""
        for run_id, run in finished.items():
            for future in self._waiting.get(run_id, ()):
                if not future.done():
                    future.set_result(run)
