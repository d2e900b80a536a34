"""Ends of runs, queries and the sweep, as they come."""

from collections.abc import Sequence
from typing import cast

from agora_contracts.envelope import Envelope
from agora_contracts.metering import GetRunTotals, RunTotals
from agora_contracts.runs import RunFinished
from agora_contracts.usage import ListRunUsage, RunUsageIds
from agora_kit.service import Service
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.runs import service as use_cases
from agora_metering.settings import MeteringSettings


def register(service: Service, settings: MeteringSettings) -> None:
    """Take ends of runs in, answer for their totals, and look into what does not become complete."""
    database, broker = service.database, service.broker
    deadline = settings.incomplete_after_seconds

    async def take_in_ends(connection: AsyncConnection, events: Sequence[Envelope[RunFinished]]) -> None:
        await use_cases.take_in_ends(connection, events, incomplete_after_seconds=deadline)

    async def get_run_totals(query: GetRunTotals) -> RunTotals:
        async with database.transaction(query.tenant) as connection:
            return await use_cases.get_run_totals(connection, query)

    async def ask_usage(query: ListRunUsage) -> RunUsageIds:
        return cast(RunUsageIds, await broker.ask(query))

    async def look_into_incomplete() -> None:
        await use_cases.look_into_incomplete(database, ask_usage, incomplete_after_seconds=deadline)

    # No inbox: an end that was heard before changes nothing.
    broker.consume("run-finished", [RunFinished], take_in_ends, inbox=False)
    broker.answer(GetRunTotals, get_run_totals)
    service.every(settings.incomplete_sweep_seconds, "incomplete runs", look_into_incomplete)
