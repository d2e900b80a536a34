"""Use cases of runs besides admission: read, list, cancel, wait for the end, take up charges."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from agora_contracts.envelope import Envelope
from agora_contracts.execution import (
    ENDED,
    CancelRun,
    GetRun,
    ListRunEvents,
    ListRuns,
    ListRunUsage,
    ListSteps,
    Replayed,
    ReplayRunUsage,
    Run,
    RunEventList,
    RunPage,
    RunUsageIds,
    StepList,
)
from agora_contracts.problems import AgoraError
from agora_kit import outbox
from agora_kit.consumer import AfterCommit
from agora_kit.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.runs import queries, recording, store
from agora_execution.runs.starting import Starter

_POLL_SECONDS = 1.0


class Runs:
    """Reads and steers runs."""

    def __init__(self, database: Database, starter: Starter) -> None:
        self._database = database
        self._starter = starter
        self._charged: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def get(self, query: GetRun) -> Run:
        """One run; with `wait_seconds`, once it has ended and its charge is here, or after that time.

        Raises:
            AgoraError: `not_found`, also for another tenant's run.
        """
        run = await self._read(query.run, query.tenant)
        if not query.wait_seconds or _complete(run):
            return run
        try:
            async with asyncio.timeout(query.wait_seconds):
                while not _complete(run):
                    await self._wait_for_charge(query.run)
                    run = await self._read(query.run, query.tenant)
        except TimeoutError:
            run = await self._read(query.run, query.tenant)
        return run

    async def _wait_for_charge(self, run: str) -> None:
        # The event is set when this process takes the charge up; a replica may do it instead, so look again.
        event = self._charged[run]
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await event.wait()
        except TimeoutError:
            return
        finally:
            self._charged.pop(run, None)

    async def page(self, query: ListRuns) -> RunPage:
        """A tenant's runs, newest first."""
        async with self._database.transaction(query.tenant) as connection:
            return await queries.page(connection, query)

    async def steps(self, query: ListSteps) -> StepList:
        """A run's steps so far."""
        await self._read(query.run, query.tenant)
        async with self._database.transaction(query.tenant) as connection:
            return StepList(items=await queries.steps_of(connection, query.run))

    async def events(self, query: ListRunEvents) -> RunEventList:
        """A run's journal after a sequence number."""
        run = await self._read(query.run, query.tenant)
        async with self._database.transaction(query.tenant) as connection:
            items = await queries.events_after(connection, query.run, query.after, query.limit)
        return RunEventList(items=items, complete=_complete(run) and len(items) < query.limit)

    async def cancel(self, command: CancelRun) -> Run:
        """Ask a run to stop. It ends as cancelled once its workflow has taken note.

        Raises:
            AgoraError: `not_found`; `run_ended`, when it is over already.
        """
        run = await self._read(command.run, command.tenant)
        if run.status in ENDED:
            raise AgoraError("run_ended", f"the run has ended: it {run.status.replace('_', ' ')}")
        async with self._database.system() as connection:
            await store.request_cancel(connection, command.run)
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
        """Journal settled and adjusted charges; once committed, wake who waits for them."""
        taken = await recording.take_up_charges(connection, envelopes)
        return lambda: self._wake(taken)

    def _wake(self, runs: Sequence[str]) -> None:
        for run in runs:
            if run in self._charged:
                self._charged[run].set()

    async def _read(self, run: str, tenant: str) -> Run:
        async with self._database.transaction(tenant) as connection:
            found = await queries.run_with_fingerprint(connection, run)
        if found is None:
            raise AgoraError("not_found", f"no run {run}")
        return found[0]


def _complete(run: Run) -> bool:
    return run.status in ENDED and run.cost is not None
