"""Billing as a process of its own: killed in the middle of its work, and started again."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from agora_billing.audit.service import verify
from agora_contracts.platform import GetHealth
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.provision import DatabaseUrls
from sqlalchemy import text

from .conftest import WAIT_SECONDS, Clock, Platform, hold_request, price_version, usage

RUNS = 120


@asynccontextmanager
async def process(
    urls: DatabaseUrls, nats_url: str, asker: Broker
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m agora_billing`, once it is ready; killed at the end if it still runs."""
    environment = {
        "AGORA_DATABASE_URL": urls.app,
        "AGORA_DATABASE_SYSTEM_URL": urls.system,
        "AGORA_DATABASE_OWNER_URL": urls.owner,
        "AGORA_NATS_URL": nats_url,
        "AGORA_LOG_LEVEL": "error",
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agora_billing", env=os.environ | environment
    )
    try:
        health = await asker.ask_shared(GetHealth(), "billing", deadline_seconds=WAIT_SECONDS)
        while health.status != "ready":
            await asyncio.sleep(0.02)
            health = await asker.ask_shared(GetHealth(), "billing", deadline_seconds=WAIT_SECONDS)
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


@pytest.fixture
async def outside(billing_urls: DatabaseUrls, nats_url: str) -> AsyncIterator[tuple[Broker, Database]]:
    """Who asks billing, and a look into its database."""
    asker, database = (
        Broker(nats_url, "gateway"),
        Database(billing_urls.app, billing_urls.system, pool_size=2),
    )
    await asker.start()
    yield asker, database
    await asker.stop()
    await database.close()


async def count(database: Database, query: str) -> int:
    """One number out of billing's database."""
    async with database.system() as connection:
        return int((await connection.execute(text(query))).scalar_one())


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)


async def test_a_killed_process_loses_and_doubles_nothing(billing_urls, nats_url, outside):
    """
    kill -9 while holds are placed and again while runs are settled: after each restart callers that ask
    again get their one hold, and at the end every run has exactly one charge and no hold is left.
    """
    asker, database = outside

    async def charges() -> int:
        return await count(database, "SELECT count(*) FROM charges")

    async def hold(number: int) -> None:
        while True:
            try:
                await asker.ask(hold_request(f"run_{number}"))
            except AgoraError as error:
                if error.slug not in ("unavailable", "deadline_exceeded"):
                    raise
                continue
            return

    async with process(billing_urls, nats_url, asker) as first:
        world = Platform(None, asker, Clock())  # type: ignore[arg-type]
        await world.publish(PLATFORM_TENANT, price_version())
        await world.fund(RUNS * 10_000)
        asked = asyncio.gather(*(hold(number) for number in range(RUNS)))
        await until(lambda: _reached(count(database, "SELECT count(*) FROM holds"), 1))
        first.send_signal(signal.SIGKILL)
        await first.wait()
    async with process(billing_urls, nats_url, asker) as second:
        await asked
        await redeliver_soon(asker)
        for number in range(RUNS):
            await world.publish("ten_one", usage(f"run_{number}"))
        await until(lambda: _reached(charges(), 1))
        second.send_signal(signal.SIGKILL)
        await second.wait()
    async with process(billing_urls, nats_url, asker) as third:
        # It has set its consumer to thirty seconds again.
        await redeliver_soon(asker)
        await until(lambda: _reached(charges(), RUNS))
        third.send_signal(signal.SIGTERM)
        assert 0 == await third.wait()

    report = await verify(database)
    assert (True, RUNS, 0, 0, RUNS * 10_000) == (
        report.ok,
        report.settled_runs,
        report.open_holds,
        report.credit,
        report.revenue,
    )
    settled = "SELECT count(*) FROM outbox WHERE subject LIKE '%.billing.charge.settled'"
    assert RUNS == await count(database, settled)


async def redeliver_soon(asker: Broker) -> None:
    """Let JetStream hand a dead process' messages to the next one after a second instead of thirty."""
    stream = asker.client.jetstream()
    config = (await stream.consumer_info("METERING", "billing-usage-closed")).config
    config.ack_wait = 1.0
    await stream.add_consumer("METERING", config=config)


async def _reached(number: Awaitable[int], wanted: int) -> bool:
    return await number >= wanted
