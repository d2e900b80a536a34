"""Execution's service and worker, running in the test's process on a real database, NATS and Temporal.

Billing answers from `billing_stand_in.py`; `driving.py` is what a test does with all of it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agora import Agent
from agora.models.vendors import VENDORS
from agora_execution import agents, temporal
from agora_execution.app import wire as wire_service
from agora_execution.class_workers import ClassWorkers
from agora_execution.settings import ExecutionSettings
from agora_execution.worker import build_worker
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.provision import DatabaseUrls
from agora_kit.service import Service
from agora_local.parts import Temporal

from tests.support.llm_wire import Wire, serving

from .asking import new_id
from .billing_stand_in import Billing
from .driving import Platform

AGENTS_FOLDER = Path(__file__).parent / "agents"


class Workers:
    """Starts workers beside the service, and lets them die."""

    def __init__(self, settings: ExecutionSettings, address: str) -> None:
        self._settings = settings
        self._address = address
        self._running: list[tuple[ClassWorkers, Service, asyncio.Task[None]]] = []

    async def start(self, **settings: Any) -> None:
        """Start a worker, with settings changed as given."""
        changed = msgspec.structs.replace(self._settings, **settings)
        service = Service("worker", changed, package="agora_execution", relay=False)
        await service.start()
        client = await temporal.connect(self._address, "default", lazy=False)
        worker = build_worker(client, service, changed)
        self._running.append((worker, service, asyncio.create_task(worker.run())))

    async def stop(self) -> None:
        """Stop the oldest worker; what it works on is cut off, as its time to drain is nothing here."""
        worker, service, working = self._running.pop(0)
        await worker.shutdown()
        with suppress(asyncio.CancelledError):
            await working
        await service.stop()

    async def stop_all(self) -> None:
        """Stop every worker."""
        while self._running:
            await self.stop()


@pytest.fixture(scope="session")
def settled_temporal(temporal_server: Temporal) -> Iterator[Temporal]:
    """Temporal's server; its client's threads get the time they need before this process ends."""
    yield temporal_server
    time.sleep(2 * temporal.SETTLE_SECONDS)


@pytest.fixture(autouse=True)
def no_vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of a real vendor, whatever the environment has: tests never ask one."""
    for vendor in VENDORS.values():
        monkeypatch.delenv(vendor.key_name, raising=False)
        monkeypatch.delenv(vendor.url_name, raising=False)


@pytest.fixture
async def database(database_urls: Callable[[str], DatabaseUrls]) -> AsyncIterator[Database]:
    """Execution's database, without anything around it."""
    urls = database_urls("execution")
    opened = Database(urls.app, urls.system, pool_size=4)
    yield opened
    await opened.close()


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """The vendors of models, at their wire."""
    async with serving() as fake:
        yield fake


@pytest.fixture
def vendor(wire: Wire, no_vendors: None, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """OpenAI at the wire, whose key is set on this platform.

    Ask for it before the service, which looks for keys when it starts.
    """
    for name, value in wire.environment("openai").items():
        monkeypatch.setenv(name, value)
    return wire


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Agent:
    """The tests' own agent, installed for this test."""
    monkeypatch.syspath_prepend(str(AGENTS_FOLDER))
    return agents.get("probe")


@pytest.fixture
def settings(
    database_urls: Callable[[str], DatabaseUrls], nats_url: str, settled_temporal: Temporal, tmp_path: Path
) -> ExecutionSettings:
    """Settings with a task queue of this test's own; sweeps happen when the test asks for them."""
    urls = database_urls("execution")
    return ExecutionSettings(
        database_url=urls.app,
        database_system_url=urls.system,
        nats_url=nats_url,
        database_pool_size=4,
        log_level="error",
        drain_seconds=0,
        temporal_address=settled_temporal.address,
        task_queues=new_id("queue"),
        worker_deployment="",
        objects_folder=tmp_path / "objects",
        artifacts_folder=tmp_path / "artifacts",
        file_quota_bytes=100_000,
        sweep_seconds=3600,
    )


@pytest.fixture
async def service_alone(settings: ExecutionSettings, nats_url: str) -> AsyncIterator[Platform]:
    """Execution without a worker: what is accepted waits."""
    service = Service("execution", settings, package="agora_execution")
    client = await temporal.connect(settings.temporal_address, settings.temporal_namespace)
    wire_service(service, settings, client)
    billing = Billing(nats_url)
    asker = Broker(nats_url, "gateway")
    await service.start()
    await billing.broker.start()
    await asker.start()
    yield Platform(service, settings, client, asker, billing)
    await asker.stop()
    await billing.broker.stop()
    await service.stop()


@pytest.fixture
async def echo_listed(service_alone: Platform) -> Platform:
    """Execution without a worker, which knows the echo agent."""
    await service_alone.list_package("echo")
    return service_alone


@pytest.fixture
async def workers(settings: ExecutionSettings) -> AsyncIterator[Workers]:
    """A way to start workers and to let them die; none runs at first."""
    started = Workers(settings, settings.temporal_address)
    yield started
    await started.stop_all()


@pytest.fixture
async def platform(echo_listed: Platform, workers: Workers) -> Platform:
    """Execution with a worker, which knows the echo agent."""
    await workers.start()
    return echo_listed


@pytest.fixture
async def probe_platform(probe: Agent, service_alone: Platform, workers: Workers) -> Platform:
    """Execution with a worker, which knows the probe agent."""
    await service_alone.list_package("probe")
    await workers.start()
    return service_alone
