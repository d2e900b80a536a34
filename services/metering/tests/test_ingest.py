"""Usage reported from outside, on a real database: counted once, or refused with what to change."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from agora_contracts.catalog import (
    ChargePolicy,
    OfferedPrice,
    PriceVersionPublished,
)
from agora_contracts.catalogue import EVENTS
from agora_contracts.deployments import DeploymentStarted
from agora_contracts.envelope import Envelope
from agora_contracts.meters import CreateMeter
from agora_contracts.usage_ingest import IngestedEvent, ListRefusedUsage, RefusedUsage
from agora_kit.database import Database
from agora_metering.ingest.model import Arrival, Refusal, Report, read
from agora_metering.ingest.service import ingest, note_deployments, note_prices
from agora_metering.meters import store as meters
from agora_metering.refusals.service import list_refused
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

NOW = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)
SENDER = "key:key_1"


def event(id: Any = "e1", **changes: Any) -> bytes:
    """A sound event in bytes; `changes` replace attributes or data, and `...` leaves one out."""
    data: dict[str, Any] = {"meter": "rain", "quantity": "1.5", "dimensions": {"place": "Ulm"}}
    whole: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": "/station/7",
        "type": "agora.usage.recorded.v1",
        "time": "2026-03-20T11:59:00Z",
        "data": data,
    }
    for name, value in {"id": id, **changes}.items():
        place = data if name in ("meter", "quantity", "deployment", "dimensions", "run", "note") else whole
        if value is ...:
            del place[name]
        else:
            place[name] = value
    return json.dumps(whole).encode()


def arrive(
    *payloads: bytes, tenant: str = "ten_1", sender: str = SENDER, at: datetime = NOW
) -> list[Arrival]:
    """Events as they come."""
    return [Arrival(tenant=tenant, sender=sender, received_at=at, payload=one) for one in payloads]


async def send(
    database: Database, *payloads: bytes, now: datetime = NOW, **options: Any
) -> list[IngestedEvent]:
    """Report events, in one request."""
    async with database.system() as connection:
        return await ingest(connection, arrive(*payloads, **options), now)


def judged(payload: bytes) -> Report | Refusal:
    """What an event is by itself."""
    return read(arrive(payload)[0], NOW)


async def counted(database: Database, tenant: str = "ten_1") -> dict[str, Decimal]:
    """What is stored, by the event's id."""
    async with database.system() as connection:
        rows = await connection.execute(
            text("SELECT id, quantity FROM usage_effective WHERE tenant_id = :tenant AND NOT voided"),
            {"tenant": tenant},
        )
        return {id: quantity for id, quantity in rows}  # noqa: C416


async def refused(database: Database, tenant: str | None = "ten_1") -> Sequence[RefusedUsage]:
    """What was refused and waits, newest first."""
    async with database.system() as connection:
        return (await list_refused(connection, ListRefusedUsage(tenant=tenant))).items


async def define(database: Database, event: str, tenant: str = "ten_1") -> None:
    """Define a meter that reads these events."""
    async with database.system() as connection:
        command = CreateMeter(tenant=tenant, key=event, unit="mm", aggregation="sum")
        await meters.insert(connection, command)


async def publish(database: Database, *prices: OfferedPrice) -> None:
    """Publish prices."""
    fact = PriceVersionPublished(
        price_version="price_1",
        package="storage",
        version="1.0.0",
        currency="USD",
        prices=list(prices),
        charges=ChargePolicy(),
        model_cost_limit=Decimal(0),
    )
    async with database.system() as connection:
        await note_prices(connection, [envelope(fact, "platform")])


def envelope(fact: Any, tenant: str) -> Envelope[Any]:
    """An event of ours around a fact."""
    return Envelope(
        id="evt_1", source="agora/x", type=EVENTS[type(fact)].type, time=NOW, tenant=tenant, data=fact
    )


async def hire(database: Database, deployment: str = "dep_1", tenant: str = "ten_1") -> None:
    """Let a deployment begin."""
    fact = DeploymentStarted(
        deployment=deployment,
        account="acc_1",
        package="storage",
        version="1.0.0",
        price_version="price_1",
        basis="gb",
        at=NOW,
    )
    async with database.system() as connection:
        await note_deployments(connection, [envelope(fact, tenant)])


@pytest.fixture
async def rain(database: Database) -> Database:
    """A database in which the tenant has a meter for `rain`."""
    await define(database, "rain")
    return database


async def test_an_event_is_counted_once(rain: Database):
    """
    The same event again, in one request or a later one, is a duplicate; another of the same batch counts.
    """
    first = await send(rain, event("e1"), event("e1"), event("e2", quantity=2))
    again = await send(rain, event("e1"))

    assert ["accepted", "duplicate", "accepted", "duplicate"] == [one.result for one in first + again]
    assert {"key:key_1#/station/7"} == {one.source for one in first}
    assert {"e1": Decimal("1.5"), "e2": Decimal(2)} == await counted(rain)
    assert [] == await refused(rain)


async def test_the_same_id_of_another_sender_source_or_tenant_is_another_event(rain: Database):
    """
    Nobody can take somebody else's place by guessing ids: what is known of the sender goes before what it says.
    """
    await define(rain, "rain", "ten_2")
    results = [
        *await send(rain, event()),
        *await send(rain, event(source="/station/8")),
        *await send(rain, event(), sender="key:key_2"),
        *await send(rain, event(source="agora/execution"), sender="nats:weather"),
        *await send(rain, event(), tenant="ten_2"),
    ]

    assert ["accepted"] * 5 == [one.result for one in results]
    assert "nats:weather#agora/execution" == results[3].source


async def test_another_body_under_a_used_id_is_refused_and_the_first_stands(rain: Database):
    """
    Same id, other quantity, meter, time or dimension: each is refused as a collision and counts nowhere.
    """
    await define(rain, "sun")
    await send(rain, event())
    changes: list[dict[str, Any]] = [
        {"quantity": "1.6"},
        {"meter": "sun"},
        {"time": "2026-03-20T11:58:00Z"},
        {"dimensions": {"place": "Bonn"}},
    ]
    results = [one for change in changes for one in await send(rain, event(**change))]

    assert ["id_collision"] * 4 == [one.reason for one in results]
    assert {"e1": Decimal("1.5")} == await counted(rain)
    assert 4 == len(await refused(rain))


async def test_an_event_without_a_time_is_the_same_event_whenever_it_comes(rain: Database):
    """
    Without a time the receipt's is taken; a retry minutes later is a duplicate all the same, another quantity is not.
    """
    first = await send(rain, event(time=...))
    again = await send(rain, event(time=...), at=NOW + timedelta(minutes=9))
    other = await send(rain, event(time=..., quantity=9), at=NOW + timedelta(minutes=9))

    assert ["accepted", "duplicate", "refused"] == [one.result for one in first + again + other]


async def test_a_request_that_comes_twice_at_once_counts_once(rain: Database):
    """
    Replicas that get the same events at the same time count each of them once.
    """
    batch = [event(f"e{number}", time=... if number % 2 else "2026-03-20T11:00:00Z") for number in range(20)]
    answers = await asyncio.gather(*(send(rain, *batch) for _ in range(4)))

    results = [one.result for answer in answers for one in answer]
    assert (20, 60) == (results.count("accepted"), results.count("duplicate"))
    assert 20 == len(await counted(rain))


QUANTITIES = {
    "-1": "from 0 to",
    "NaN": "from 0 to",
    "Infinity": "from 0 to",
    "1e400": "from 0 to",
    "1000000000000000.1": "from 0 to",
    "0.0000000000001": "in steps of",
    "0." + "3" * 5000: "…",
    "": "invalid",
    "1,5": "invalid",
}


@pytest.mark.parametrize(("quantity", "says"), QUANTITIES.items(), ids=[name[:20] for name in QUANTITIES])
def test_a_quantity_that_cannot_be_counted_is_refused(quantity: str, says: str):
    """
    Negative, not a number, too large, too fine, unreadable: the reason says what a quantity is.
    """
    one = judged(event(quantity=quantity))

    assert isinstance(one, Refusal) and "invalid_quantity" == one.reason
    assert says in one.detail.lower()
    assert len(one.detail) < 400


@pytest.mark.parametrize(
    ("written", "exact"),
    [
        ("0.1", "0.1"),
        ("1e3", "1000"),
        ("999999999999999.999999999999", "999999999999999.999999999999"),
        ("1000000000000", "1000000000000"),
        ("0E-99999", "0"),
        ('"1.50"', "1.5"),
    ],
)
def test_a_number_is_read_to_its_last_digit(written: str, exact: str):
    """
    A quantity may be a JSON number: it is read from its text, and no binary float ever stands for it.
    """
    raw = event(quantity="QUANTITY").replace(b'"QUANTITY"', written.encode())
    one = judged(raw)

    assert isinstance(one, Report) and Decimal(exact) == one.usage.quantity


def test_a_float_with_a_long_tail_is_refused():
    """
    What a program's float came to, 0.1 + 0.2, is not silently counted as something near it.
    """
    raw = event(quantity="QUANTITY").replace(b'"QUANTITY"', b"0.30000000000000004")
    one = judged(raw)

    assert isinstance(one, Refusal) and "invalid_quantity" == one.reason
    assert "decimal string" in one.detail


MALFORMED: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{nonsense", "malformed"),
    "no object": (b"[1]", "malformed"),
    "bad UTF-8": (b'{"id": "\xff"}', "malformed"),
    "no id": (event(id=...), "malformed"),
    "long id": (event(id="x" * 201), "malformed"),
    "no source": (event(source=...), "malformed"),
    "other version": (event(specversion="0.3"), "malformed"),
    "no type": (event(type=...), "malformed"),
    "other type": (event(type="com.example.thing"), "unknown_type"),
    "no zone": (event(time="2026-03-20T11:59:00"), "malformed"),
    "no time at all": (event(time="yesterday"), "malformed"),
    "no quantity": (event(quantity=...), "malformed"),
    "true quantity": (event(quantity=True), "invalid_quantity"),
    "unknown field": (event(note="hm"), "malformed"),
    "number as a dimension": (event(dimensions={"place": 7}), "malformed"),
    "many dimensions": (event(dimensions={f"d{number}": "" for number in range(21)}), "malformed"),
    "NUL in a dimension": (event(dimensions={"place": "a\0b"}), "malformed"),
    "NUL in an id": (event(id="a\0b"), "malformed"),
    "NUL in a meter": (event(meter="a\0b"), "malformed"),
    "a run's usage": (event(run="run_1"), "run_usage"),
    "too large": (event(subject="x" * 70_000), "malformed"),
    "deep": (event(subject=json.loads("[" * 400 + "]" * 400)), "malformed"),
}


async def test_what_cannot_be_read_is_kept_with_its_reason(rain: Database):
    """
    It counts nowhere, its neighbours count, and the list keeps it byte by byte, once, however often it comes.
    """
    payloads = [payload for payload, _ in MALFORMED.values()]
    *told, neighbour = await send(rain, *payloads, event("sound"))
    await send(rain, *payloads)

    assert [reason for _, reason in MALFORMED.values()] == [one.reason for one in told]
    assert all(len(one.detail) > 10 for one in told)
    assert ("accepted", {"sound": Decimal("1.5")}) == (neighbour.result, await counted(rain))
    kept = {one.id: one for one in await refused(rain)}
    assert len(MALFORMED) == len(kept)
    for payload, one in zip(payloads, told, strict=True):
        assert one.refused is not None
        assert (payload.decode(errors="replace"), 2) == (kept[one.refused].payload, kept[one.refused].times)


PIECES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "data",
    "subject",
    "meter",
    "quantity",
    "deployment",
    "dimensions",
)


@given(
    payload=st.binary(max_size=200)
    | st.dictionaries(st.sampled_from(NAMES), PIECES).map(lambda c: event(**c))
)
def test_whatever_comes_is_read_or_refused(payload: bytes):
    """
    No bytes make the judge fail: it would hold up the batch that they came with. What it says can be stored.
    """
    one = judged(payload)

    texts = (one.id, one.source, one.detail if isinstance(one, Refusal) else one.usage.meter)
    assert not any("\0" in text for text in texts[:2])
    assert isinstance(one, Refusal) or 0 <= one.usage.quantity <= 10**15


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (NOW - timedelta(days=35), None),
        (NOW - timedelta(days=35, seconds=1), "too_old"),
        (NOW + timedelta(hours=1), None),
        (NOW + timedelta(hours=1, seconds=1), "in_the_future"),
        (datetime(1, 1, 1, tzinfo=UTC), "too_old"),
        (datetime(9999, 12, 31, tzinfo=UTC), "in_the_future"),
    ],
)
def test_the_window_is_35_days_back_and_an_hour_ahead(time: datetime, reason: str | None):
    """
    A sender's clock may be an hour fast, and its queue 35 days long; the borders themselves are inside.
    """
    one = judged(event(time=time.isoformat()))

    assert reason == (one.reason if isinstance(one, Refusal) else None)


async def test_times_with_another_offset_are_the_moments_that_they_are(rain: Database):
    """
    The window is judged by moments, whatever the zone they are written in, also at the ends of the calendar.
    """
    results = await send(
        rain,
        event("e1", time="2026-03-20T14:00:00+02:00"),
        event("e2", time="0001-01-01T00:00:00+14:00"),
        event("e3", time="9999-12-31T23:59:59-12:00"),
    )

    assert [None, "too_old", "in_the_future"] == [one.reason for one in results]


# --- what the platform knows ---------------------------------------------------------------------


async def test_a_meter_that_nobody_reads_is_refused(database: Database):
    """
    Until a meter or a price reads it, usage would count for nobody and never be looked at. Another tenant's
    meter does not help; one of the platform's does.
    """
    await define(database, "rain", "ten_2")
    (before,) = await send(database, event())
    await define(database, "rain", "platform")
    (after,) = await send(database, event("e2"))

    assert ("unknown_meter", "accepted") == (before.reason, after.result)
    assert "'rain'" in before.detail


async def test_what_runs_record_cannot_be_reported(database: Database):
    """
    A meter that prices rate by the run, and the platform's own, are refused, also where a meter of one's own reads
    them; one that is priced by the month may be reported.
    """
    by_run = OfferedPrice(basis="task", unit_price=Decimal(1), meter="tasks")
    by_month = OfferedPrice(basis="gb", unit_price=Decimal(1), meter="stored", window="month")
    await publish(database, by_run, by_month)
    await publish(database, by_run)
    await define(database, "tasks")
    results = await send(
        database,
        event("e1", meter="tasks"),
        event("e2", meter="model.cost"),
        event("e3", meter="deployment.hours"),
        event("e4", meter="stored"),
    )

    assert ["run_usage"] * 3 + [None] == [one.reason for one in results]


async def test_a_deployment_is_the_tenants_own_and_names_the_package(rain: Database):
    """
    Usage for somebody else's deployment, or one that is not there, is refused; the package is the deployment's.
    """
    await hire(rain, "dep_1")
    await hire(rain, "dep_2", "ten_2")
    results = await send(
        rain,
        event("e1", deployment="dep_1"),
        event("e2", deployment="dep_2"),
        event("e3", deployment="dep_3"),
    )

    assert [None, "unknown_deployment", "unknown_deployment"] == [one.reason for one in results]
    async with rain.system() as connection:
        stored = (await connection.execute(text("SELECT deployment, package, run FROM usage_events"))).one()
    assert ("dep_1", "storage", None) == tuple(stored)


async def test_what_others_tell_may_be_told_twice(database: Database):
    """
    Prices and deployments come at least once, and in any order.
    """
    price = OfferedPrice(basis="gb", unit_price=Decimal(1), meter="rain", window="month")
    for _ in range(2):
        await publish(database, price)
        await hire(database)

    (one,) = await send(database, event(deployment="dep_1"))
    assert "accepted" == one.result
