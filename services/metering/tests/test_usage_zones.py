"""Queries in time zones, on a real database: each event in the row of its local hour, day or month."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from agora_contracts.metering import QueryUsage, UsageReport
from agora_contracts.problems import AgoraError
from agora_kit.database import Database
from agora_metering.queries.service import query_usage
from agora_metering.totals.service import roll
from agora_metering.usage.service import take_in


def local(time: datetime, unit: str, zone: str) -> tuple[Any, ...]:
    """The hour, day or month of a zone in which a moment lies."""
    there = time.astimezone(ZoneInfo(zone))
    if unit == "hour":
        return there.year, there.month, there.day, there.hour, there.utcoffset()
    return (there.year, there.month, there.day)[: 3 if unit == "day" else 2]


async def report(database: Database, **query: Any) -> UsageReport:
    """Ask as the tenant's own role."""
    async with database.transaction("ten_1") as connection:
        return await query_usage(connection, QueryUsage(tenant="ten_1", **query))


@pytest.mark.parametrize("unit", ["hour", "day", "month"])
@pytest.mark.parametrize(
    ("zone", "around"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
        ("Asia/Kolkata", datetime(2028, 2, 29, 18, 30, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
        ("America/New_York", datetime(2028, 2, 29, 5, tzinfo=UTC)),
    ],
)
async def test_usage_is_in_the_row_of_its_local_time(
    database: Database, messages: Callable[..., Any], unit: str, zone: str, around: datetime
) -> None:
    """
    On days on which clocks are set, leap days, and where hours are not UTC's: every event is in its own row, whether
    it was moved into the totals or not, and rows are labelled with their zone's time.
    """
    ours = messages()
    steps = [timedelta(minutes=minutes) for minutes in range(-2900, 2900, 29)]
    events = [
        ours.usage(f"evt_{number}", f"{number}.5", time=around + step)
        for number, step in enumerate((*steps, timedelta(0), timedelta(microseconds=-1)))
    ]
    expected: Counter[tuple[Any, ...]] = Counter()
    async with database.system() as connection:
        await take_in(connection, events[::2])
    await roll(database)
    async with database.system() as connection:
        await take_in(connection, events[1::2])
    for event in events:
        expected[local(event.time, unit, zone)] += event.data.quantity

    whole = {"start": around - timedelta(days=3), "end": around + timedelta(days=3)}
    rows = (await report(database, group_by=[unit], time_zone=zone, **whole)).items
    assert dict(expected) == {local(row.time, unit, zone): row.quantity for row in rows if row.time}
    assert len(rows) == len(expected)
    assert all(
        row.time and row.time.utcoffset() == row.time.astimezone(ZoneInfo(zone)).utcoffset() for row in rows
    )


async def test_a_range_cuts_its_first_and_last_row(database: Database, messages: Callable[..., Any]) -> None:
    """
    A row at the edge of the range holds only what lies in the range, and still says when its day began.
    """
    ours = messages()
    noon = datetime(2026, 3, 10, 11, 0, tzinfo=UTC)
    async with database.system() as connection:
        hours = [ours.usage(f"evt_{hour}", time=noon + timedelta(hours=hour)) for hour in range(-20, 20)]
        await take_in(connection, hours)
    await roll(database)

    span = {"start": noon + timedelta(minutes=-150), "end": noon + timedelta(minutes=61)}
    (row,) = (await report(database, group_by=["day"], time_zone="Europe/Berlin", **span)).items
    assert (4, "2026-03-10T00:00:00+01:00") == (row.events, row.time and row.time.isoformat())


async def test_rows_go_on_after_a_cursor(database: Database, messages: Callable[..., Any]) -> None:
    """
    Pages hold every row once, in the order of one whole answer, with groups that are missing among them.
    """
    ours = messages()
    start = datetime(2026, 3, 1, tzinfo=UTC)
    async with database.system() as connection:
        await take_in(
            connection,
            [
                ours.usage(
                    f"evt_{n}",
                    meter=f"meter{n % 3}",
                    deployment=None if n % 2 else "dep_1",
                    time=start + timedelta(hours=n),
                )
                for n in range(24)
            ],
        )
    query = {"start": start, "end": start + timedelta(days=1), "group_by": ["deployment", "hour", "meter"]}
    whole = await report(database, **query)
    items, cursor = [], None
    while True:
        page = await report(database, **query, limit=5, cursor=cursor)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            break

    assert whole.items == items
    assert 24 == len(items) and not whole.truncated
    with pytest.raises(AgoraError) as refused:
        await report(
            database,
            **query | {"group_by": ["day"]},
            cursor=(await report(database, **query, limit=5)).next_cursor,
        )
    assert "invalid_cursor" == refused.value.slug


async def test_a_month_of_hours_is_whole(database: Database, messages: Callable[..., Any]) -> None:
    """
    Grouped by nothing, by month and by day, in two zones: the sums are the same.
    """
    ours = messages()
    start = datetime(2028, 2, 1, tzinfo=UTC)
    async with database.system() as connection:
        await take_in(
            connection, [ours.usage(f"evt_{n}", time=start + timedelta(hours=7 * n)) for n in range(100)]
        )
    await roll(database)
    span = {"start": start, "end": start + timedelta(days=30)}

    for zone in ("UTC", "Asia/Kolkata", "Europe/Berlin"):
        for groups in ([], ["month"], ["day"], ["hour"]):
            rows = (await report(database, **span, group_by=groups, time_zone=zone)).items
            assert Decimal(100) == sum(row.quantity for row in rows)
