"""Totals on a real database: exact at any moment, by however many replicas, whoever dies."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from agora_contracts.envelope import Envelope
from agora_contracts.metering import QueryUsage
from agora_contracts.meters import CheckTotals
from agora_kit.database import Database, is_transient
from agora_metering.checks.service import check_totals
from agora_metering.queries.service import query_usage
from agora_metering.totals import service as totals
from agora_metering.totals import store
from agora_metering.totals.service import roll
from agora_metering.usage.model import Taken
from agora_metering.usage.service import take_in
from sqlalchemy import text

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
KILLS = 12


async def total(database: Database) -> tuple[Decimal, int]:
    """The tenant's total of the day."""
    query = QueryUsage(
        tenant="ten_1", start=NOON.replace(hour=0, minute=0), end=NOON.replace(hour=23), group_by=[]
    )
    async with database.transaction("ten_1") as connection:
        rows = (await query_usage(connection, query)).items
    return (rows[0].quantity, rows[0].events) if rows else (Decimal(0), 0)


async def differences(database: Database) -> list[Any]:
    """Totals of the day that are not what the events say."""
    async with database.system() as connection:
        return (await check_totals(connection, CheckTotals(day=date(2026, 3, 1), limit=1000))).differences


async def pending(database: Database) -> int:
    """How many increments wait for the roller."""
    async with database.system() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM usage_deltas"))).scalar_one())


async def insist(work: Callable[[], Any]) -> Any:
    """Do it until it does not fail for a passing cause, as redelivery does."""
    while True:
        try:
            return await work()
        except Exception as error:
            if not is_transient(error):
                raise


async def kill_someone(database: Database) -> bool:
    """End one session that is at work in this database, if there is one."""
    victim = text("""
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
        ORDER BY random() LIMIT 1
    """)
    async with database.system() as connection:
        return (await connection.execute(victim)).first() is not None


async def test_a_total_is_exact_before_during_and_after_it_is_moved(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    A query never sees an increment twice or not at all, however often it is asked while the roller works.
    """
    ours = messages()
    batch = [ours.usage(f"evt_{n}", "0.5", time=NOON + timedelta(minutes=n)) for n in range(300)]
    async with database.system() as connection:
        await take_in(connection, batch)
    rolling = asyncio.create_task(roll(database))
    seen = {await total(database)}
    while not rolling.done():
        seen.add(await total(database))
    seen.add(await total(database))

    assert {(Decimal(150), 300)} == seen
    assert (300, 0) == (await rolling, await pending(database))


async def test_replicas_that_are_killed_lose_and_double_nothing(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    Three replicas take the same and different batches in, two rollers move them, and sessions are ended in the middle
    of their transactions: every event counts once, and every total is the sum of its events.
    """
    ours = messages()
    chance = random.Random(7)
    events = [
        ours.usage(
            f"evt_{n}", f"{n}.25", chance.choice(["tasks", "pages"]), time=NOON + timedelta(seconds=40 * n)
        )
        for n in range(600)
    ]
    accepted = 0
    working = True

    async def take(batch: list[Envelope[Any]]) -> int:
        async with database.system() as connection:
            taken = await take_in(connection, batch)
        return taken.count(Taken.ACCEPTED)

    async def replica(number: int) -> None:
        nonlocal accepted
        batches = [events[start : start + 30] for start in range(0, len(events), 30)]
        random.Random(number).shuffle(batches)
        for batch in batches:
            accepted += await insist(partial(take, batch))

    async def roller() -> None:
        while working:
            await insist(lambda: roll(database))

    async def killer() -> None:
        kills = 0
        while kills < KILLS and working:
            kills += await insist(lambda: kill_someone(database))
            await asyncio.sleep(0.01)

    background = [asyncio.create_task(one) for one in (roller(), roller(), killer())]
    await asyncio.gather(*(replica(number) for number in range(3)))
    working = False
    await asyncio.gather(*background)
    await insist(lambda: roll(database))

    expected = sum((event.data.quantity for event in events), Decimal(0))
    assert (expected, 600) == await insist(lambda: total(database))
    # Whoever was killed after its commit was told nothing, and found its events there the next time.
    assert accepted <= 600
    assert [] == await differences(database)
    assert 0 == await pending(database)


async def test_a_roller_that_dies_leaves_everything_to_the_next(
    database: Database, messages: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A crash after the increments were moved and before the commit moves nothing; the next roller moves all, once.
    """
    async with database.system() as connection:
        await take_in(connection, [messages().usage(f"evt_{n}") for n in range(5)])
    async with database.system() as connection:
        prepared = await store.prepare_roll(connection, 100)
        assert prepared is not None
    with pytest.raises(ConnectionResetError):
        async with database.system() as connection:
            assert await store.lock_roller(connection)
            assert 1 == await store.roll(connection, *prepared)
            raise ConnectionResetError
    assert (Decimal(5), 5) == await total(database)

    assert 1 == await roll(database)
    assert (Decimal(5), 5) == await total(database)


async def test_one_roller_at_a_time(database: Database, messages: Callable[..., Any]) -> None:
    """
    While one replica moves increments another leaves them to it, and waits for nothing.
    """
    async with database.system() as connection:
        await take_in(connection, [messages().usage("evt_1")])
    async with database.system() as connection:
        assert await store.lock_roller(connection)
        assert 0 == await roll(database)

    assert 1 == await roll(database)


async def test_many_increments_are_moved_in_steps(
    database: Database, messages: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    More than fit into one transaction are moved in several, across months of usage.
    """
    monkeypatch.setattr(totals, "ROLL_LIMIT", 7)
    ours = messages()
    async with database.system() as connection:
        await take_in(
            connection, [ours.usage(f"evt_{n}", time=NOON + timedelta(days=9 * n)) for n in range(30)]
        )

    assert 30 == await roll(database)
    assert [] == await differences(database)
