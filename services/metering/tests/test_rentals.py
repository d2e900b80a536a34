"""The time of rentals: how much of it falls into which month, and what is told of it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from agora_contracts.deployments import DeploymentEnded, DeploymentStarted
from agora_contracts.envelope import Envelope
from agora_contracts.meters import CreateMeter
from agora_contracts.periods import PeriodTotal
from agora_kit.database import Database
from agora_metering.meters.model import definition_faults
from agora_metering.rentals import service
from agora_metering.rentals.model import Rental, months
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text


def at(*moment: int) -> datetime:
    """A moment in UTC."""
    return datetime(*moment, tzinfo=UTC)  # type: ignore[arg-type,misc]


def rental(basis: str, start: datetime, end: datetime | None = None) -> Rental:
    """A rental of a deployment."""
    return Rental(deployment="dep_1", tenant="ten_1", basis=basis, started_at=start, ended_at=end)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (at(2026, 1, 31, 23, 30), at(2026, 2, 1, 0, 30), {1: "0.50", 2: "0.50"}),
        (at(2026, 1, 1), at(2026, 1, 1, 0, 0, 36), {1: "0.01"}),
        (at(2026, 1, 1), at(2026, 1, 1, 0, 0, 37), {1: "0.02"}),
        (at(2028, 2, 1), at(2028, 3, 1), {2: "696.00"}),
        (at(2026, 2, 1), at(2026, 3, 1), {2: "672.00"}),
        (at(2026, 1, 2), at(2026, 1, 1), {}),
    ],
)
def test_hours_are_counted_in_begun_hundredths(start: datetime, end: datetime, expected: dict[int, str]):
    """
    36 seconds are 0.01; the 37th begins the next. Months are those of UTC, leap days are days, an end before the
    beginning (by a clock that was wrong) is no time.
    """
    found = months(rental("hour", start, end), at(2030, 1, 1))

    assert {month: Decimal(quantity) for month, quantity in expected.items()} == {
        month.month: quantity for month, quantity in found.items()
    }


def test_a_change_of_the_clocks_makes_no_hour_longer():
    """
    The night in which Berlin's clocks go forward or back has the hours that pass, not those on its clocks.
    """
    berlin = ZoneInfo("Europe/Berlin")
    for day, hours in (
        (datetime(2026, 3, 29, tzinfo=berlin), 23),
        (datetime(2026, 10, 25, tzinfo=berlin), 25),
    ):
        found = months(rental("hour", day, day + timedelta(days=1)), at(2030, 1, 1))
        assert Decimal(hours) == sum(found.values())


@pytest.mark.parametrize(
    ("start", "now", "expected"),
    [
        (at(2026, 1, 31), at(2026, 4, 30, 12), [(1, 1), (2, 1), (3, 1), (4, 1)]),
        (at(2026, 1, 31), at(2026, 2, 28), [(1, 1)]),
        (at(2026, 1, 31), at(2026, 2, 28, 0, 1), [(1, 1), (2, 1)]),
        (at(2028, 1, 31), at(2028, 2, 28, 0, 1), [(1, 1)]),
        (at(2028, 1, 31), at(2028, 2, 29, 0, 1), [(1, 1), (2, 1)]),
        (at(2026, 12, 15), at(2027, 1, 16), [(12, 1), (1, 1)]),
        (at(2026, 1, 15), at(2026, 1, 14), []),
    ],
)
def test_months_begin_by_anniversary(start: datetime, now: datetime, expected: list[tuple[int, int]]):
    """
    On the same day of each month, the last where there is none: 31 January, 28 or 29 February, 31 March.
    """
    found = months(rental("month", start), now)

    assert expected == [(month.month, int(quantity)) for month, quantity in found.items()]


@given(
    st.datetimes(at(2020, 1, 1).replace(tzinfo=None), at(2030, 1, 1).replace(tzinfo=None)),
    st.integers(0, 3 * 365 * 86_400),
)
def test_no_time_is_lost_or_counted_twice(begin: datetime, seconds: int):
    """
    Hours of all months are the time that passed, each month rounded up by less than a hundredth; at most one month
    begins in a calendar month.
    """
    start = begin.replace(tzinfo=UTC)
    end = start + timedelta(seconds=seconds)

    hours = months(rental("hour", start, end), end)
    assert (
        Decimal(0)
        <= sum(hours.values(), Decimal(0)) - Decimal(seconds) / 3600
        < len(hours) * Decimal("0.0101") + 1
    )
    assert all(one == 1 for one in months(rental("month", start, end), end).values())


async def told(database: Database) -> list[tuple[int, Decimal, int]]:
    """Month, quantity and revision of what was told."""
    async with database.system() as connection:
        rows = await connection.execute(text("SELECT payload FROM outbox ORDER BY seq"))
        found = [msgspec.json.decode(row.payload, type=Envelope[PeriodTotal]).data for row in rows]
    return [(one.period_start.month, one.quantity, one.revision) for one in found]


def envelope(fact: DeploymentStarted | DeploymentEnded, at: datetime) -> Envelope[Any]:
    """An event of a deployment."""
    return Envelope(
        id="evt_1", source="execution", type="x", tenant="ten_1", subject="dep_1", time=at, data=fact
    )


@pytest.mark.emits.with_args(PeriodTotal)
async def test_a_rental_is_told_as_it_goes_on_and_stops_at_its_end(database: Database):
    """
    Every few minutes what changed, with the next revision; the same again changes nothing, an older clock neither;
    after its end the last hundredth is told and nothing more.
    """
    start = at(2026, 1, 31, 23)
    hired = DeploymentStarted(
        deployment="dep_1", account="acc_1", package="p", version="1.0.0", price_version="price_1", basis="hour",
        at=start,
    )  # fmt: skip

    async def count(now: datetime) -> None:
        async with database.system() as connection:
            await service.count(connection, now, seconds_between=0)

    async with database.system() as connection:
        await service.take_up(connection, [envelope(hired, start)] * 2)
    await count(start + timedelta(minutes=30))
    await count(start + timedelta(minutes=30))
    await count(start + timedelta(minutes=20))
    await count(start + timedelta(hours=2))
    ended = DeploymentEnded(deployment="dep_1", account="acc_1", at=start + timedelta(hours=2, minutes=15))
    async with database.system() as connection:
        await service.take_up(connection, [envelope(ended, start)] * 2)
    await count(start + timedelta(hours=5))
    await count(start + timedelta(hours=9))

    assert [
        (1, Decimal("0.50"), 1),
        (1, Decimal("1.00"), 2),
        (2, Decimal("1.00"), 1),
        (2, Decimal("1.25"), 2),
    ] == await told(database)


@pytest.mark.parametrize("basis", ["hour", "month"])
async def test_an_end_that_comes_late_takes_the_next_month_back(database: Database, basis: str):
    """
    A month that was begun only because the end had not been heard of yet owes nothing.
    """
    start, end = at(2026, 1, 1), at(2026, 1, 31, 23, 59)
    async with database.system() as connection:
        await service.take_up(connection, [envelope(_hired(basis, start), start)])
        await service.count(connection, at(2026, 2, 1, 0, 5), seconds_between=0)
        ended = DeploymentEnded(deployment="dep_1", account="acc_1", at=end)
        await service.take_up(connection, [envelope(ended, end)])
        await service.count(connection, at(2026, 2, 1, 0, 6), seconds_between=0)

    newest = {month: (quantity, revision) for month, quantity, revision in await told(database)}
    assert {"hour": Decimal("743.99"), "month": Decimal(1)}[basis] == newest[1][0]
    assert (Decimal(0), 2) == newest[2]


async def test_an_end_that_comes_before_its_start_is_no_rental_for_ever(database: Database):
    """
    Events arrive in any order: the rental has the time from its start to its end, whenever it is counted.
    """
    start = at(2026, 1, 31, 12)
    ended = DeploymentEnded(deployment="dep_1", account="acc_1", at=start + timedelta(hours=2))
    async with database.system() as connection:
        await service.take_up(connection, [envelope(ended, start)] * 2)
        await service.count(connection, start + timedelta(hours=3), seconds_between=0)
        await service.take_up(connection, [envelope(_hired("hour", start), start)])
        for hours in (4, 48):
            await service.count(connection, start + timedelta(hours=hours), seconds_between=0)

    assert [(1, Decimal("2.00"), 1)] == await told(database)


def _hired(basis: str, start: datetime) -> DeploymentStarted:
    return DeploymentStarted(
        deployment="dep_1", account="acc_1", package="p", version="1.0.0", price_version="price_1", basis=basis,
        at=start,
    )  # fmt: skip


def test_the_meters_of_rentals_are_the_platforms():
    """
    Nobody can define a meter of such a key, and so tell billing another time.
    """
    command = CreateMeter(tenant="ten_1", key="deployment.hours", unit="h", description="", aggregation="sum")

    assert ["key"] == [fault.field for fault in definition_faults(command)]
