"""Turns: which step a worker begins next, when more wait than it can do at once.

Each turn goes to the tenant that has the fewest, so that one tenant's many runs do not make another's wait behind
them. A turn ends with the step, or after a moment: what a step then still does is waiting (for a model, a service),
which needs no turn.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from agora_execution.runs.tasks import StepTask


class Turns:
    """Hands out places for beginning steps.

    Args:
        places: How many steps have a turn at a time.
        seconds_max: How long a turn lasts at most.
    """

    def __init__(self, places: int, seconds_max: float) -> None:
        self._free = places
        self._seconds_max = seconds_max
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def free(self) -> int:
        """How many more steps may begin at once."""
        return self._free

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn of this tenant, and give it back at the end or when its time is over."""
        await self._take(tenant)
        ended = False

        def end() -> None:
            nonlocal ended
            if not ended:
                ended = True
                self._give_back(tenant)

        timer = asyncio.get_running_loop().call_later(self._seconds_max, end)
        try:
            yield
        finally:
            timer.cancel()
            end()

    async def _take(self, tenant: str) -> None:
        if self._free > 0:
            self._free -= 1
            self._held[tenant] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # It was given in the moment in which we gave up.
                self._give_back(tenant)
            raise

    def _give_back(self, tenant: str) -> None:
        self._held[tenant] -= 1
        if self._held[tenant] <= 0:
            del self._held[tenant]
        self._free += 1
        while self._free > 0 and (turn := self._next()) is not None:
            if not turn[1].done():
                self._free -= 1
                self._held[turn[0]] += 1
                turn[1].set_result(None)

    def _next(self) -> tuple[str, asyncio.Future[None]] | None:
        """The oldest waiting step of the tenant with the fewest turns, the longest without one first."""
        if not self._waiting:
            return None
        tenant = min(self._waiting, key=lambda one: self._held[one])
        turns = self._waiting[tenant]
        turn = turns.popleft()
        if turns:
            self._waiting.move_to_end(tenant)
        else:
            del self._waiting[tenant]
        return tenant, turn


class FairSteps(Interceptor):
    """Lets each step of a worker wait for its tenant's turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _FairStep(next, self._turns)


class _FairStep(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, turns: Turns) -> None:
        super().__init__(next)
        self._turns = turns

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        step = input.args[0] if input.args else None
        if not isinstance(step, StepTask):
            return await self.next.execute_activity(input)
        async with self._turns.turn(step.task.tenant):
            return await self.next.execute_activity(input)
