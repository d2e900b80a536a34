"""A deployment's month on a real database: told when it changed, with everything up to then."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from agora_contracts.envelope import Envelope
from agora_contracts.meters import CreateMeter
from agora_contracts.periods import PeriodTotal
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.database import Database
from agora_metering.meters import service as meters
from agora_metering.partitions import store as partitions
from agora_metering.periods.service import tell_changed
from agora_metering.totals.service import roll
from agora_metering.usage.service import take_in
from sqlalchemy import text

LAST_OF_MARCH = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)


async def count(database: Database, *events: Envelope[Any]) -> None:
    """Take one batch in, and move it into the totals."""
    async with database.system() as connection:
        await take_in(connection, events)
    await roll(database)


async def tell(database: Database, seconds_between: float = 0) -> int:
    """Tell what changed."""
    async with database.system() as connection:
        return await tell_changed(connection, seconds_between=seconds_between)


async def told(database: Database) -> list[Envelope[PeriodTotal]]:
    """What was told, in order."""
    async with database.system() as connection:
        payloads = (await connection.execute(text("SELECT payload FROM outbox ORDER BY seq"))).scalars().all()
    return [msgspec.json.decode(payload, type=Envelope[PeriodTotal]) for payload in payloads]


@pytest.mark.emits.with_args(PeriodTotal)
async def test_months_are_told_as_they_grow(database: Database, messages: Callable[..., Any]) -> None:
    """
    Each revision says all of the month so far; months meet at midnight in UTC; usage of runs, and what belongs to no
    deployment, is in none.
    """
    ours = messages()
    await count(
        database,
        ours.usage("evt_1", "0.5", "gb", run=None, time=LAST_OF_MARCH),
        ours.usage("evt_2", 4, "gb", run=None, time=LAST_OF_MARCH + timedelta(seconds=1)),
        ours.usage("evt_3", 8, "gb", time=LAST_OF_MARCH),
        ours.usage("evt_4", 16, "gb", run=None, deployment=None, time=LAST_OF_MARCH),
    )
    assert 2 == await tell(database)
    await count(database, ours.usage("evt_5", 1, "gb", run=None, time=LAST_OF_MARCH))
    assert 1 == await tell(database)
    assert 0 == await tell(database)

    first, april, second = sorted(
        await told(database), key=lambda one: (one.data.revision, one.data.period_start)
    )[0:3]
    assert ("dep_1", "gb", 1, Decimal("0.5"), 1) == said(first.data)
    assert ("dep_1", "gb", 1, Decimal(4), 1) == said(april.data)
    assert ("dep_1", "gb", 2, Decimal("1.5"), 2) == said(second.data)
    assert first.data.period_end == april.data.period_start == datetime(2026, 4, 1, tzinfo=UTC)
    assert 3 == len({one.id for one in await told(database)})
    assert [2, "dep_1"] == [second.sequence, second.subject]


def said(total: PeriodTotal) -> tuple[str, str, int, Decimal, int]:
    """What a total says, without its period."""
    return total.deployment, total.meter, total.revision, total.quantity, total.events


async def test_a_month_is_told_only_so_often(database: Database, messages: Callable[..., Any]) -> None:
    """
    Changes that come at once are told together, at most once in so many seconds.
    """
    ours = messages()
    for number in range(3):
        await count(database, ours.usage(f"evt_{number}", 1, "gb", run=None))
        await tell(database, seconds_between=3600)
    assert [Decimal(1)] == [one.data.quantity for one in await told(database)]
    await tell(database)

    assert [Decimal(1), Decimal(3)] == [one.data.quantity for one in await told(database)]


async def test_a_months_total_is_the_meters_own(database: Database, messages: Callable[..., Any]) -> None:
    """
    A month of a meter that the platform has defined is its own aggregate, and is told once it is whole.
    """
    ours = messages()
    users = ["ann", "bob", "ann"]
    await count(
        database,
        *(
            ours.usage(
                f"evt_{n}",
                1,
                "calls",
                run=None,
                dimensions={"user": user},
                time=LAST_OF_MARCH - timedelta(days=n),
            )
            for n, user in enumerate(users)
        ),
    )
    async with database.system() as connection:
        command = CreateMeter(
            tenant=PLATFORM_TENANT,
            key="users",
            unit="users",
            aggregation="unique_count",
            event="calls",
            value="user",
        )
        await meters.create_meter(connection, command)
    await count(
        database, ours.usage("evt_9", 1, "calls", run=None, dimensions={"user": "cy"}, time=LAST_OF_MARCH)
    )
    await tell(database)
    assert {"calls"} == {one.data.meter for one in await told(database)}
    await meters.build_due(database)
    await roll(database)
    await tell(database)

    (month,) = [one.data for one in await told(database) if one.data.meter == "users"]
    assert (1, Decimal(3), 4) == (month.revision, month.quantity, month.events)


async def test_a_month_that_a_build_leaves_empty_is_told_again(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    Where a definition takes the place of what was recorded and counts nothing of it, billing hears of it.
    """
    await count(database, messages().usage("evt_1", 5, "gb", run=None, time=LAST_OF_MARCH))
    await tell(database)
    async with database.system() as connection:
        command = CreateMeter(tenant=PLATFORM_TENANT, key="gb", unit="gb", aggregation="max", value="size")
        await meters.create_meter(connection, command)
    await meters.build_due(database)
    await tell(database)

    assert [(1, Decimal(5)), (2, Decimal(0))] == [
        (one.data.revision, one.data.quantity) for one in await told(database)
    ]


async def test_a_tenants_definition_does_not_make_its_own_bill(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    Whatever a tenant defines under a key, before or after something was recorded under it, its month is the sum of what was
    recorded; under a key of its own making nothing is told.
    """
    ours = messages()
    await count(database, ours.usage("evt_1", 5, "gb", run=None, time=LAST_OF_MARCH))
    for key, event in (("gb", "gb"), ("seats", "calls"), ("users", "calls")):
        async with database.system() as connection:
            command = CreateMeter(
                tenant="ten_1", key=key, unit="unit", aggregation="max", event=event, value="size"
            )
            await meters.create_meter(connection, command)
    await meters.build_due(database)
    small = {"size": "1"}
    await count(
        database,
        ours.usage("evt_2", 7, "gb", run=None, dimensions=small, time=LAST_OF_MARCH),
        ours.usage("evt_3", 4, "seats", run=None, dimensions=small, time=LAST_OF_MARCH),
        ours.usage("evt_4", 9, "seats", dimensions=small, time=LAST_OF_MARCH),
        ours.usage("evt_5", 2, "calls", run=None, dimensions=small, time=LAST_OF_MARCH),
    )
    await tell(database)

    found = {one.data.meter: (one.data.quantity, one.data.events) for one in await told(database)}
    assert {"gb": (Decimal(12), 2), "seats": (Decimal(4), 1), "calls": (Decimal(2), 1)} == found


async def test_a_month_whose_events_are_gone_is_not_told_again(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    A definition that is made after old months were dropped forgets their totals; billing hears nothing of it.
    """
    await count(database, messages().usage("evt_1", 5, "gb", run=None, time=LAST_OF_MARCH))
    await tell(database)
    async with database.system() as connection:
        await partitions.keep_since(connection, date(2026, 5, 1))
        command = CreateMeter(tenant=PLATFORM_TENANT, key="gb", unit="gb", aggregation="max", value="size")
        await meters.create_meter(connection, command)
    await meters.build_due(database)
    await tell(database)

    assert [(1, Decimal(5))] == [(one.data.revision, one.data.quantity) for one in await told(database)]
