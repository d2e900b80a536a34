"""Execution with everything around it, as a test drives it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import msgspec
from agora_contracts.billing import ChargeAdjusted, ChargeSettled, QuoteLine
from agora_contracts.catalog import PackagePublished
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.files import RegisterFile
from agora_contracts.money import Money
from agora_contracts.refunds import ChargeRefunded
from agora_contracts.runs import ENDED, GetRun, ListSteps, Step
from agora_contracts.subjects import PLATFORM_TENANT
from agora_execution import agents
from agora_execution.deployments.service import Deployments
from agora_execution.files.service import Files
from agora_execution.packages.service import Packages
from agora_execution.queues import queue_name
from agora_execution.runs.recording import Recorder
from agora_execution.runs.starting import Starter
from agora_execution.runs.sweeps import RunSweep
from agora_execution.settings import ExecutionSettings
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.objects import FolderObjects
from agora_kit.outbox import Event, encode
from agora_kit.service import Service
from sqlalchemy import text
from temporalio.client import Client, WorkflowHandle

from .asking import ACCOUNT, TENANT, published, start_command
from .billing_stand_in import UNIT_PRICE, Billing

WAIT_SECONDS = 120.0


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

    @property
    def queue(self) -> str:
        """The queue that standard packages' workflows wait in."""
        return queue_name(self.settings.task_queues, "standard")

    # --- asking ----------------------------------------------------------------------------------

    async def ask(self, command: msgspec.Struct, deadline_seconds: float | None = None) -> Any:
        """Ask over NATS, as the gateway does; wait as long as it does, unless told otherwise."""
        return await self.asker.ask(command, deadline_seconds=deadline_seconds)

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

    async def refund(self, run: str, refunded: int, number: int = 1) -> None:
        """Tell that `refunded` of a run's charge has been given back in all, as billing does."""
        fact = ChargeRefunded(
            run=run, account=ACCOUNT, number=number, amount=Money(amount=1), refunded=Money(amount=refunded),
            charged=Money(amount=0), reason="it was wrong", reference=f"r{number}", at=utc_now(),
        )  # fmt: skip
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
        return Deployments(
            self.database, self.service.broker, packages, self.files, self.client, self.settings.task_queues
        )

    @property
    def files(self) -> Files:
        """The use cases of files, as the service has them."""
        objects = FolderObjects(self.settings.objects_folder)
        return Files(self.database, objects, quota_bytes=self.settings.file_quota_bytes, retention_days=30)

    async def sweep(self) -> int:
        """Look after every unfinished run now, as the service does every few seconds."""
        starter = Starter(self.client, self.database, self.settings.task_queues)
        return await RunSweep(self.database, self.recorder, starter, quiet_seconds=0).sweep()
