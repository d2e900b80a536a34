"""Reported usage, as it comes: over REST by the gateway's command, and from the stream of integrators."""

from collections.abc import Sequence

from agora_contracts.catalog import PriceVersionPublished
from agora_contracts.deployments import DeploymentStarted
from agora_contracts.envelope import utc_now
from agora_contracts.subjects import INGEST_STREAM, ingest_source_of, tenant_of
from agora_contracts.usage_ingest import IngestReport, IngestUsage
from agora_kit.inbound import Inbound
from agora_kit.service import Service
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.ingest import service as use_cases
from agora_metering.ingest.model import Arrival
from agora_metering.settings import MeteringSettings


def register(service: Service, settings: MeteringSettings) -> None:
    """Take reported usage in, and remember what it may name."""
    database, broker = service.database, service.broker

    async def ingest_usage(command: IngestUsage) -> IngestReport:
        arrivals = [
            Arrival(
                tenant=command.tenant,
                sender=command.sender,
                received_at=command.received_at,
                payload=bytes(event),
            )
            for event in command.events
        ]
        # The system role: what the platform knows of prices and of its own meters is no tenant's.
        async with database.system() as connection:
            return IngestReport(items=await use_cases.ingest(connection, arrivals, utc_now()))

    async def ingest_stream(connection: AsyncConnection, messages: Sequence[Inbound]) -> None:
        await use_cases.ingest(connection, [_arrival(message) for message in messages], utc_now())

    broker.answer(IngestUsage, ingest_usage)
    broker.consume_inbound("ingest", INGEST_STREAM, ingest_stream, batch_max=settings.usage_batch_max)
    # No inbox: what is known already stays.
    broker.consume("prices", [PriceVersionPublished], use_cases.note_prices, inbox=False)
    broker.consume("deployments", [DeploymentStarted], use_cases.note_deployments, inbox=False)


def _arrival(message: Inbound) -> Arrival:
    return Arrival(
        tenant=tenant_of(message.subject),
        sender=f"nats:{ingest_source_of(message.subject)}",
        received_at=message.at,
        payload=message.payload,
    )
