"""Use cases of runs besides admission: read, list, cancel, wait for the end, take up charges."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from agora_contracts.envelope import Envelope
from agora_contracts.problems import AgoraError
from agora_contracts.runs import (
    ENDED,
    CancelRun,
    GetRun,
    ListRunEvents,
    ListRuns,
    ListSteps,
    Run,
    RunEventList,
    RunPage,
    StepList,
)
from agora_contracts.usage import ListRunUsage, Replayed, ReplayRunUsage, RunUsageIds
from agora_kit import outbox
from agora_kit.consumer import AfterCommit
from agora_kit.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.runs import queries, recording, standing, store
from agora_execution.runs.model import over
from agora_execution.runs.starting import Starter
from agora_execution.runs.waiters import Waiters

_POLL_SECONDS = 1.0


class Runs:
    """Reads and steers runs."""

    def __init__(self, database: Database, starter: Starter) -> None:
        self._database = database
        self._starter = starter
        self._waiters = Waiters()

    async def get(self, query: GetRun) -> Run:
        """One run; with `wait_seconds`, once it has ended and its charge is here, or after that time.

        Raises:
            AgoraError: `not_found`, also for another tenant's run.
        """
        return await self.settled(lambda: self._read(query.run, query.tenant), query.run, query.wait_seconds)

    async def settled(self, find: Callable[[], Awaitable[Run]], run: str, wait_seconds: float) -> Run:
        """The run that `find` gives, held back until it has ended and is charged, at most so long."""
        with self._waiters.waiting(run) as finished:
            found = await find()
            end = time.monotonic() + wait_seconds
            while not _complete(found) and (left := end - time.monotonic()) > 0:
                try:
                    return await asyncio.wait_for(asyncio.shield(finished), min(left, _POLL_SECONDS))
                except TimeoutError:
                    # Another replica may have taken the charge up: look again.
                    found = await self._read(found.id, found.tenant)
            return found

    async def wait(self, run: str, tenant: str, wait_seconds: float) -> Run:
        """The run, once it has ended and its charge is here, or after that time."""
        return await self.settled(lambda: self._read(run, tenant), run, wait_seconds)

    async def page(self, query: ListRuns) -> RunPage:
        """A tenant's runs, newest first."""
        async with self._database.transaction(query.tenant) as connection:
            return await queries.page(connection, query)

    async def steps(self, query: ListSteps) -> StepList:
        """A page of a run's steps so far, in order.

        Raises:
            AgoraError: `not_found`; `invalid_cursor`.
        """
        await self._read(query.run, query.tenant)
        async with self._database.transaction(query.tenant) as connection:
            return await queries.steps_page(connection, query)

    async def events(self, query: ListRunEvents) -> RunEventList:
        """A run's journal after a sequence number."""
        run = await self._read(query.run, query.tenant)
        async with self._database.transaction(query.tenant) as connection:
            items, more = await queries.events_after(connection, query.run, query.after, query.limit)
        return RunEventList(items=items, complete=_complete(run) and not more, more=more)

    async def cancel(self, command: CancelRun) -> Run:
        """Ask a run, and the runs that it called, to stop. Each ends as cancelled after the step at hand.

        A long step is interrupted. Between short ones a workflow hears of it from its journal: Temporal tells it when
        its task is over, which lasts for seconds while one short step follows another.

        Raises:
            AgoraError: `not_found`; `run_ended`, when it is over already.
        """
        run = await self._read(command.run, command.tenant)
        if run.status in ENDED:
            raise over(run.status)
        async with self._database.system() as connection:
            await store.request_cancel(connection, await standing.lock_family(connection, command.run))
        await self._starter.cancel(command.run)
        return await self._read(command.run, command.tenant)

    async def usage_ids(self, query: ListRunUsage) -> RunUsageIds:
        """Ids of every usage event that a run recorded."""
        async with self._database.transaction(query.tenant) as connection:
            return RunUsageIds(run=query.run, ids=await queries.usage_ids(connection, query.run))

    async def replay_usage(self, command: ReplayRunUsage) -> Replayed:
        """Publish everything about a run again from the outbox.

        Raises:
            AgoraError: `not_found`, when the outbox has nothing about it (any more).
        """
        async with self._database.system() as connection:
            count = await outbox.republish(connection, command.run)
        if not count:
            raise AgoraError("not_found", f"the outbox holds nothing about {command.run}")
        return Replayed(count=count)

    async def take_up_charges(
        self, connection: AsyncConnection, envelopes: Sequence[Envelope[Any]]
    ) -> AfterCommit:
        """Journal settled and adjusted charges; once committed, hand the runs to those who wait for them."""
        wanted = self._waiters.wanted(await recording.take_up_charges(connection, envelopes))
        found = await queries.runs_with_fingerprints(connection, wanted) if wanted else {}
        return lambda: self._waiters.hand_out({run_id: run for run_id, (run, _) in found.items()})

    async def _read(self, run: str, tenant: str) -> Run:
        async with self._database.transaction(tenant) as connection:
            found = await queries.run_with_fingerprint(connection, run)
        if found is None:
            raise AgoraError("not_found", f"no run {run}")
        return found[0]


def _complete(run: Run) -> bool:
    return run.status in ENDED and run.cost is not None
