"""Meters on a real database: defined, back-filled exactly, whatever goes on meanwhile, and taken away."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from agora_contracts.envelope import Envelope
from agora_contracts.metering import QueryUsage, UsageReport
from agora_contracts.meters import (
    Aggregation,
    CheckTotals,
    CreateMeter,
    DeleteMeter,
    GetMeter,
    ListMeters,
    Meter,
    RebuildMeter,
)
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.database import Database
from agora_metering.checks.service import check_totals
from agora_metering.meters import builds
from agora_metering.meters import service as use_cases
from agora_metering.queries.service import query_usage
from agora_metering.totals.service import roll
from agora_metering.usage.service import take_in
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
DAY = {"start": datetime(2026, 3, 1, tzinfo=UTC), "end": datetime(2026, 3, 2, tzinfo=UTC)}


async def count(database: Database, *events: Envelope[Any]) -> None:
    """Take one batch in."""
    async with database.system() as connection:
        await take_in(connection, events)


async def define(database: Database, key: str, aggregation: Aggregation, **more: Any) -> Meter:
    """Define a meter of the first tenant; its totals are not made yet."""
    fields = {"tenant": "ten_1", "unit": "things"} | more
    async with database.system() as connection:
        return await use_cases.create_meter(
            connection, CreateMeter(key=key, aggregation=aggregation, **fields)
        )


async def report(database: Database, tenant: str = "ten_1", **changes: Any) -> UsageReport:
    """Ask for a tenant's usage of the day, as its own role."""
    async with database.transaction(tenant) as connection:
        return await query_usage(connection, QueryUsage(**({"tenant": tenant} | DAY | changes)))


async def value(database: Database, meter: str, tenant: str = "ten_1") -> tuple[Decimal, int] | None:
    """What a meter says of the day, and of how many events."""
    rows = (await report(database, tenant, meter=meter, group_by=[])).items
    return (rows[0].quantity, rows[0].events) if rows else None


async def differences(database: Database) -> list[Any]:
    """Totals of the day that are not what the events say."""
    async with database.system() as connection:
        return (await check_totals(connection, CheckTotals(day=date(2026, 3, 1), limit=1000))).differences


def calls(ours: Any) -> list[Envelope[Any]]:
    """Calls of an API by two users in two regions, over some hours."""
    said = [
        ("ann", "eu", 3),
        ("bob", "eu", 9),
        ("ann", "us", 2),
        ("ann", "eu", 5),
        ("cy", "us", 4),
        ("bob", "eu", 1),
    ]
    return [
        ours.usage(
            f"evt_{number}",
            quantity,
            "api.calls",
            time=NOON + timedelta(minutes=25 * number),
            dimensions={"user": user, "region": region, "ms": f"{quantity * 10}.5"},
        )
        for number, (user, region, quantity) in enumerate(said)
    ]


EXPECTED: Sequence[tuple[Aggregation, str | None, Decimal, int]] = [
    ("sum", None, Decimal(24), 6),
    ("count", None, Decimal(6), 6),
    ("unique_count", "user", Decimal(3), 6),
    ("min", None, Decimal(1), 6),
    ("max", None, Decimal(9), 6),
    ("latest", None, Decimal(1), 6),
    ("sum", "ms", Decimal(243), 6),
    ("max", "ms", Decimal("90.5"), 6),
    ("latest", "ms", Decimal("10.5"), 6),
]


@pytest.mark.parametrize(("aggregation", "of", "quantity", "events"), EXPECTED)
@pytest.mark.parametrize("when", ["before", "after", "between"])
async def test_each_aggregation(
    database: Database,
    messages: Callable[..., Any],
    aggregation: Aggregation,
    of: str | None,
    quantity: Decimal,
    events: int,
    when: str,
) -> None:
    """
    A meter says the same of usage that was there before it, that came after it, or half and half, and whether it was
    moved into the totals or not; and checks agree.
    """
    every = calls(messages())
    early = {"before": len(every), "after": 0, "between": 3}[when]
    if early:
        await count(database, *every[:early])
    await define(database, "measured", aggregation, event="api.calls", value=of)
    await use_cases.build_due(database)
    if early < len(every):
        # Two batches, the later usage first.
        await count(database, *every[early + 1 :])
        await roll(database)
        await count(database, every[early])

    assert (quantity, events) == await value(database, "measured")
    await roll(database)
    assert (quantity, events) == await value(database, "measured")
    assert [] == await differences(database)


async def test_totals_are_grouped_by_declared_dimensions(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    Each group has its own aggregate; what lacks the dimension is a group of its own; `where` keeps one.
    """
    ours = messages()
    await define(database, "users", "unique_count", event="api.calls", value="user", dimensions=["region"])
    await use_cases.build_due(database)
    await count(database, *calls(ours), ours.usage("evt_x", 1, "api.calls", dimensions={"user": "dan"}))

    rows = (await report(database, meter="users", group_by=[], dimensions=["region"])).items
    assert [(None, 1), ("eu", 2), ("us", 2)] == [
        (row.dimensions["region"], int(row.quantity)) for row in rows
    ]
    (row,) = (await report(database, meter="users", group_by=["meter"], where={"region": "us"})).items
    assert Decimal(2) == row.quantity
    # Over hours the same user counts once for each, over the day once.
    by_hour = (await report(database, meter="users", group_by=["hour"])).items
    assert [3, 1, 2] == [int(row.quantity) for row in by_hour]
    assert (Decimal(4), 7) == await value(database, "users")


async def test_a_defined_key_replaces_what_was_recorded_under_it(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    A definition under a recorded meter's own key makes its totals; deleting it gives back the plain sums, also of
    usage that comes meanwhile.
    """
    ours = messages()
    await count(database, *calls(ours))
    await roll(database)
    await define(database, "api.calls", "max")
    await use_cases.build_due(database)
    assert (Decimal(9), 6) == await value(database, "api.calls")
    async with database.system() as connection:
        await use_cases.delete_meter(connection, DeleteMeter(tenant="ten_1", key="api.calls"))
    await count(database, ours.usage("evt_meanwhile", 10, "api.calls"))
    assert ["api.calls"] == (await report(database)).incomplete
    await use_cases.build_due(database)

    assert (Decimal(34), 7) == await value(database, "api.calls")
    assert [] == await differences(database)
    async with database.system() as connection:
        assert [] == (await use_cases.list_meters(connection, ListMeters(tenant="ten_1"))).items


async def test_a_meter_of_the_platform_is_every_tenants(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    It counts for all tenants, before and after its definition; its key is nobody else's.
    """
    ours, theirs = messages(), messages("ten_2", "run_2")
    await count(database, ours.usage("evt_1", 3, "pages"), theirs.usage("evt_1", 5, "pages"))
    await define(database, "pages.most", "max", tenant=PLATFORM_TENANT, event="pages")
    await use_cases.build_due(database)
    await count(database, ours.usage("evt_2", 4, "pages"), theirs.usage("evt_2", 1, "pages"))

    assert (Decimal(4), 2) == await value(database, "pages.most")
    assert (Decimal(5), 2) == await value(database, "pages.most", "ten_2")
    with pytest.raises(AgoraError) as refused:
        await define(database, "pages.most", "sum")
    assert "conflict" == refused.value.slug
    async with database.system() as connection:
        mine = await use_cases.get_meter(connection, GetMeter(tenant="ten_1", key="pages.most"))
    assert (PLATFORM_TENANT, "active", 100) == (mine.tenant, mine.state, mine.progress_percent)


async def test_meters_are_their_tenants_own(database: Database, messages: Callable[..., Any]) -> None:
    """
    Another tenant neither sees a meter nor has its usage counted by it.
    """
    await define(database, "mine", "count", event="tasks")
    await use_cases.build_due(database)
    await count(database, messages("ten_2", "run_2").usage("evt_1"))

    assert None is await value(database, "mine", "ten_2")
    async with database.system() as connection:
        with pytest.raises(AgoraError, match="no meter"):
            await use_cases.get_meter(connection, GetMeter(tenant="ten_2", key="mine"))
        with pytest.raises(AgoraError, match="no meter"):
            await use_cases.delete_meter(connection, DeleteMeter(tenant="ten_2", key="mine"))


async def test_the_same_definition_again_is_the_same_meter(database: Database) -> None:
    """
    A repetition gets the meter as it is; another definition under its key conflicts.
    """
    first = await define(database, "mine", "sum", dimensions=["region"])
    again = await define(database, "mine", "sum", dimensions=["region"])
    with pytest.raises(AgoraError) as refused:
        await define(database, "mine", "max", dimensions=["region"])

    assert first == again
    assert "conflict" == refused.value.slug


@pytest.mark.parametrize(
    ("aggregation", "more", "field"),
    [
        ("unique_count", {}, "value"),
        ("count", {"value": "user"}, "value"),
        ("sum", {"dimensions": ["a", "a"]}, "dimensions"),
    ],
)
async def test_a_definition_that_makes_no_sense_is_refused(
    database: Database, aggregation: Aggregation, more: dict[str, Any], field: str
) -> None:
    """
    The refusal names the field.
    """
    with pytest.raises(AgoraError) as refused:
        await define(database, "mine", aggregation, **more)

    assert ("invalid_input", [field]) == (
        refused.value.slug,
        [one.field for one in refused.value.problem.errors],
    )


async def test_what_is_no_number_is_not_counted(database: Database, messages: Callable[..., Any]) -> None:
    """
    An event whose dimension is missing, or says no number, is left out of a meter that reads it.
    """
    ours = messages()
    await define(database, "ms", "sum", event="tasks", value="ms")
    await use_cases.build_due(database)
    said = ["12.25", "-1", "NaN", "1e3", "", "7"]
    await count(
        database,
        ours.usage("evt_none"),
        *(ours.usage(f"evt_{n}", dimensions={"ms": one}) for n, one in enumerate(said)),
    )

    assert (Decimal("19.25"), 2) == await value(database, "ms")


async def test_totals_that_cannot_be_added_up_are_not(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    Without a meter, a maximum is not added to sums: the query is refused with what to do; so is a dimension that
    nobody declares.
    """
    await define(database, "most", "max", event="tasks")
    for changes, field in (({"group_by": ["day"]}, "group_by"), ({"dimensions": ["region"]}, "dimensions")):
        with pytest.raises(AgoraError) as refused:
            await report(database, **changes)  # type: ignore[arg-type]
        assert [field] == [error.field for error in refused.value.problem.errors]


# --- back-filling while everything goes on --------------------------------------------------------


@pytest.mark.parametrize("aggregation", ["sum", "unique_count", "latest", "min"])
async def test_usage_that_comes_while_a_meter_is_built_counts_once(
    database: Database,
    messages: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    aggregation: Aggregation,
) -> None:
    """
    Batches that are stored before, during and after the snapshot, by several replicas, are each counted once; stored
    events are read in many pieces.
    """
    monkeypatch.setattr(builds, "CHUNK_PAGES", 1)
    ours = messages()
    events = [
        ours.usage(
            f"evt_{number}",
            number,
            "api.calls",
            time=NOON + timedelta(seconds=number),
            dimensions={"user": f"u{number % 37}"},
        )
        for number in range(1200)
    ]
    value_of = "user" if aggregation == "unique_count" else None
    await count(database, *events[:400])

    async def replica(number: int) -> None:
        for start in range(400 + number * 400, 800 + number * 400, 40):
            await count(database, *events[start : start + 40])
            await roll(database)

    async def build() -> None:
        await define(database, "measured", aggregation, event="api.calls", value=value_of)
        await use_cases.build_due(database)

    await asyncio.gather(replica(0), replica(1), build(), use_cases.build_due(database))
    await use_cases.build_due(database)

    expected = {"sum": sum(range(1200)), "unique_count": 37, "latest": 1199, "min": 0}[aggregation]
    assert (Decimal(expected), 1200) == await value(database, "measured")
    await roll(database)
    assert (Decimal(expected), 1200) == await value(database, "measured")
    assert [] == await differences(database)


async def terminate(database: Database, session: int) -> None:
    """End a database session, as a crash does."""
    async with database.system() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": session})


async def test_a_build_that_dies_is_begun_again(
    database: Database, messages: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The connection is lost in the middle of a back-fill, and again after it wrote everything but its commit; usage
    comes in between. In the end every event counts once.
    """
    ours = messages()
    await count(database, *calls(ours))
    await define(database, "measured", "sum", event="api.calls")
    for name in ("add_chunk", "note_written"):
        real = getattr(builds, name)

        async def dies(snapshot: Any, *arguments: Any, real: Any = real) -> None:
            await real(snapshot, *arguments)
            pid = (await snapshot.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await terminate(database, pid)

        with monkeypatch.context() as patch:
            patch.setattr(builds, name, dies)
            with pytest.raises(DBAPIError):
                await use_cases.build_due(database)
        await count(database, ours.usage(f"evt_after_{name}", 100, "api.calls"))
        assert ["measured"] == (await report(database, meter="measured")).incomplete
        await roll(database)
    await use_cases.build_due(database)

    assert (Decimal(224), 8) == await value(database, "measured")
    assert [] == (await report(database, meter="measured")).incomplete
    assert [] == await differences(database)


async def test_a_build_whose_end_was_not_noted_is_not_repeated(
    database: Database, messages: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A crash between the totals' commit and the meter's state: the next round only notes the state.
    """
    await count(database, *calls(messages()))
    await define(database, "measured", "sum", event="api.calls")

    async def dies(*_: Any) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(builds, "finish", dies)
        with pytest.raises(ConnectionResetError):
            await use_cases.build_due(database)
    with monkeypatch.context() as patch:
        patch.setattr(builds, "clear", dies)
        await use_cases.build_due(database)

    assert (Decimal(24), 6) == await value(database, "measured")


@pytest.mark.parametrize("key", ["measured", "api.calls"])
async def test_a_rebuild_mends_totals_that_are_wrong(
    database: Database, messages: Callable[..., Any], key: str
) -> None:
    """
    A check names the totals that somebody has changed, grain by grain, and making them anew mends them: those of a
    meter, and those of what was recorded without one.
    """
    await define(database, "measured", "sum", event="api.calls")
    await use_cases.build_due(database)
    await count(database, *calls(messages()))
    await roll(database)
    async with database.system() as connection:
        of_key = "series IN (SELECT id FROM usage_series WHERE meter = :key)"
        await connection.execute(
            text(f"UPDATE usage_hour SET quantity = quantity + 1 WHERE events = 2 AND {of_key}"), {"key": key}
        )
        await connection.execute(text(f"DELETE FROM usage_day WHERE {of_key}"), {"key": key})
    found = await differences(database)
    assert {(key, "hour"), (key, "day")} == {(one.meter, one.grain) for one in found}
    async with database.system() as connection:
        await use_cases.rebuild_meter(connection, RebuildMeter(tenant="ten_1", key=key))
    await use_cases.build_due(database)
    await roll(database)

    assert (Decimal(24), 6) == await value(database, key)
    assert [] == await differences(database)
    async with database.system() as connection:
        listed = await use_cases.list_meters(connection, ListMeters(tenant="ten_1"))
    assert [("measured", "active")] == [(one.key, one.state) for one in listed.items]
