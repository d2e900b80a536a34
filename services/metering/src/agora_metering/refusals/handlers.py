"""Refused usage: listed and replayed, by its tenant or by the operator over all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agora_contracts.envelope import utc_now
from agora_contracts.usage_ingest import (
    IngestedEvent,
    ListRefusedUsage,
    RefusedUsagePage,
    ReplayAllRefusedUsage,
    ReplayedUsage,
    ReplayRefusedUsage,
)
from agora_kit.service import Service
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.refusals import service as use_cases
from agora_metering.settings import MeteringSettings

_SWEEP_SECONDS = 3600


def register(service: Service, settings: MeteringSettings) -> None:
    """Answer for what was refused, and forget it after its retention."""
    database, broker = service.database, service.broker

    @asynccontextmanager
    async def seen_by(tenant: str | None) -> AsyncIterator[AsyncConnection]:
        opened = database.system() if tenant is None else database.transaction(tenant)
        async with opened as connection:
            yield connection

    async def list_refused(query: ListRefusedUsage) -> RefusedUsagePage:
        async with seen_by(query.tenant) as connection:
            return await use_cases.list_refused(connection, query)

    async def replay_one(command: ReplayRefusedUsage) -> IngestedEvent:
        # The system role, as for what comes anew.
        async with database.system() as connection:
            return await use_cases.replay_one(connection, command, utc_now())

    async def replay_all(command: ReplayAllRefusedUsage) -> ReplayedUsage:
        async with database.system() as connection:
            return await use_cases.replay_all(connection, command, utc_now())

    async def expire() -> None:
        await use_cases.expire(database, settings.refused_retention_days)

    broker.answer(ListRefusedUsage, list_refused)
    broker.answer(ReplayRefusedUsage, replay_one)
    broker.answer(ReplayAllRefusedUsage, replay_all)
    service.every(_SWEEP_SECONDS, "expire refused usage", expire)
