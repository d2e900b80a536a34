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

import structlog
from agora_contracts.problems import AgoraError
from agora_kit.database import Database
from agora_kit.group_commit import GroupCommit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.models import store
from agora_execution.models.model import CallPlace, Opened, Opening, Settlement, take_in_turn
from agora_execution.patience import PlatformAway, patiently

log = structlog.get_logger()

_LOOK_SECONDS = 0.25
"""How often the first that waits looks by itself: room may come from another process."""
_WITHDRAWING_SECONDS = 5.0
"""The longest that a call which is cut off waits until what it has reserved is given back."""


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
        self._replies = GroupCommit(database, store.replies_at, autocommit=True)
        self._wait_seconds = wait_seconds
        self._waiting: dict[str, deque[_Waiter]] = {}
        self._withdrawing: set[asyncio.Task[None]] = set()

    def waiting(self, run: str) -> int:
        """How many of a run's tries wait for room."""
        return len(self._waiting.get(run, ()))

    async def reply(self, place: CallPlace) -> bytes | None:
        """The reply that an earlier attempt got at this place."""
        return await self._replies.submit(place)

    async def open(self, opening: Opening) -> Opened:
        """Reserve what a try may cost, waiting for room where that can help.

        What is answered is never "full", unless the time to wait is over. Whoever is cut off here has nothing
        reserved.
        """
        if opening.amount and opening.place.run in self._waiting:
            # Behind others who wait for room; but a reply that is paid needs none.
            reply = await self.reply(opening.place)
            if reply is not None:
                return Opened(reply=reply)
        else:
            opened = await self._taken(opening, self._now)
            if opened.refusal != "full":
                return opened
        return await self._wait(opening)

    async def _now(self, opening: Opening) -> Opened:
        opened = await self._open_at_once.submit(opening)
        return await self._open_in_turn.submit(opening) if opened is None else opened

    async def _taken(self, opening: Opening, take: Callable[[Opening], Awaitable[Opened]]) -> Opened:
        """Reserve; where whoever asked is cut off in the middle, what was reserved is given back."""
        taking = asyncio.ensure_future(take(opening))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            # Its item is with the writer, who may write it yet.
            await asyncio.wait([self.withdraw(opening, after=taking)], timeout=_WITHDRAWING_SECONDS)
            raise

    def withdraw(
        self, opening: Opening, *, after: asyncio.Future[Opened] | None = None
    ) -> asyncio.Task[None]:
        """Give back what a try has reserved that is not made after all, if it has; by a task of its own.

        Args:
            opening: the try.
            after: what must be over first.
        """
        task = asyncio.create_task(self._withdrawn(opening, after))
        self._withdrawing.add(task)
        task.add_done_callback(self._withdrawing.discard)
        return task

    async def _withdrawn(self, opening: Opening, after: asyncio.Future[Opened] | None) -> None:
        if after is not None:
            await asyncio.wait([after])
            failed = after.cancelled() or after.exception() is not None
            if not failed and (after.result().refusal is not None or after.result().reply is not None):
                return
        # Of one that was never written this changes nothing.
        settlement = Settlement(id=opening.id, spent=0, cost=0, failure="it was not made after all")
        try:
            await self.settle(settlement, run=opening.place.run, reserved=opening.amount)
        except PlatformAway as error:
            log.warning("a model call's reservation is left to the sweep", call=opening.id, error=repr(error))

    async def settle(self, settlement: Settlement, *, run: str, reserved: int) -> None:
        """Replace a try's reservation by what came of it, and let those go on that wait for what it leaves.

        A database that is away is waited for: what has been paid must not be lost. Settling again changes nothing.
        """
        await patiently(self._settle.submit, settlement)
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
                opened = await self._taken(opening, self._open_in_turn.submit)
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
