"""NATS in: what was recorded, asked for by whoever reconciles."""

from agora_contracts.reconciliation import (
    EndedRunPage,
    ListEndedRuns,
    ListRecordedUsage,
    RecordedUsagePage,
)
from agora_kit.service import Service

from agora_execution.reconciliation import store


def register(service: Service) -> None:
    """Answer what was recorded. Of all tenants: only other services ask."""
    database, broker = service.database, service.broker

    async def recorded_usage(query: ListRecordedUsage) -> RecordedUsagePage:
        async with database.system() as connection:
            return await store.recorded_usage(connection, query)

    async def ended_runs(query: ListEndedRuns) -> EndedRunPage:
        async with database.system() as connection:
            return await store.ended_runs(connection, query)

    broker.answer(ListRecordedUsage, recorded_usage)
    broker.answer(ListEndedRuns, ended_runs)
