"""Use cases of partitions: the month that begins, and the months that are not kept."""

from datetime import datetime, timedelta

import asyncpg
import structlog
from agora_kit.database import Database

from agora_metering.partitions import model, store

log = structlog.get_logger()

CLOCKS_APART_MAX = timedelta(hours=1)


async def keep_up(database: Database, now: datetime) -> None:
    """Make the partitions of this month and the next, and accept events into this one."""
    month = model.month_of(now)
    async with database.system() as connection:
        for one in (month, model.month_after(month)):
            await store.ensure(connection, one)
    async with database.system() as connection:
        moved = await store.accept_into(connection, month)
    if moved:
        log.info("events are accepted into a new month", month=month.isoformat())


async def earlier_clock(database: Database, now: datetime) -> datetime:
    """The earlier of a process's clock and the database's, which all processes share.

    A month that is accepted into never goes back: begun early by a clock that is months ahead, duplicates of the months
    between would not be looked for, and what is kept would be dropped. Begun late, nothing is missed.
    """
    async with database.system() as connection:
        theirs = await store.clock(connection)
    if abs(theirs - now) > CLOCKS_APART_MAX:
        log.error(
            "this process's clock and the database's are far apart: set them; the earlier one counts",
            alarm="clock",
            process=now.isoformat(),
            database=theirs.isoformat(),
        )
    return min(now, theirs)


async def drop_old(database: Database, owner_url: str, retention_months: int) -> list[str]:
    """Drop the months that are not kept, as the owner of the tables. Returns their partitions."""
    async with database.system() as connection:
        kept = model.first_kept(await store.current_month(connection), retention_months)
    owner = await asyncpg.connect(owner_url.replace("+asyncpg", ""), timeout=5)
    try:
        dropped = []
        partitions = await store.before(owner, kept)
        if partitions:
            async with database.system() as connection:
                await store.keep_since(connection, kept)
        for partition in partitions:
            await store.drop(owner, partition)
            log.info("partition dropped", partition=partition.name)
            dropped.append(partition.name)
        return dropped
    finally:
        await owner.close()
