"""A traced request through all that the kit traces; run by test_telemetry.py in a process of its own.

Arguments: NATS URL, app URL, system URL. Settings of OpenTelemetry come from the environment.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import structlog
from agora_contracts.billing import Balance, GetBalance
from agora_contracts.envelope import Envelope
from agora_contracts.metering import UsageIncomplete
from agora_kit import telemetry
from agora_kit.broker import Broker
from agora_kit.outbox import Event, emit
from agora_kit.service import Service
from agora_kit.settings import ServiceSettings
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def main(nats_url: str, app_url: str, system_url: str) -> None:
    """Ask a command that writes and emits; wait until its event is consumed."""
    consumed = asyncio.Event()
    settings = ServiceSettings(database_url=app_url, database_system_url=system_url, nats_url=nats_url)
    service = Service("billing", settings, package="agora_sample")

    async def balance(query: GetBalance) -> Balance:
        async with service.database.transaction(query.tenant) as connection:
            await connection.execute(text("SELECT 'answered'"))
            data = UsageIncomplete(run="run_1", expected=1, counted=0, missing=[])
            await emit(connection, [Event(tenant=query.tenant, entity="run_1", data=data)])
        structlog.get_logger().info("answered", account=query.account)
        return Balance(account=query.account, currency="USD", credit=0, held=0, available=0, receivable=0)

    async def note(connection: AsyncConnection, envelopes: Sequence[Envelope[Any]]) -> None:
        await connection.execute(text("SELECT 'consumed'"))
        structlog.get_logger().info("consumed", count=len(envelopes))
        consumed.set()

    service.broker.answer(GetBalance, balance)
    service.broker.consume("alarms", [UsageIncomplete], note)
    await service.start()
    asker = Broker(nats_url, "gateway")
    await asker.start()
    with telemetry.tracer().start_as_current_span("GET /balance") as span:
        print(format(span.get_span_context().trace_id, "032x"), flush=True)
        await asker.ask(GetBalance(account="acc_1", tenant="ten_1"))
    await asyncio.wait_for(consumed.wait(), 20)
    await asker.stop()
    await service.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
