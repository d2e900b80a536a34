"""Opening and settling the tries of one process, many in each transaction; and waiting for room in a run's hold.

A run's calls at hand reserve their worst cases, which together may be all that the hold has left, while in the end
they cost a fraction. So a call for which there is no room now, but would be if the others cost nothing, is not
refused: it waits its turn until enough of them have settled.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import stamina
from agora_contracts.problems import AgoraError
from agora_kit.database import Database, is_transient
from agora_kit.group_commit import GroupCommit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.models import store
from agora_execution.models.model import Opened, Opening, Settlement, take_in_turn

_LOOK_SECONDS = 0.25
"""How often the first that waits looks by itself: room may come from another process."""
_PATIENCE_SECONDS = 20.0


async def patiently[R](call: Callable[[], Awaitable[R]]) -> R:
    """Make a call again while the database is away, for a while."""
    try:
        return await call()
    except Exception as error:
        if not is_transient(error):
            raise
    async for attempt in stamina.retry_context(
        on=is_transient, attempts=None, timeout=_PATIENCE_SECONDS, wait_initial=0.1, wait_max=2.0
    ):
        with attempt:
            return await call()
    raise AssertionError("a retry ends by returning or raising")


@dataclass(slots=True)
class _Waiter:
    amount: int
    turn: asyncio.Event


class CallLedger:
    """The writers of one process.

    Args:
        wait_seconds: the longest that a call waits for room.
    """

    def __init__(self, database: Database, *, wait_seconds: float) -> None:
        self._open_at_once = GroupCommit(database, _open_at_once, autocommit=True)
        self._open_in_turn = GroupCommit(database, _open_in_turn)
        self._settle = GroupCommit(database, _settle, autocommit=True)
        self._wait_seconds = wait_seconds
        self._waiting: dict[str, deque[_Waiter]] = {}

    async def open(self, opening: Opening) -> Opened:
        """Reserve what a try may cost, waiting for room where that can help.

        What is answered is never "full", unless the time to wait is over.
        """
        run = opening.place.run
        if run not in self._waiting:
            opened = await self._open_at_once.submit(opening)
            if opened is None:
                opened = await self._open_in_turn.submit(opening)
            if opened.refusal != "full":
                return opened
        return await self._wait(opening)

    async def settle(self, settlement: Settlement, *, run: str, reserved: int) -> None:
        """Replace a try's reservation by what came of it, and let those go on that wait for what it leaves.

        A database that is away is waited for: what has been paid must not be lost. Settling again changes nothing.
        """
        await patiently(lambda: self._settle.submit(settlement))
        self._let_in(run, reserved - settlement.spent)

    async def _wait(self, opening: Opening) -> Opened:
        run = opening.place.run
        waiter = _Waiter(opening.amount, asyncio.Event())
        queue = self._waiting.setdefault(run, deque())
        queue.append(waiter)
        opened = Opened(refusal="full")
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        try:
            # The deadline is looked at between two looks, and never cuts one off: what that has reserved would be lost.
            while opened.refusal == "full" and await self._turn(queue, waiter, deadline):
                waiter.turn.clear()
                opened = await self._open_in_turn.submit(opening)
        finally:
            queue.remove(waiter)
            if not queue and self._waiting.get(run) is queue:
                del self._waiting[run]
            # Whoever is first now must look: this one may have left room. Refused for good, so may all others be.
            self._let_in(run, math.inf if opened.refusal == "never" else 0)
        return opened

    async def _turn(self, queue: deque[_Waiter], waiter: _Waiter, deadline: float) -> bool:
        """Wait until the waiter is let in; the first of the queue also looks from time to time. False: too late."""
        while not waiter.turn.is_set():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            try:
                async with asyncio.timeout(min(_LOOK_SECONDS, left)):
                    await waiter.turn.wait()
            except TimeoutError:
                if queue[0] is waiter:
                    return True
        return True

    def _let_in(self, run: str, freed: float) -> None:
        """Let the first in, and as many behind it as what was freed may be enough for."""
        for waiter in self._waiting.get(run, ()):
            if not waiter.turn.is_set():
                waiter.turn.set()
                freed -= waiter.amount
            if freed <= 0:
                return


async def _open_at_once(
    connection: AsyncConnection, openings: Sequence[Opening]
) -> list[Opened | AgoraError | None]:
    opened = await store.open_at_once(connection, openings)
    return [opened.get(one.id) for one in openings]


async def _open_in_turn(
    connection: AsyncConnection, openings: Sequence[Opening]
) -> list[Opened | AgoraError]:
    rooms = await store.lock_rooms(connection, [one.place.run for one in openings])
    answers = take_in_turn(rooms, openings)
    taken = [one for one, answer in zip(openings, answers, strict=True) if answer.refusal is None]
    await store.save_openings(connection, rooms, taken)
    return list(answers)


async def _settle(connection: AsyncConnection, settlements: Sequence[Settlement]) -> list[bool | AgoraError]:
    settled = await store.settle(connection, settlements)
    return [one.id in settled for one in settlements]
