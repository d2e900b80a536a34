"""Reported usage, corrections and exports through a running metering: its commands, and the integrators' stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import nats
import pytest
from agora_contracts.catalog import ChargePolicy, OfferedPrice, PriceVersionPublished
from agora_contracts.deployments import DeploymentStarted
from agora_contracts.exports import GetUsageExport, RequestUsageExport, UsageExport
from agora_contracts.files import File, RegisterFile
from agora_contracts.ids import derived
from agora_contracts.metering import QueryUsage, RunUsageClosed
from agora_contracts.periods import PeriodTotal
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import ingest_subject
from agora_contracts.usage_ingest import (
    CorrectUsage,
    IngestReport,
    IngestUsage,
    ListRefusedUsage,
    RefusedUsage,
    ReplayAllRefusedUsage,
    ReplayRefusedUsage,
    UsageCorrected,
)
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.outbox import Event, encode
from agora_kit.service import Service
from agora_metering.app import build
from agora_metering.settings import MeteringSettings
from nats.js import JetStreamContext
from sqlalchemy import text

DEPLOYMENT = f"dep_{'a' * 32}"
WEATHER = ingest_subject("ten_1", "weather")


def now() -> datetime:
    """This moment, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


A_MINUTE_AGO = (now() - timedelta(minutes=1)).isoformat()
"""Once for all: the same event again would say another time, and collide, when a second passes in between."""


def event(id: str = "e1", quantity: Any = "1.5", *, meter: str = "stored", **more: Any) -> bytes:
    """An event about a deployment, of a minute ago, in bytes."""
    whole: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": "/station/7",
        "type": "agora.usage.recorded.v1",
        "time": A_MINUTE_AGO,
        "data": {"meter": meter, "quantity": quantity, "deployment": DEPLOYMENT},
    }
    return json.dumps(whole | more).encode()


def report(*payloads: bytes, tenant: str = "ten_1") -> IngestUsage:
    """What the gateway asks for."""
    return IngestUsage(
        tenant=tenant, sender="key:key_1", received_at=now(), events=[msgspec.Raw(one) for one in payloads]
    )


@pytest.fixture
async def stream(nats_url: str, metering: Service) -> AsyncIterator[JetStreamContext]:
    """JetStream, for integrators and other services."""
    connection = await nats.connect(nats_url)
    yield connection.jetstream()
    await connection.close()


@pytest.fixture
async def priced(metering: Service, stream: JetStreamContext, asker: Broker) -> Broker:
    """Who asks a metering that knows of a price by the month and of a deployment."""
    price = PriceVersionPublished(
        price_version="price_1",
        package="storage",
        version="1.0.0",
        currency="USD",
        prices=[OfferedPrice(basis="gb", unit_price=Decimal(1), meter="stored", window="month")],
        charges=ChargePolicy(),
        model_cost_limit=Decimal(0),
    )
    hired = DeploymentStarted(
        deployment=DEPLOYMENT,
        account="acc_1",
        package="storage",
        version="1.0.0",
        price_version="price_1",
        basis="gb",
        at=now(),
    )
    for fact, tenant in ((price, "platform"), (hired, "ten_1")):
        _, subject, payload = encode(Event(tenant=tenant, entity="x", data=fact))
        await stream.publish(subject, payload)
    await until(lambda: known(metering.database), lambda found: found == (1, 1))
    return asker


async def known(database: Database) -> tuple[int, int]:
    """How many priced meters and deployments metering knows."""
    async with database.system() as connection:
        row = await connection.execute(
            text("SELECT (SELECT count(*) FROM priced_meters), (SELECT count(*) FROM known_deployments)")
        )
        first, second = row.one()
        return first, second


async def until(look: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """What is found, once it is good."""
    async with asyncio.timeout(20):
        while True:
            found = await look()
            if good(found):
                return found
            await asyncio.sleep(0.02)


async def used(asker: Broker, meter: str = "stored") -> Decimal:
    """What the tenant has used of late."""
    query = QueryUsage(
        tenant="ten_1", start=now() - timedelta(days=40), end=now() + timedelta(hours=2), meter=meter
    )
    rows = (await asker.ask(query)).items
    return rows[0].quantity if rows else Decimal(0)


async def refused(asker: Broker) -> list[RefusedUsage]:
    """What was refused of the tenant's."""
    found: list[RefusedUsage] = (await asker.ask(ListRefusedUsage(tenant="ten_1"))).items
    return found


@pytest.mark.emits.with_args(PeriodTotal)
async def test_reported_usage_is_counted_refused_replayed_and_corrected(
    priced: Broker, told: Callable[..., Any]
) -> None:
    """
    The whole life over NATS: each event is answered for by itself, the refused one is corrected and replayed, a
    counted one amended; the query is exact at once, and the deployment's month is told again when it changed.
    """
    answer: IngestReport = await priced.ask(
        report(event("e1", 2), event("e2", -1), event("e1", 2), event("e3", "0.25", meter="unheard"))
    )
    results = [(one.result, one.reason) for one in answer.items]
    assert [
        ("accepted", None),
        ("refused", "invalid_quantity"),
        ("duplicate", None),
        ("refused", "unknown_meter"),
    ] == results
    assert 2 == await used(priced)
    bad = answer.items[1].refused
    assert bad is not None
    mended = event("e2", 1).decode()
    replayed = await priced.ask(ReplayRefusedUsage(id=bad, tenant="ten_1", corrected=mended))
    again = await priced.ask(ReplayAllRefusedUsage(tenant="ten_1"))
    assert ("accepted", (0, 1)) == (replayed.result, (again.accepted, len(again.refused)))
    assert 3 == await used(priced)
    correction = CorrectUsage(
        tenant="ten_1",
        source="key:key_1",
        id="c1",
        corrects_source=answer.items[0].source,
        corrects_id="e1",
        kind="amend",
        quantity=Decimal(5),
        reason="read twice",
    )
    booked = await priced.ask(correction)
    assert [3, 6] == [booked.difference, await used(priced)]
    (corrected,) = await told(UsageCorrected, 1)
    assert (DEPLOYMENT, "storage", 3) == (
        corrected.data.deployment,
        corrected.data.package,
        corrected.data.difference,
    )

    totals: list[Any] = []
    while not totals or totals[-1].data.quantity != 6:
        totals = await told(PeriodTotal, len(totals) + 1)
    assert (DEPLOYMENT, "stored", len(totals)) == (
        totals[-1].data.deployment,
        totals[-1].data.meter,
        totals[-1].data.revision,
    )


async def test_integrators_publish_themselves(
    priced: Broker, metering: Service, stream: JetStreamContext
) -> None:
    """
    What comes on the stream counts under the integrator's name for its subject's tenant; what cannot, is refused
    with a reason; the same once more counts once, though its sender chose the stream's message id badly.
    """
    for payload in (event("e1"), event("e2"), event("e1"), b"{nonsense", event("e3", meter="unheard")):
        await stream.publish(WEATHER, payload)
    await until(lambda: refused(priced), lambda found: len(found) == 2)
    await until(lambda: used(priced), lambda quantity: quantity == 3)

    async with metering.database.system() as connection:
        rows = await connection.execute(text("SELECT DISTINCT source FROM usage_events"))
        assert ["nats:weather#/station/7"] == list(rows.scalars())
    assert {"malformed", "unknown_meter"} == {one.reason for one in await refused(priced)}
    await until(lambda: stream.stream_info("INGEST"), lambda info: info.state.messages == 0)


async def test_the_window_is_against_the_streams_time(priced: Broker, stream: JetStreamContext) -> None:
    """
    An event is judged by when the stream received it, and one that names no time is of that moment.
    """
    old = (now() - timedelta(days=36)).isoformat()
    await stream.publish(WEATHER, event("old", time=old))
    await stream.publish(WEATHER, event("untimed", time=None))
    await until(lambda: used(priced), lambda quantity: quantity == Decimal("1.5"))

    (one,) = await until(lambda: refused(priced), lambda found: len(found) == 1)
    assert ("too_old", "old") == (one.reason, one.event_id)


async def test_what_waits_in_the_stream_survives_a_restart(
    settings: MeteringSettings, priced: Broker, metering: Service, stream: JetStreamContext
) -> None:
    """
    Events that were published while metering was away count once it is back, each once.
    """
    await metering.broker.stop()
    for number in range(50):
        await stream.publish(WEATHER, event(f"e{number}", 1))
    second = build(settings)
    await second.start()
    try:
        await until(lambda: used(priced), lambda quantity: quantity == 50)
        await until(lambda: stream.stream_info("INGEST"), lambda info: info.state.messages == 0)
    finally:
        await second.stop()


async def test_a_runs_correction_reaches_billing(
    asker: Broker, messages: Callable[..., Any], say: Callable[..., Any], told: Callable[..., Any]
) -> None:
    """
    The operator voids what a run recorded: its next revision is on the stream that billing reads.
    """
    ours = messages()
    await say(ours.usage("evt_1", 3), ours.usage("evt_2", 4), ours.finished(2))
    await told(RunUsageClosed, 1)
    command = CorrectUsage(
        tenant="ten_1",
        source="operator",
        id="c1",
        corrects_source="agora/execution",
        corrects_id="evt_1",
        kind="void",
        reason="the file was empty",
        own_only=False,
    )
    await asker.ask(command)

    (_, second) = await told(RunUsageClosed, 2)
    assert (2, 2, 4) == (second.sequence, second.data.revision, second.data.totals[0].quantity)
    with pytest.raises(AgoraError) as forbidden:
        await asker.ask(msgspec.structs.replace(command, id="c2", own_only=True))
    assert "forbidden" == forbidden.value.slug


async def test_an_export_becomes_a_file_of_the_tenant(priced: Broker, nats_url: str) -> None:
    """
    Asked for, done by the sweep, and registered with execution under an id of its own.
    """
    registered: list[RegisterFile] = []
    execution = Broker(nats_url, "execution")

    async def register(command: RegisterFile) -> File:
        registered.append(command)
        return File(
            id=command.file,
            tenant=command.tenant,
            name=command.name,
            size=command.size,
            sha256=command.sha256,
            content_type=command.content_type,
            created_at=now(),
        )

    execution.answer(RegisterFile, register)
    await execution.start()
    await priced.ask(report(event("e1", 2)))
    request = RequestUsageExport(
        id=derived("exp", "one"),
        tenant="ten_1",
        what="events",
        format="csv",
        start=now() - timedelta(days=1),
        end=now() + timedelta(days=1),
    )
    await priced.ask(request)
    shown: UsageExport = await until(
        lambda: priced.ask(GetUsageExport(id=request.id, tenant="ten_1")),
        lambda found: found.state not in ("queued", "running"),
    )
    await execution.stop()

    (file,) = registered
    assert ("succeeded", file.file, 1) == (shown.state, shown.file, shown.rows_done)
    assert ("ten_1", "text/csv") == (file.tenant, file.content_type)
