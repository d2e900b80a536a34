"""Execution's service and worker, running in the test's process on a real database, NATS and Temporal.

Billing answers from here with the contracts' messages, so that a test can make it refuse, lapse or go away.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agora import Agent
from agora.models.vendors import VENDORS
from agora_contracts.billing import (
    ChargeAdjusted,
    ChargeSettled,
    ConfirmHold,
    Hold,
    PlaceHold,
    Quantity,
    Quote,
    QuoteLine,
    QuoteRun,
)
from agora_contracts.catalog import Manifest, PackagePublished
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.execution import ENDED, GetRun, ListSteps, RegisterFile, StartRun, Step
from agora_contracts.money import Money, round_to_micro
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import PLATFORM_TENANT
from agora_execution import agents, temporal
from agora_execution.app import wire
from agora_execution.deployments.service import Deployments
from agora_execution.files.service import Files
from agora_execution.packages.service import Packages
from agora_execution.runs.recording import Recorder
from agora_execution.runs.starting import Starter
from agora_execution.runs.sweeps import RunSweep
from agora_execution.settings import ExecutionSettings
from agora_execution.worker import build_worker
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.objects import FolderObjects
from agora_kit.outbox import Event, encode
from agora_kit.provision import DatabaseUrls
from agora_kit.service import Service
from agora_local.parts import Temporal
from sqlalchemy import text
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

TENANT = "ten_one"
OTHER_TENANT = "ten_two"
ACCOUNT = "acc_one"
UNIT_PRICE = Decimal("0.01")
WAIT_SECONDS = 120.0
AGENTS_FOLDER = Path(__file__).parent / "agents"


class Billing:
    """Billing as execution sees it: it prices, holds and confirms as it is told to.

    `refuse_holds` and `refuse_confirmations` are raised in the answers while they are set.
    """

    def __init__(self, url: str) -> None:
        self.broker = Broker(url, "billing")
        self.refuse_holds: AgoraError | None = None
        self.refuse_confirmations: AgoraError | None = None
        self.placed: list[PlaceHold] = []
        self.confirmed: list[str] = []
        self.broker.answer(PlaceHold, self._place)
        self.broker.answer(ConfirmHold, self._confirm)
        self.broker.answer(QuoteRun, self._quote)

    async def _place(self, command: PlaceHold) -> Hold:
        self.placed.append(command)
        if self.refuse_holds is not None:
            raise self.refuse_holds
        quote = quoted(command.price_version, command.basis, command.estimates)
        return Hold(run=command.run, epoch=1, state="tentative", amount=quote.amount, quote=quote)

    async def _confirm(self, command: ConfirmHold) -> Hold:
        self.confirmed.append(command.run)
        if self.refuse_confirmations is not None:
            raise self.refuse_confirmations
        quote = quoted("price", "task", [])
        return Hold(run=command.run, epoch=1, state="firm", amount=quote.amount, quote=quote)

    async def _quote(self, query: QuoteRun) -> Quote:
        return quoted(query.price_version, query.basis, query.estimates)


def quoted(price_version: str, basis: str, estimates: list[Quantity]) -> Quote:
    """A quote: model costs as they are, everything else at the unit price."""
    lines = []
    for one in estimates:
        price = Decimal(1) if one.meter == "model.cost" else UNIT_PRICE
        amount = one.quantity * price
        line = QuoteLine(
            meter=one.meter, description=one.meter, quantity=one.quantity, unit_price=price, amount=amount
        )
        lines.append(line)
    total = round_to_micro(sum((line.amount for line in lines), Decimal(0)))
    return Quote(
        price_version=price_version, basis=basis, lines=lines, amount=Money(amount=total), policy="in full"
    )


class Platform:
    """Execution with everything around it: who asks, who publishes, and what it told the world.

    Runs come as `Any`: a test knows which of their fields are set, and the type checker cannot.
    """

    def __init__(
        self, service: Service, settings: ExecutionSettings, client: Client, asker: Broker, billing: Billing
    ) -> None:
        self.service = service
        self.settings = settings
        self.client = client
        self.asker = asker
        self.billing = billing

    @property
    def database(self) -> Database:
        """Execution's own database."""
        return self.service.database

    # --- asking ----------------------------------------------------------------------------------

    async def ask(self, command: msgspec.Struct) -> Any:
        """Ask over NATS, as the gateway does."""
        return await self.asker.ask(command)

    async def start(self, run_input: dict[str, Any], **other: Any) -> Any:
        """Start a run of the echo agent, or of the named package or deployment."""
        return await self.ask(start_command(run_input, **other))

    async def get(self, run: str, tenant: str = TENANT) -> Any:
        """The run as its tenant sees it."""
        return await self.ask(GetRun(run=run, tenant=tenant))

    async def ended(self, run: str) -> Any:
        """The run, once it has ended."""

        async def over() -> Any:
            found = await self.get(run)
            return found if found.status in ENDED else None

        return await self.until(over)

    async def run(self, run_input: dict[str, Any], **other: Any) -> Any:
        """Start a run and wait for its end."""
        started = await self.start(run_input, **other)
        return await self.ended(started.id)

    async def steps(self, run: str, tenant: str = TENANT) -> list[Step]:
        """The run's steps so far."""
        found: list[Step] = (await self.ask(ListSteps(run=run, tenant=tenant))).items
        return found

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        """Wait for something to become true, and return it."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                if found := await condition():
                    return found
                await asyncio.sleep(0.02)

    async def until_running(self, run: str, steps: int = 0) -> None:
        """Wait until a worker has taken the run up and recorded so many steps."""

        async def running() -> bool:
            found = await self.get(run)
            return bool(found.status == "running" and found.steps >= steps)

        await self.until(running)

    # --- publishing ------------------------------------------------------------------------------

    async def publish(self, tenant: str, *facts: msgspec.Struct, entity: str = "x") -> None:
        """Publish events of other services to JetStream."""
        for fact in facts:
            event_id, subject, payload = encode(Event(tenant=tenant, entity=entity, data=fact))
            await self.asker.client.jetstream().publish(subject, payload, headers={"Nats-Msg-Id": event_id})

    async def list_package(self, package: str = "echo", **manifest: Any) -> PackagePublished:
        """Publish an installed agent as the catalogue does, its manifest changed as given."""
        event = published(agents.get(package), **manifest)
        await self.publish(PLATFORM_TENANT, event)
        query = "SELECT 1 FROM packages WHERE package = :package AND version = :version"
        await self.until(lambda: self.rows(query, package=event.package, version=event.version))
        return event

    async def charge(self, run: str, amount: int, revision: int = 1) -> None:
        """Settle or adjust a run's charge, as billing does."""
        line = QuoteLine(
            meter="tasks",
            description="Tasks",
            quantity=Decimal(1),
            unit_price=UNIT_PRICE,
            amount=Decimal(amount) / 1_000_000,
        )
        common: dict[str, Any] = {
            "run": run, "account": ACCOUNT, "revision": revision, "lines": [line],
            "amount": Money(amount=amount), "at": utc_now(),
        }  # fmt: skip
        nothing = Money(amount=0)
        fact: ChargeSettled | ChargeAdjusted
        if revision == 1:
            fact = ChargeSettled(
                released=nothing, quoted=nothing, explanation="", platform_cost=nothing, **common
            )
        else:
            fact = ChargeAdjusted(difference=nothing, cause="usage corrected", **common)
        await self.publish(TENANT, fact, entity=run)

    async def upload(self, content: bytes, *, name: str = "note.txt", tenant: str = TENANT) -> str:
        """Store and register a file as the gateway does."""
        file = f"file_{uuid.uuid4().hex}"

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        objects = FolderObjects(self.settings.objects_folder)
        stored = await objects.put(f"{tenant}/{file}", chunks(), size_max=1 << 20)
        command = RegisterFile(file=file, tenant=tenant, name=name, size=stored.size, sha256=stored.sha256)
        await self.ask(command)
        return file

    # --- looking behind the scenes ---------------------------------------------------------------

    async def rows(self, query: str, **values: Any) -> Any:
        """Read execution's tables as its system role."""
        async with self.database.system() as connection:
            return (await connection.execute(text(query), values)).all()

    async def execute(self, statement: str, **values: Any) -> None:
        """Change execution's tables behind its back."""
        async with self.database.system() as connection:
            await connection.execute(text(statement), values)

    async def events(self, *kinds: type[msgspec.Struct], entity: str | None = None) -> list[Envelope[Any]]:
        """What execution has written into its outbox, of these kinds, oldest first."""
        types = {EVENTS[kind].type: msgspec.json.Decoder(Envelope[kind]) for kind in kinds}  # type: ignore[valid-type]
        rows = await self.rows("SELECT entity, payload FROM outbox ORDER BY seq")
        found = [
            (types.get(msgspec.json.decode(row.payload)["type"]), row.payload)
            for row in rows
            if entity in (None, row.entity)
        ]
        return [decoder.decode(payload) for decoder, payload in found if decoder is not None]

    def workflow(self, run: str) -> WorkflowHandle[Any, Any]:
        """A run's workflow on Temporal."""
        return self.client.get_workflow_handle(run)

    async def closed(self, run: str) -> None:
        """Wait until a run's workflow is over on Temporal's side, however it ended."""

        async def over() -> bool:
            return (await self.workflow(run).describe()).close_time is not None

        await self.until(over)

    @property
    def recorder(self) -> Recorder:
        """The writer of runs, as the worker has it."""
        return Recorder(self.database)

    @property
    def deployments(self) -> Deployments:
        """The use cases of deployments, as the service has them."""
        packages = Packages(self.database)
        return Deployments(self.database, packages, self.files, self.client, self.settings.task_queue)

    @property
    def files(self) -> Files:
        """The use cases of files, as the service has them."""
        objects = FolderObjects(self.settings.objects_folder)
        return Files(self.database, objects, quota_bytes=self.settings.file_quota_bytes, retention_days=30)

    async def sweep(self) -> int:
        """Look after every unfinished run now, as the service does every few seconds."""
        starter = Starter(self.client, self.database, self.settings.task_queue)
        return await RunSweep(self.database, self.recorder, starter, quiet_seconds=0).sweep()


class Workers:
    """Starts workers beside the service, and lets them die."""

    def __init__(self, settings: ExecutionSettings, address: str) -> None:
        self._settings = settings
        self._address = address
        self._running: list[tuple[Worker, Service, asyncio.Task[None]]] = []

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


def start_command(run_input: dict[str, Any], **other: Any) -> StartRun:
    """A command to run the echo agent, or the named package or deployment, under a new id."""
    values: dict[str, Any] = {
        "run_id": new_id("run"),
        "tenant": TENANT,
        "account": ACCOUNT,
        "fingerprint": "f1",
        "requested_by": "key_one",
        "input": run_input,
    }
    if "deployment" not in other:
        values["package"] = "echo"
    return StartRun(**(values | other))


def new_id(prefix: str) -> str:
    """An id that nothing else has."""
    return f"{prefix}_{uuid.uuid4().hex}"


def published(agent: Agent, *, first_party: bool = True, **changes: Any) -> PackagePublished:
    """What the catalogue announces of an agent whose manifest is changed as given."""
    manifest: Manifest = msgspec.structs.replace(agent.manifest, **changes)
    return PackagePublished(
        package=agent.id,
        version=manifest.version,
        manifest=manifest,
        schemas=agent.schemas,
        price_version=f"price_{agent.id}_{manifest.version}",
        first_party=first_party,
    )


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
        task_queue=new_id("queue"),
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
    wire(service, settings, client)
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
