"""Corrections on a real database: totals, runs and months change by the difference, and nothing is edited."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from agora_contracts.envelope import Envelope
from agora_contracts.metering import QueryUsage, RunUsageClosed, UsageRow
from agora_contracts.meters import Aggregation, CreateMeter
from agora_contracts.problems import AgoraError
from agora_contracts.usage_ingest import CorrectUsage, UsageCorrected, UsageCorrection
from agora_kit.database import Database
from agora_metering.corrections.service import correct
from agora_metering.meters.service import build_due, create_meter
from agora_metering.queries.service import query_usage
from agora_metering.runs.service import take_in_ends
from agora_metering.totals.service import roll
from agora_metering.usage.service import take_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

NOW = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)
DAY = datetime(2026, 3, 1, tzinfo=UTC)
NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
SOURCE = "key:key_1#/station/7"


async def count(database: Database, *events: Envelope[Any]) -> None:
    """Take events in."""
    async with database.system() as connection:
        await take_in(connection, events)


def void(corrects: str = "e1", id: str = "c1", **changes: Any) -> CorrectUsage:
    """A correction that voids an event."""
    fields: dict[str, Any] = {
        "tenant": "ten_1",
        "source": "key:key_1",
        "id": id,
        "corrects_source": SOURCE,
        "corrects_id": corrects,
        "kind": "void",
        "reason": "counted by mistake",
    }
    return CorrectUsage(**(fields | changes))


def amend(quantity: str | int, corrects: str = "e1", id: str = "c1", **changes: Any) -> CorrectUsage:
    """A correction that gives an event another quantity."""
    return void(corrects, id, kind="amend", quantity=Decimal(quantity), **changes)


async def book(database: Database, *commands: CorrectUsage) -> list[UsageCorrection]:
    """Book corrections, one after the other."""
    booked = []
    for command in commands:
        async with database.system() as connection:
            booked.append(await correct(connection, command, NOW))
    return booked


async def rows(database: Database, **changes: Any) -> Sequence[UsageRow]:
    """What the tenant's usage of the day comes to."""
    query: dict[str, Any] = {"tenant": "ten_1", "start": DAY, "end": DAY + timedelta(days=1)}
    query |= changes
    async with database.transaction(query["tenant"]) as connection:
        return (await query_usage(connection, QueryUsage(**query))).items


async def total(database: Database, meter: str = "tasks") -> tuple[Any, int]:
    """A meter's total of the day and the number of its events, the same before and after it was moved."""
    seen = [[(row.quantity, row.events) for row in await rows(database, meter=meter)]]
    await roll(database)
    seen.append([(row.quantity, row.events) for row in await rows(database, meter=meter)])
    assert seen[0] == seen[1]
    return seen[0][0] if seen[0] else (Decimal(0), 0)


async def emitted[Data: msgspec.Struct](
    database: Database, kind: type[Data], word: str
) -> list[Envelope[Data]]:
    """What was emitted of a kind, in order."""
    async with database.system() as connection:
        payloads = (await connection.execute(text("SELECT payload FROM outbox ORDER BY seq"))).scalars().all()
    found = [one for one in payloads if f'"agora.usage.{word}.v1"'.encode() in one]
    return [msgspec.json.decode(one, type=Envelope[kind]) for one in found]  # type: ignore[valid-type]


@pytest.fixture
def reported(messages: Callable[..., Any]) -> Callable[..., Envelope[Any]]:
    """Makes events that a tenant reported itself, outside of runs."""
    ours = messages()

    def make(id: str = "e1", quantity: str | int = 4, meter: str = "tasks", **changes: Any) -> Envelope[Any]:
        made: Envelope[Any] = ours.usage(id, quantity, meter, **({"source": SOURCE, "run": None} | changes))
        return made

    return make


@pytest.mark.emits.with_args(UsageCorrected)
async def test_a_correction_changes_the_total_by_the_difference(
    database: Database, reported: Callable[..., Any]
) -> None:
    """
    Amended, voided, amended again: the latest holds. Each is told once, and what was stored stays as it came.
    """
    await count(database, reported(), reported("e2", 1))
    seen = [await total(database)]
    booked = []
    for command in (amend("2.5"), void(id="c2"), amend(10, id="c3")):
        booked += await book(database, command)
        seen.append(await total(database))

    assert [(5, 2), (Decimal("3.5"), 2), (1, 1), (11, 2)] == seen
    assert [Decimal("-1.5"), Decimal("-2.5"), 10] == [one.difference for one in booked]
    told = await emitted(database, UsageCorrected, "corrected")
    assert [("key:key_1", Decimal("-1.5")), ("key:key_1", Decimal("-2.5")), ("key:key_1", 10)] == [
        (one.data.corrects_source.split("#")[0], one.data.difference) for one in told
    ]
    assert [1, 2, 3] == [one.sequence for one in told]
    async with database.system() as connection:
        stored = (await connection.execute(text("SELECT quantity FROM usage_events ORDER BY id"))).scalars()
        assert [4, 1] == list(stored)


async def test_a_correction_is_booked_once(database: Database, reported: Callable[..., Any]) -> None:
    """
    The same correction again is answered as it was booked, also by eight at once; another under its id conflicts.
    """
    await count(database, reported())
    answers = await asyncio.gather(*(book(database, amend(3)) for _ in range(8)))
    again = await book(database, amend("3.0"))

    assert 1 == len({msgspec.json.encode(one) for answer in [*answers, again] for one in answer})
    assert (3, 1) == await total(database)
    for other in (amend(2), void(), amend(3, reason="another"), amend(3, corrects="e2")):
        with pytest.raises(AgoraError) as refused:
            await book(database, other)
        assert refused.value.slug in ("conflict", "not_found")
    assert 1 == len(await emitted(database, UsageCorrected, "corrected"))


async def test_corrections_of_one_event_at_once_all_count(
    database: Database, reported: Callable[..., Any]
) -> None:
    """
    Ten corrections of one event at the same time are booked one behind the other; the total is the last one's.
    """
    await count(database, reported(), reported("e2", 100))
    await asyncio.gather(*(book(database, amend(number, id=f"c{number}")) for number in range(10)))

    told = await emitted(database, UsageCorrected, "corrected")
    last = max(told, key=lambda one: one.sequence).data.quantity
    assert list(range(1, 11)) == sorted(one.sequence for one in told)
    assert (100 + last, 2) == await total(database)


async def test_a_correction_under_a_used_id_of_another_event_conflicts(
    database: Database, reported: Callable[..., Any]
) -> None:
    """
    One correction is of one event.
    """
    await count(database, reported(), reported("e2"))
    await book(database, amend(1))
    with pytest.raises(AgoraError) as refused:
        await book(database, amend(1, corrects="e2"))

    assert "conflict" == refused.value.slug
    assert (5, 2) == await total(database)


@pytest.mark.parametrize(
    ("command", "slug"),
    [
        (amend(1, corrects="e9"), "not_found"),
        (void(corrects_source="key:key_2#/station/7"), "not_found"),
        (void(tenant="ten_2"), "not_found"),
        (void(corrects_source="agora/execution"), "forbidden"),
        (void(corrects_source="operator#/x"), "forbidden"),
        (amend(-1), "invalid_input"),
        (amend("NaN"), "invalid_input"),
        (amend("1e16"), "invalid_input"),
        (amend("0.0000000000001"), "invalid_input"),
        (void(quantity=Decimal(1)), "invalid_input"),
        (void(kind="amend"), "invalid_input"),
    ],
)
async def test_what_cannot_be_corrected_so_is_refused(
    database: Database, reported: Callable[..., Any], command: CorrectUsage, slug: str
) -> None:
    """
    Unknown events, other tenants', what runs recorded, and quantities that are none: nothing changes.
    """
    await count(database, reported())
    with pytest.raises(AgoraError) as refused:
        await book(database, command)

    assert slug == refused.value.slug
    assert (4, 1) == await total(database)
    assert [] == await emitted(database, UsageCorrected, "corrected")


async def test_corrections_are_never_changed(database: Database, reported: Callable[..., Any]) -> None:
    """
    Not even the service's own roles can change or remove one.
    """
    await count(database, reported())
    await book(database, amend(1))
    for statement in ("UPDATE usage_corrections SET quantity = 0", "DELETE FROM usage_corrections"):
        with pytest.raises(DBAPIError, match="never changed"):
            async with database.system() as connection:
                await connection.execute(text(statement))


# --- runs ----------------------------------------------------------------------------------------


def of_run(number: int, corrects: str = "evt_1", id: str = "c1", **changes: Any) -> CorrectUsage:
    """The operator's correction of what a run recorded."""
    fields: dict[str, Any] = {
        "kind": "amend",
        "quantity": Decimal(number),
        "source": "operator",
        "corrects_source": "agora/execution",
        "own_only": False,
    }
    return void(corrects, id, **(fields | changes))


async def test_a_closed_run_gets_its_next_revision(database: Database, messages: Callable[..., Any]) -> None:
    """
    The operator corrects a run's event: the totals that billing rates are told again, under revision 2 and 3; a
    correction that changes nothing tells none. A voided event was recorded all the same: the run stays complete.
    """
    ours = messages()
    await count(database, ours.usage("evt_1", 5), ours.usage("evt_2", 2), ours.usage("evt_3", 7, "pages"))
    async with database.system() as connection:
        await take_in_ends(connection, [ours.finished(3)], incomplete_after_seconds=60)
    await book(database, of_run(1), of_run(1, id="c2"))
    await book(database, of_run(0, "evt_1", "c3", kind="void", quantity=None))

    told = await emitted(database, RunUsageClosed, "closed")
    assert [(1, 7, 7), (2, 7, 3), (3, 7, 2)] == [
        (one.data.revision, *(int(total.quantity) for total in one.data.totals)) for one in told
    ]
    assert 3 == len(await emitted(database, UsageCorrected, "corrected"))


async def test_a_correction_before_the_run_is_closed_is_in_its_first_revision(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    Nothing is told of a run whose usage is not complete; when it is, it is told as corrected.
    """
    ours = messages()
    await count(database, ours.usage("evt_1", 5))
    await book(database, of_run(1))
    assert [] == await emitted(database, RunUsageClosed, "closed")
    async with database.system() as connection:
        await take_in_ends(connection, [ours.finished(1)], incomplete_after_seconds=60)

    (told,) = await emitted(database, RunUsageClosed, "closed")
    assert (1, 1) == (told.data.revision, int(told.data.totals[0].quantity))


async def test_corrections_at_once_each_tell_what_all_before_them_came_to(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    Five events of one run corrected at the same time: five revisions, the last with all five.
    """
    ours = messages()
    await count(database, *(ours.usage(f"evt_{number}", 10) for number in range(5)))
    async with database.system() as connection:
        await take_in_ends(connection, [ours.finished(5)], incomplete_after_seconds=60)
    await asyncio.gather(*(book(database, of_run(1, f"evt_{number}", f"c{number}")) for number in range(5)))

    told = sorted(await emitted(database, RunUsageClosed, "closed"), key=lambda one: one.data.revision)
    assert [50, 41, 32, 23, 14, 5] == [one.data.totals[0].quantity for one in told]


# --- meters of every kind ------------------------------------------------------------------------

KINDS: tuple[Aggregation, ...] = ("sum", "count", "unique_count", "min", "max", "latest")


async def define_all(database: Database, tenant: str = "ten_1", *, built: bool = True) -> None:
    """A meter of each kind that reads `tasks`, by place."""
    async with database.system() as connection:
        for kind in KINDS:
            value = "who" if kind == "unique_count" else None
            command = CreateMeter(
                tenant=tenant,
                key=kind,
                unit="1",
                aggregation=kind,
                event="tasks",
                value=value,
                dimensions=["place"],
            )
            await create_meter(connection, command)
    if built:
        await build_due(database)


async def by_kind(database: Database, tenant: str = "ten_1") -> dict[tuple[str, str | None], tuple[Any, int]]:
    """The totals of the day by meter and place."""
    found: dict[tuple[str, str | None], tuple[Any, int]] = {}
    for kind in KINDS:
        for row in await rows(database, tenant=tenant, meter=kind, dimensions=["place"]):
            found[kind, row.dimensions["place"]] = (row.quantity, row.events)
    return found


def readings(reported: Callable[..., Any]) -> list[Envelope[Any]]:
    """Four events at two places, in one minute and in another hour."""
    return [
        reported("e1", 9, dimensions={"place": "Ulm", "who": "a"}),
        reported("e2", 3, dimensions={"place": "Ulm", "who": "b"}),
        reported("e3", 5, dimensions={"place": "Ulm", "who": "b"}, time=NOON + timedelta(hours=3)),
        reported("e4", 7, dimensions={"place": "Bonn", "who": "a"}),
    ]


@pytest.mark.parametrize("moved", [True, False])
async def test_every_kind_of_total_is_as_if_it_had_been_reported_so(
    database: Database, reported: Callable[..., Any], moved: bool
) -> None:
    """
    Voiding the least and amending the latest: sums and counts change by the difference; least, greatest, latest
    and how many different ones there were are counted again from what is stored.
    """
    await define_all(database)
    await count(database, *readings(reported))
    if moved:
        await roll(database)
    await book(database, void("e2"), amend(100, "e3", "c2"))

    expected = {
        ("sum", "Ulm"): (109, 2), ("count", "Ulm"): (2, 2), ("unique_count", "Ulm"): (2, 2), ("min", "Ulm"): (9, 2),
        ("max", "Ulm"): (100, 2), ("latest", "Ulm"): (100, 2),
        ("sum", "Bonn"): (7, 1), ("count", "Bonn"): (1, 1), ("unique_count", "Bonn"): (1, 1), ("min", "Bonn"): (7, 1),
        ("max", "Bonn"): (7, 1), ("latest", "Bonn"): (7, 1),
    }  # fmt: skip
    assert expected == await by_kind(database)
    await roll(database)
    assert expected == await by_kind(database)


async def test_a_group_whose_last_event_is_voided_is_gone(
    database: Database, reported: Callable[..., Any]
) -> None:
    """
    Where nothing is left there is no row, of no kind.
    """
    await define_all(database)
    await count(database, *readings(reported))
    await roll(database)
    await book(database, void("e4"))

    assert {"Ulm"} == {place for _, place in await by_kind(database)}
    await roll(database)
    assert {"Ulm"} == {place for _, place in await by_kind(database)}


async def test_a_correction_while_a_meter_is_made_is_in_it(
    database: Database, reported: Callable[..., Any]
) -> None:
    """
    A meter whose totals are not made yet has them made with the event as it counts now.
    """
    await count(database, *readings(reported))
    await define_all(database, built=False)
    await book(database, void("e2"), amend(100, "e3", "c2"))
    await build_due(database)
    await build_due(database)

    found = await by_kind(database)
    assert [109, 2, 2, 9, 100, 100] == [found[kind, "Ulm"][0] for kind in KINDS]


_tenants = itertools.count()
STEPS = st.lists(
    st.tuples(st.integers(0, 4), st.none() | st.integers(0, 20), st.booleans()), min_size=1, max_size=6
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(quantities=st.lists(st.integers(0, 20), min_size=5, max_size=5), steps=STEPS)
async def test_totals_are_those_of_what_counts(
    database: Database,
    messages: Callable[..., Any],
    quantities: list[int],
    steps: list[tuple[int, int | None, bool]],
) -> None:
    """
    Whatever is voided and amended in whatever order, moved or not: each total is the one of the events as they
    count.
    """
    tenant = f"ten_random_{next(_tenants)}"
    ours = messages(tenant)
    await define_all(database, tenant)
    now: dict[int, int | None] = dict(enumerate(quantities))
    await count(
        database,
        *(
            ours.usage(
                f"e{number}",
                quantity,
                source=SOURCE,
                run=None,
                time=NOON + timedelta(minutes=20 * number),
                dimensions={"place": "Ulm", "who": str(number % 2)},
            )
            for number, quantity in enumerate(quantities)
        ),
    )
    for place, (number, quantity, moved) in enumerate(steps):
        if moved:
            await roll(database)
        names = {"corrects": f"e{number}", "id": f"c{place}", "tenant": tenant}
        await book(database, void(**names) if quantity is None else amend(quantity, **names))
        now[number] = quantity

    left = {number: quantity for number, quantity in now.items() if quantity is not None}
    found = await by_kind(database, tenant)
    expected = [
        sum(left.values()),
        len(left),
        len({number % 2 for number in left}),
        *([min(left.values()), max(left.values()), left[max(left)]] if left else []),
    ]
    assert (expected if left else []) == [found[kind, "Ulm"][0] for kind in KINDS if (kind, "Ulm") in found]
