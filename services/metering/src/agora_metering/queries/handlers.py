"""Queries over NATS."""

from agora_contracts.metering import QueryUsage, UsageReport
from agora_kit.service import Service

from agora_metering.queries import service as use_cases


def register(service: Service) -> None:
    """Answer queries."""
    database = service.database

    async def query_usage(query: QueryUsage) -> UsageReport:
        async with database.snapshot(query.tenant) as connection:
            return await use_cases.query_usage(connection, query)

    service.broker.answer(QueryUsage, query_usage)
