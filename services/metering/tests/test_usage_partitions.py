"""Months on a real database: the next one begins, old ones go, and usage comes in all the while."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest
from agora_contracts.envelope import Envelope
from agora_contracts.metering import QueryUsage, UsageReport
from agora_contracts.meters import CheckTotals, RebuildMeter
from agora_contracts.problems import AgoraError
from agora_kit.database import Database
from agora_kit.provision import DatabaseUrls
from agora_metering.app import build
from agora_metering.checks.service import check_totals
from agora_metering.meters import service as meters
from agora_metering.partitions import model, service, store
from agora_metering.queries.service import query_usage
from agora_metering.settings import MeteringSettings
from agora_metering.totals.service import roll
from agora_metering.usage.model import Taken
from agora_metering.usage.service import take_in
from sqlalchemy import text

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps wait for as long as it takes, so that nothing depends on how fast the machine is."""
    monkeypatch.setattr(store, "LOCK_TIMEOUT", "60s")


async def count(database: Database, *events: Envelope[Any]) -> list[Taken]:
    """Take one batch in."""
    async with database.system() as connection:
        return await take_in(connection, events)


async def current(database: Database) -> datetime:
    """The middle of the month that is accepted into."""
    async with database.system() as connection:
        month = await store.current_month(connection)
    return datetime(month.year, month.month, 15, tzinfo=UTC)


async def move_on(database: Database, months: int = 1) -> None:
    """Let so many months pass, as the clock does."""
    for _ in range(months):
        next_month = model.month_after((await current(database)).date().replace(day=1))
        await service.keep_up(database, datetime(next_month.year, next_month.month, 1, tzinfo=UTC))


async def partitions(owner: asyncpg.Connection) -> list[str]:
    """All partitions there are."""
    rows = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'partitions'::regnamespace AND relkind = 'r'"
    )
    return sorted(row["relname"] for row in rows)


@pytest.fixture
async def owner(urls: DatabaseUrls) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the tables."""
    connection = await asyncpg.connect(urls.owner.replace("+asyncpg", ""))
    yield connection
    await connection.close()


async def test_a_duplicate_is_found_in_the_months_before(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    An event that comes again one and two months later is known; one that says something else collides.
    """
    sound, forged = messages().usage("evt_1", 5), messages().usage("evt_1", 6)
    await count(database, sound)
    for _ in range(2):
        await move_on(database)
        assert [Taken.DUPLICATE, Taken.COLLISION, Taken.ACCEPTED] == await count(
            database, sound, forged, messages().usage(f"evt_{await current(database)}")
        )
    await move_on(database)

    assert [Taken.ACCEPTED] == await count(database, sound)


async def test_a_month_begins_while_usage_comes_in(database: Database, messages: Callable[..., Any]) -> None:
    """
    Replicas that take the same events in while the month changes count each of them once.
    """
    batches = [[messages().usage(f"evt_{b}_{n}") for n in range(10)] for b in range(12)]

    async def replica() -> int:
        return sum([(await count(database, *batch)).count(Taken.ACCEPTED) for batch in batches])

    moving = asyncio.create_task(move_on(database))
    accepted = await asyncio.gather(*(replica() for _ in range(3)))
    await moving

    assert 120 == sum(accepted)


async def until_waiting(database: Database, statement: str) -> None:
    """Return once somebody waits for a lock with a statement that begins like this."""
    waits = text("""
        SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :statement || '%'
    """)
    async with asyncio.timeout(20):
        while True:
            async with database.system() as connection:
                if (await connection.execute(waits, {"statement": statement})).scalar_one():
                    return
            await asyncio.sleep(0.01)


async def test_the_next_month_waits_for_what_is_accepted_into_this_one(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    A batch whose commit comes late is in the month that it began in, and whoever accepts into the next one sees it.
    """
    event = messages().usage("evt_1")
    async with database.system() as connection:
        assert [Taken.ACCEPTED] == await take_in(connection, [event])
        moving = asyncio.create_task(move_on(database))
        await until_waiting(database, "UPDATE usage_period")
    await moving

    assert [Taken.DUPLICATE] == await count(database, event)


async def test_a_sweep_that_was_away_for_months_catches_up(database: Database) -> None:
    """
    Whatever the month, its partition and the next one's are there; several replicas that make them at once make them
    once, and the clock of one that is behind moves nothing back.
    """
    later = datetime(2031, 12, 31, 23, 59, tzinfo=UTC)
    await asyncio.gather(*(service.keep_up(database, later) for _ in range(4)))
    for now in (later, later - timedelta(days=90)):
        await service.keep_up(database, now)

    assert date(2031, 12, 1) == (await current(database)).date().replace(day=1)


# --- what is not kept ----------------------------------------------------------------------------


async def test_old_months_are_dropped_while_usage_comes_in(
    database: Database,
    urls: DatabaseUrls,
    owner: asyncpg.Connection,
    messages: Callable[..., Any],
) -> None:
    """
    A batch that is not committed yet holds the dropping up, and nobody else: others are taken in and asked about
    meanwhile, without waiting for a lock.
    """
    await count(database, messages().usage("evt_old"))
    first = (await partitions(owner))[0]
    await move_on(database, 5)
    async with database.system() as slow:
        await take_in(slow, [messages().usage("evt_slow")])
        dropping = asyncio.create_task(service.drop_old(database, urls.owner, 4))
        await until_owner_waits(owner)
        async with database.system() as other:
            # Whoever would have to wait for a lock fails at once.
            await other.execute(text("SET LOCAL lock_timeout = '1ms'"))
            assert [Taken.ACCEPTED] == await take_in(other, [messages().usage("evt_other")])
            await other.execute(text("SELECT count(*) FROM usage_events"))
    await dropping

    assert first not in await partitions(owner)
    async with database.system() as connection:
        ids = (await connection.execute(text("SELECT id FROM usage_events ORDER BY id"))).scalars().all()
    assert ["evt_other", "evt_slow"] == list(ids)


async def until_owner_waits(owner: asyncpg.Connection) -> None:
    """Return once the owner, on another connection, waits with detaching a partition."""
    waits = """
        SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE%DETACH%' AND pid <> pg_backend_pid()
    """
    async with asyncio.timeout(20):
        while True:
            if await owner.fetchval(waits):
                return
            await asyncio.sleep(0.01)


async def test_an_interrupted_dropping_is_finished(
    database: Database,
    urls: DatabaseUrls,
    owner: asyncpg.Connection,
    messages: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Given up in the middle of detaching, and killed between detaching and dropping: the next round does the rest.
    """
    await count(database, messages().usage("evt_old"))
    await move_on(database, 6)
    first, second, third, *_ = await partitions(owner)
    with monkeypatch.context() as patch:
        patch.setattr(store, "LOCK_TIMEOUT", "50ms")
        async with database.system() as slow:
            await slow.execute(text("SELECT count(*) FROM usage_events"))
            with pytest.raises(asyncpg.LockNotAvailableError):
                await service.drop_old(database, urls.owner, 4)
    assert [Taken.ACCEPTED] == await count(database, messages().usage("evt_meanwhile"))
    assert [first, second] == await service.drop_old(database, urls.owner, 4)
    await owner.execute(f'ALTER TABLE usage_events DETACH PARTITION partitions."{third}" CONCURRENTLY')
    await move_on(database)

    assert [third] == await service.drop_old(database, urls.owner, 4)
    assert [] == await service.drop_old(database, urls.owner, 4)
    assert [Taken.ACCEPTED] == await count(database, messages().usage("evt_new"))


async def test_totals_by_hour_outlive_their_events(
    database: Database, urls: DatabaseUrls, messages: Callable[..., Any]
) -> None:
    """
    After the events and minutes of a month are gone its hours and days still answer; what would need minutes, and a
    check that would need events, is refused with the reason.
    """
    await count(database, messages().usage("evt_1", 3, time=NOON))
    await roll(database)
    await move_on(database, 5)
    await service.drop_old(database, urls.owner, 4)
    await roll(database)
    day = {"start": NOON.replace(hour=0, minute=0), "end": NOON.replace(day=2, hour=0, minute=0)}

    assert [Decimal(3)] == [row.quantity for row in (await report(database, **day, group_by=["hour"])).items]
    for changes in ({"group_by": ["minute"]}, {"group_by": ["day"], "time_zone": "Asia/Kolkata"}):
        with pytest.raises(AgoraError, match="cannot be answered") as refused:
            await report(database, **day, **changes)
        assert "are not kept" in refused.value.problem.errors[0].detail
    with pytest.raises(AgoraError, match="events are kept since"):
        async with database.system() as connection:
            await check_totals(connection, CheckTotals(day=NOON.date()))


async def report(database: Database, **query: Any) -> UsageReport:
    """Ask as the tenant's own role."""
    async with database.transaction("ten_1") as connection:
        return await query_usage(connection, QueryUsage(tenant="ten_1", **query))


async def test_partitions_are_not_seen_past_their_table(
    database: Database, owner: asyncpg.Connection, messages: Callable[..., Any]
) -> None:
    """
    A tenant's role sees nothing in a partition that it names directly.
    """
    await count(database, messages().usage("evt_1"))
    (name, *_) = await partitions(owner)
    async with database.transaction("ten_1") as connection:
        seen = (await connection.execute(text(f'SELECT count(*) FROM partitions."{name}"'))).scalar_one()

    assert 0 == seen


@pytest.mark.parametrize(("months", "url"), [(3, "postgresql://owner@nowhere/none"), (12, None)])
def test_a_retention_that_cannot_be_kept_is_refused(
    settings: MeteringSettings, months: int, url: str | None
) -> None:
    """
    Too short to find duplicates, or nobody there who may drop a partition: metering does not start.
    """
    wrong = msgspec.structs.replace(settings, usage_retention_months=months, database_owner_url=url)
    with pytest.raises(ValueError, match="AGORA_USAGE_RETENTION_MONTHS"):
        build(wrong)


async def test_a_clock_that_is_months_ahead_begins_no_month(database: Database) -> None:
    """
    The earlier of a process's clock and the database's counts, so that one that is wrong moves nothing that never goes
    back; one that is behind moves nothing either.
    """
    now = datetime.now(UTC)

    ahead = await service.earlier_clock(database, now + timedelta(days=150))
    behind = await service.earlier_clock(database, now - timedelta(days=150))

    assert timedelta(0) <= ahead - now < timedelta(hours=1)
    assert now - timedelta(days=150) == behind


async def test_a_rebuild_that_would_forget_is_refused(
    database: Database, urls: DatabaseUrls, messages: Callable[..., Any]
) -> None:
    """
    Totals from before the stored events cannot be made anew: they stay, and a rebuild says so. One of a meter that has
    none of them goes on.
    """
    old = datetime(2026, 1, 10, 12, tzinfo=UTC)
    await count(database, messages().usage("evt_old", 5, "calls", time=old))
    await roll(database)
    month = await current(database)
    await move_on(database, 5)
    await service.drop_old(database, urls.owner, 4)
    await count(database, messages().usage("evt_new", 3, "gb", time=month + timedelta(days=160)))
    await roll(database)

    async with database.system() as connection:
        with pytest.raises(AgoraError) as refused:
            await meters.rebuild_meter(connection, RebuildMeter(tenant="ten_1", key="calls"))
    async with database.system() as connection:
        allowed = await meters.rebuild_meter(connection, RebuildMeter(tenant="ten_1", key="gb"))
    query = QueryUsage(
        tenant="ten_1", start=old.replace(hour=0), end=old.replace(hour=0, day=11), meter="calls"
    )
    async with database.snapshot("ten_1") as connection:
        report = await query_usage(connection, query)

    assert "conflict" == refused.value.slug
    assert "would forget" in str(refused.value)
    assert "deleting" == allowed.state
    assert [Decimal(5)] == [one.quantity for one in report.items]


async def test_a_report_is_of_one_moment(database: Database, messages: Callable[..., Any]) -> None:
    """
    What is said of meters and what they came to belong together, whatever is written while a query goes on.
    """
    query = QueryUsage(tenant="ten_1", start=NOON, end=NOON + timedelta(days=1))
    async with database.snapshot("ten_1") as connection:
        await count(database, messages().usage("evt_1", 5, time=NOON))
        during = await query_usage(connection, query)
    async with database.snapshot("ten_1") as connection:
        after = await query_usage(connection, query)

    assert [0, 1] == [len(one.items) for one in (during, after)]
