"""Usage on a real database: counted once, summed by hour, queried."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import batched, count
from typing import Any

import pytest
from agora_contracts.envelope import Envelope
from agora_contracts.metering import QueryUsage, UsageReport, UsageRow
from agora_contracts.problems import AgoraError
from agora_kit.database import Database
from agora_metering.queries.service import query_usage
from agora_metering.totals.service import roll
from agora_metering.usage import service as use_cases
from agora_metering.usage.model import Taken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
DAY = {"start": datetime(2026, 3, 1, tzinfo=UTC), "end": datetime(2026, 3, 2, tzinfo=UTC)}


async def take_in(database: Database, *events: Envelope[Any]) -> list[Taken]:
    """Take one batch in; what became of each event."""
    async with database.system() as connection:
        return await use_cases.take_in(connection, events)


async def report(database: Database, tenant: str = "ten_1", **changes: Any) -> UsageReport:
    """Ask for a tenant's usage of the day, as its own role."""
    async with database.transaction(tenant) as connection:
        return await query_usage(connection, QueryUsage(**({"tenant": tenant} | DAY | changes)))


async def total(database: Database, tenant: str = "ten_1") -> tuple[Decimal, int]:
    """A tenant's quantity and number of events in the day."""
    rows = (await report(database, tenant, group_by=[])).items
    return (rows[0].quantity, rows[0].events) if rows else (Decimal(0), 0)


async def test_an_event_that_comes_twice_counts_once(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    A repetition changes nothing: within a batch, in a later one, and with its quantity written otherwise.
    """
    ours = messages()
    first = await take_in(database, ours.usage("evt_1", "0.1"), ours.usage("evt_1", "0.1"))
    later = await take_in(database, ours.usage("evt_1", "0.10"), ours.usage("evt_2", "0.2"))

    assert [Taken.ACCEPTED, Taken.DUPLICATE] == first
    assert [Taken.DUPLICATE, Taken.ACCEPTED] == later
    assert await total(database) == (Decimal("0.3"), 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": 7},
        {"meter": "pages"},
        {"run": "run_2"},
        {"deployment": None},
        {"package": "other"},
        {"dimensions": {"model": "large"}},
        {"time": NOON + timedelta(microseconds=1)},
    ],
)
async def test_another_event_under_a_known_id_is_told_apart(
    database: Database, messages: Callable[..., Any], changes: dict[str, Any]
) -> None:
    """
    Of two events with one id the first stands, whatever it is that differs, in one batch or in two.
    """
    ours = messages()
    sound, forged = ours.usage("evt_1", 2), ours.usage("evt_1", **({"quantity": 2} | changes))
    assert [Taken.ACCEPTED, Taken.COLLISION] == await take_in(database, sound, forged)
    taken = await take_in(database, ours.usage("evt_2"), forged, sound)

    assert [Taken.ACCEPTED, Taken.COLLISION, Taken.DUPLICATE] == taken
    assert await total(database) == (Decimal(3), 2)


async def test_texts_are_kept_whatever_they_hold(database: Database, messages: Callable[..., Any]) -> None:
    """
    Empty texts, and the characters that separate columns on their way into the database, come out as they went in.
    """
    ours = messages()
    odd = ["", "\x1f", "\x1e", "\x1f\x1e\x1f", "a\x1fb", '{"', "'", "\\", "NULL", " "]
    for batch in ([*odd], [""], ["\x1e"]):
        events = [
            ours.usage(f"evt_{text}", package=text, source=text, dimensions={text: text}) for text in batch
        ]
        taken = await take_in(database, *events)
        assert [Taken.ACCEPTED if len(batch) > 1 else Taken.DUPLICATE] * len(batch) == taken
    alone = ours.usage("", package="", source="", dimensions={"": ""})
    assert [Taken.ACCEPTED] == await take_in(database, alone)
    assert [Taken.DUPLICATE] == await take_in(database, alone)

    rows = (await report(database, group_by=["package"])).items
    assert {text or None for text in odd} == {row.package for row in rows}


async def test_ids_are_of_their_tenant_and_source(database: Database, messages: Callable[..., Any]) -> None:
    """
    The same id from another tenant or another source is another event.
    """
    ours, theirs = messages(), messages("ten_2", "run_2")
    await take_in(
        database, ours.usage("evt_1"), ours.usage("evt_1", source="elsewhere"), theirs.usage("evt_1", 5)
    )

    assert await total(database) == (Decimal(2), 2)
    assert await total(database, "ten_2") == (Decimal(5), 1)


async def test_the_same_batch_at_once_counts_once(database: Database, messages: Callable[..., Any]) -> None:
    """
    Four replicas that get the same events at the same time count each of them once.
    """
    batch = [messages().usage(f"evt_{number}", "0.25") for number in range(50)]
    await asyncio.gather(*(take_in(database, *batch) for _ in range(4)))

    assert await total(database) == (Decimal("12.5"), 50)


async def test_nothing_is_left_of_a_batch_that_fails(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    A crash before the commit leaves neither events nor totals, so that redelivery counts everything once.
    """
    batch = [messages().usage(f"evt_{number}") for number in range(3)]
    with pytest.raises(ConnectionResetError):
        async with database.system() as connection:
            await use_cases.take_in(connection, batch)
            raise ConnectionResetError
    assert await total(database) == (Decimal(0), 0)
    await take_in(database, *batch)

    assert await total(database) == (Decimal(3), 3)


async def test_quantities_are_exact(database: Database, messages: Callable[..., Any]) -> None:
    """
    Sums keep every digit: neither a float nor a scale of the column rounds them.
    """
    large, small = Decimal(999999999999999), Decimal("0.000000000001")
    await take_in(database, *(messages().usage(f"evt_{n}", str(q)) for n, q in enumerate([large, small])))

    assert (await total(database))[0] == large + small


async def test_usage_is_summed_by_its_own_hour_in_utc(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    What counts is when the usage was, in UTC, not when it arrived nor the sender's time zone.
    """
    ours, india = messages(), timezone(timedelta(hours=5, minutes=30))
    await take_in(
        database,
        ours.usage("evt_1", time=datetime(2026, 3, 1, 11, 59, 59, 999_999, tzinfo=UTC)),
        ours.usage("evt_2", time=datetime(2026, 3, 1, 12, 0, tzinfo=UTC)),
        ours.usage("evt_3", time=datetime(2026, 3, 1, 18, 15, tzinfo=india)),
    )

    rows = (await report(database, group_by=["hour"])).items
    assert [(datetime(2026, 3, 1, 11, tzinfo=UTC), 1), (datetime(2026, 3, 1, 12, tzinfo=UTC), 2)] == [
        (row.time, row.events) for row in rows
    ]


async def test_a_report_filters_and_groups(database: Database, messages: Callable[..., Any]) -> None:
    """
    Rows come in the order of their groups; what has no deployment or package says null.
    """
    ours = messages()
    await take_in(
        database,
        ours.usage("evt_1", 1, "tasks"),
        ours.usage("evt_2", 2, "tasks", deployment=None),
        ours.usage("evt_3", 4, "pages", package=None, time=NOON + timedelta(hours=2)),
        ours.usage("evt_4", 8, "pages", time=NOON + timedelta(days=1)),
    )

    by_both = (await report(database, group_by=["meter", "deployment"])).items
    found = [(row.meter, row.deployment, int(row.quantity)) for row in by_both]
    assert found == [("pages", "dep_1", 4), ("tasks", None, 2), ("tasks", "dep_1", 1)]
    assert (await report(database, group_by=["package"])).items[0] == UsageRow(
        quantity=Decimal(4), events=1, package=None
    )
    by_day = (await report(database, meter="pages", end=NOON + timedelta(days=2), group_by=["day"])).items
    assert [4, 8] == [row.quantity for row in by_day]
    assert [] == (await report(database, deployment="dep_2")).items
    assert [] == (await report(database, deployment="dep_2", group_by=[])).items


async def test_a_report_counts_every_minute_that_it_touches(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    A range is widened to whole minutes at both ends, and its end is left out when it is one.
    """
    await take_in(database, messages().usage("evt_1", time=NOON + timedelta(seconds=30)))

    later, second = NOON + timedelta(seconds=45), timedelta(seconds=1)
    assert 1 == len((await report(database, start=later, end=later + second)).items)
    assert 1 == len((await report(database, start=NOON - second, end=NOON + second)).items)
    assert 0 == len((await report(database, start=NOON - timedelta(hours=1), end=NOON)).items)
    assert 0 == len(
        (await report(database, start=NOON + timedelta(minutes=1), end=later.replace(hour=23))).items
    )


async def test_a_report_says_when_it_was_cut(database: Database, messages: Callable[..., Any]) -> None:
    """
    More groups than the limit are cut, and the report says so.
    """
    await take_in(database, *(messages().usage(f"evt_{n}", meter=f"meter{n}") for n in range(3)))

    cut, whole = await report(database, limit=2), await report(database, limit=3)
    assert (["meter0", "meter1"], True) == ([row.meter for row in cut.items], cut.truncated)
    assert (3, False) == (len(whole.items), whole.truncated)


async def test_usage_of_other_tenants_is_not_seen(database: Database, messages: Callable[..., Any]) -> None:
    """
    Row-level security keeps a tenant's usage from another's role, whatever the query says.
    """
    await take_in(database, messages().usage("evt_1"))
    async with database.transaction("ten_2") as connection:
        seen = await query_usage(connection, QueryUsage(**({"tenant": "ten_1"} | DAY)))  # type: ignore[arg-type]

    assert [] == seen.items


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"end": DAY["start"]}, "end"),
        ({"start": datetime(2026, 3, 1)}, "start"),
        ({"end": datetime(9999, 12, 31, 23, 30, tzinfo=UTC)}, "end"),
        ({"group_by": ["hour", "day"]}, "group_by"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(
    database: Database, changes: dict[str, Any], field: str
) -> None:
    """
    The refusal names the field and what to change.
    """
    with pytest.raises(AgoraError) as refused:
        await report(database, **changes)

    assert ("malformed_request", [field]) == (
        refused.value.slug,
        [error.field for error in refused.value.problem.errors],
    )


DELIVERIES = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from(["tasks", "pages"]),
        st.decimals(0, 1000, places=6),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=40,
)
_tenants = count()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries=DELIVERIES, size=st.integers(1, 10), rolled=st.booleans())
async def test_totals_are_the_sums_of_distinct_events(
    database: Database,
    messages: Callable[..., Any],
    deliveries: Sequence[tuple[int, str, Decimal, int]],
    size: int,
    rolled: bool,
) -> None:
    """
    However events are repeated, ordered and cut into batches: each total is the sum over distinct ids.
    """
    tenant = f"ten_random_{next(_tenants)}"
    ours = messages(tenant)
    expected: Counter[tuple[str, datetime]] = Counter()
    seen: set[int] = set()
    events = []
    for id, meter, quantity, hour in deliveries:
        time = NOON + timedelta(hours=hour)
        events.append(ours.usage(f"evt_{id}", str(quantity), meter, time=time))
        # Of several events under one id the first stands.
        if id not in seen:
            seen.add(id)
            expected[meter, time.replace(minute=0)] += quantity  # type: ignore[assignment]
    taken = [one for batch in batched(events, size, strict=False) for one in await take_in(database, *batch)]
    if rolled:
        await roll(database)

    assert len(seen) == taken.count(Taken.ACCEPTED)
    rows = (await report(database, tenant, group_by=["meter", "hour"])).items
    assert dict(expected) == {(row.meter, row.time): row.quantity for row in rows}
    assert len(seen) == sum(row.events for row in rows)
