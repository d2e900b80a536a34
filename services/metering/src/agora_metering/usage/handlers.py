"""Usage events and queries, as they come over NATS."""

from agora_contracts.execution import UsageRecorded
from agora_contracts.metering import QueryUsage, UsageReport
from agora_kit.service import Service

from agora_metering.settings import MeteringSettings
from agora_metering.usage import service as use_cases


def register(service: Service, settings: MeteringSettings) -> None:
    """Take usage in, in batches, and answer queries."""
    database = service.database

    async def query_usage(query: QueryUsage) -> UsageReport:
        async with database.transaction(query.tenant) as connection:
            return await use_cases.query_usage(connection, query)

    # No inbox: the primary key of usage_events deduplicates, by tenant, source and id.
    service.broker.consume(
        "usage",
        [UsageRecorded],
        use_cases.take_in_usage,
        inbox=False,
        batch_max=settings.usage_batch_max,
    )
    service.broker.answer(QueryUsage, query_usage)
