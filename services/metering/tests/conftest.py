"""Metering that runs in the test's process, on a database and a NATS account of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope
from agora_contracts.runs import RunFinished
from agora_contracts.usage import UsageRecorded
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.outbox import Event, encode
from agora_kit.provision import DatabaseUrls
from agora_kit.service import Service
from agora_metering.app import build
from agora_metering.settings import MeteringSettings


@pytest.fixture
def urls(database_urls: Callable[[str], DatabaseUrls]) -> DatabaseUrls:
    """A fresh, migrated database of metering."""
    return database_urls("metering")


@pytest.fixture
async def database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    """Metering's database, without a service around it."""
    database = Database(urls.app, urls.system, pool_size=4)
    yield database
    await database.close()


@pytest.fixture
def settings(urls: DatabaseUrls, nats_url: str, tmp_path: Path) -> MeteringSettings:
    """Settings of a metering whose sweeps come at once, and reconciles when it is asked to."""
    return MeteringSettings(
        database_url=urls.app,
        database_system_url=urls.system,
        nats_url=nats_url,
        log_level="critical",
        incomplete_after_seconds=0.2,
        incomplete_sweep_seconds=0.05,
        roll_seconds=0.05,
        period_seconds=0.05,
        build_sweep_seconds=0.05,
        objects_folder=str(tmp_path / "objects"),
        export_sweep_seconds=0.05,
        # Those it would ask are not there.
        reconcile_seconds=1e9,
    )


@pytest.fixture
async def metering(settings: MeteringSettings) -> AsyncIterator[Service]:
    """A running metering."""
    service = build(settings)
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def asker(metering: Service, nats_url: str) -> AsyncIterator[Broker]:
    """A broker that asks the running metering."""
    broker = Broker(nats_url, "gateway")
    await broker.start()
    yield broker
    await broker.stop()


# --- messages ------------------------------------------------------------------------------------

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


class Messages:
    """Makes the events of one tenant's run as execution emits them."""

    def __init__(self, tenant: str = "ten_1", run: str = "run_1") -> None:
        self.tenant = tenant
        self.run = run

    def usage(self, id: str, quantity: str | int = 1, meter: str = "tasks", **changes: Any) -> Envelope[Any]:
        """A usage event; `changes` replace fields of its envelope or data."""
        data: dict[str, Any] = {"run": self.run, "package": "sorter", "deployment": "dep_1"}
        data |= {
            name: changes.pop(name) for name in tuple(changes) if name in UsageRecorded.__struct_fields__
        }
        fact = UsageRecorded(meter=meter, quantity=Decimal(quantity), **data)
        return self._envelope(fact, {"id": id} | changes)

    def finished(self, usage_count: int, **changes: Any) -> Envelope[Any]:
        """The end of the run; `changes` replace fields of it."""
        data: dict[str, Any] = {"outcome": "succeeded", "deliverable": "full", "at": NOON} | changes
        fact = RunFinished(run=self.run, usage_count=usage_count, package="sorter", version="1.0.0", **data)
        return self._envelope(fact, {"id": f"evt_finished_{self.run}_{usage_count}"})

    def _envelope(self, fact: msgspec.Struct, changes: dict[str, Any]) -> Envelope[Any]:
        fields: dict[str, Any] = {
            "source": "agora/execution",
            "time": NOON,
            "tenant": self.tenant,
            "subject": self.run,
        }
        return Envelope(type=EVENTS[type(fact)].type, data=fact, **(fields | changes))


@pytest.fixture
def messages() -> type[Messages]:
    """Makes events: `messages("ten_1", "run_1").usage("evt_1")`."""
    return Messages


type Say = Callable[..., Awaitable[None]]
type Told = Callable[..., Awaitable[list[Envelope[Any]]]]


@pytest.fixture
async def say(nats_url: str) -> AsyncIterator[Say]:
    """Publishes envelopes, or raw bytes on a subject, on the stream, without JetStream's own deduplication."""
    connection = await nats.connect(nats_url)
    stream = connection.jetstream()

    async def publish(*envelopes: Envelope[Any], raw: bytes | None = None, tenant: str = "ten_1") -> None:
        for envelope in envelopes:
            event = Event(
                tenant=envelope.tenant,
                entity=envelope.subject,
                data=envelope.data,
                id=envelope.id,
                at=envelope.time,
                source=envelope.source,
            )
            _, subject, payload = encode(event)
            await stream.publish(subject, payload)
        if raw is not None:
            await stream.publish(f"agora.evt.{tenant}.usage.event.recorded", raw)

    yield publish
    await connection.close()


@pytest.fixture
async def told(nats_url: str) -> AsyncIterator[Told]:
    """`await told(RunUsageClosed, 2)`: the first two events of that kind, once they are on the stream."""
    connection = await nats.connect(nats_url)

    async def read(kind: type[msgspec.Struct], count: int) -> list[Envelope[Any]]:
        spec = EVENTS[kind]
        subscription = await connection.jetstream().subscribe(
            f"agora.evt.*.{spec.path}", ordered_consumer=True
        )
        decoder = msgspec.json.Decoder(Envelope[kind])  # type: ignore[valid-type]
        return [decoder.decode((await subscription.next_msg(timeout=20)).data) for _ in range(count)]

    yield read
    await connection.close()
