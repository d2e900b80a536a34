"""Group commit: whatever queued while the last transaction ran goes into the next one, together.

One writer per key (an account, a table) turns a thousand waiting callers into a few set-based
transactions: each caller still gets an answer of its own, after the commit that holds its write.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from agora_contracts.problems import AgoraError
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_kit import deadlines
from agora_kit.database import Database, is_transient

type Write[Item, Result] = Callable[
    [AsyncConnection, Sequence[Item]], Awaitable[Sequence[Result | AgoraError]]
]


class GroupCommit[Item, Result]:
    """Submits items one by one and writes them together under the system role.

    Args:
        database: where to write.
        write: writes a batch in the given transaction and returns one result per item, in order; an
            `AgoraError` as a result is raised at that item's caller and the rest still commits.
        batch_max: the most items in one transaction.
        waiting_max: beyond this many waiting items `submit` raises `overloaded`.
        autocommit: the write's statements are a transaction each. For a write that is one statement: it spares
            the round trips of BEGIN and COMMIT.
    """

    def __init__(
        self,
        database: Database,
        write: Write[Item, Result],
        *,
        batch_max: int = 500,
        waiting_max: int = 10_000,
        autocommit: bool = False,
    ) -> None:
        self._open = database.autocommit if autocommit else database.system
        self._write = write
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Write one item and return its result once it is committed.

        Raises:
            AgoraError: what the write answered for this item, or `overloaded`.
            Exception: what the database raised, when the item was written alone and still failed.
        """
        if len(self._waiting) >= self._waiting_max:
            raise AgoraError(
                "overloaded", "too many writes are waiting; try again shortly", retry_after_seconds=1
            )
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._drain(), context=deadlines.detached())
        return await future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._batch_max], self._waiting[self._batch_max :]
                # A caller that went away (deadline, cancelled) may still have its item written: commands
                # are idempotent, and its retry gets the same answer.
                await self._commit(batch)
        finally:
            self._writer = None

    async def _commit(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            async with self._open() as connection:
                results = await self._write(connection, [item for item, _ in batch])
                if len(results) != len(batch):
                    # Before the commit: nobody may be told of another's result, and nobody may wait for ever.
                    raise RuntimeError(f"{len(results)} results for {len(batch)} items")
        except Exception as error:
            if len(batch) == 1 or is_transient(error):
                for _, future in batch:
                    _settle(future, error)
                return
            # One item that the database refuses must not fail its neighbours: each alone.
            for entry in batch:
                await self._commit([entry])
            return
        for (_, future), result in zip(batch, results, strict=True):
            _settle(future, result)


def _settle(future: asyncio.Future, result: object) -> None:  # type: ignore[type-arg]
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
