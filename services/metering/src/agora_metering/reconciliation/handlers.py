"""Reconciliation, asked for by the operator, and of each window on schedule."""

from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.envelope import utc_now
from agora_contracts.reconciliation import Reconcile, Reconciliation
from agora_contracts.subjects import USAGE_STREAM
from agora_kit.service import Service

from agora_metering.reconciliation.service import Reconciler
from agora_metering.reconciliation.streamed import ids_since
from agora_metering.settings import MeteringSettings

_LOOKS_BETWEEN = 10
"""How often within its period the schedule looks whether the period is over."""


def register(service: Service, settings: MeteringSettings) -> None:
    """Answer Reconcile, and reconcile on schedule."""
    database, broker = service.database, service.broker

    async def ask(query: msgspec.Struct) -> Any:
        return await broker.ask(query)

    async def read_stream(since: datetime) -> set[str]:
        return await ids_since(broker.client, since)

    reconciler = Reconciler(database, ask, read_stream, kept_days=USAGE_STREAM.retention_days)

    async def reconcile(command: Reconcile) -> Reconciliation:
        return await reconciler.reconcile(command, utc_now())

    async def on_schedule() -> None:
        await reconciler.run_scheduled(
            seconds=settings.reconcile_seconds,
            grace_seconds=settings.reconcile_grace_seconds,
            now=utc_now(),
        )

    broker.answer(Reconcile, reconcile)
    service.every(settings.reconcile_seconds / _LOOKS_BETWEEN, "reconcile", on_schedule)
