"""SQL for partitions. Never commits, except what PostgreSQL only does outside of a transaction."""

from dataclasses import dataclass
from datetime import date, datetime

import asyncpg
from sqlalchemy import Boolean, Column, Date, PrimaryKeyConstraint, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata

usage_kept = Table(
    "usage_kept",
    metadata,
    Column("single", Boolean, nullable=False, server_default="true"),
    Column("since", Date, nullable=False),
    PrimaryKeyConstraint("single"),
)

LOCK_TIMEOUT = "2s"
"""How long a sweep waits for others, which then wait behind it; it tries again with the next round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A month of a partitioned table. A detached one has no parent any more."""

    name: str
    parent: str | None
    month: date
    detaching: bool


async def ensure(connection: AsyncConnection, month: date) -> None:
    """Make the partition of the events that are accepted in a month."""
    statement = text("SELECT ensure_usage_partition('usage_events', :month)")
    await connection.execute(statement, {"month": month})


async def accept_into(connection: AsyncConnection, month: date) -> bool:
    """Let events be accepted into a month from now on, once those of the month before are all committed.

    Returns whether that is new. It never goes back.
    """
    await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    moved = await connection.execute(
        text("UPDATE usage_period SET current = :month WHERE current < :month RETURNING current"),
        {"month": month},
    )
    return moved.first() is not None


async def current_month(connection: AsyncConnection) -> date:
    """The month that is accepted into."""
    month: date = (await connection.execute(text("SELECT current FROM usage_period"))).scalar_one()
    return month


async def clock(connection: AsyncConnection) -> datetime:
    """The database's clock."""
    now: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return now


async def keep_since(connection: AsyncConnection, month: date) -> None:
    """Say that of the time before a month nothing is kept any more by event and by minute."""
    await connection.execute(
        text("""
            INSERT INTO usage_kept AS kept (since) VALUES (:month)
            ON CONFLICT (single) DO UPDATE SET since = greatest(kept.since, excluded.since)
        """),
        {"month": month},
    )


async def kept_since(connection: AsyncConnection) -> date | None:
    """Since which month everything is kept by event and by minute; None when nothing was ever dropped."""
    month: date | None = (await connection.execute(text("SELECT since FROM usage_kept"))).scalar_one_or_none()
    return month


async def before(connection: asyncpg.Connection, month: date) -> list[Partition]:
    """The partitions of earlier months, also those whose dropping was interrupted, oldest first."""
    rows = await connection.fetch(
        """
        SELECT c.relname AS name, to_date(right(c.relname, 7), 'YYYY_MM') AS month, parent.relname AS parent,
               coalesce(i.inhdetachpending, false) AS detaching
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'partitions'
        LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class parent ON parent.oid = i.inhparent
        WHERE c.relkind = 'r' AND right(c.relname, 7) < to_char($1::date, 'YYYY_MM') ORDER BY 2, 1
        """,
        month,
    )
    return [Partition(**row) for row in rows]


async def drop(connection: asyncpg.Connection, partition: Partition) -> None:
    """Drop a partition, as the owner, without a lock that anybody waits for.

    Detaching waits for transactions that use the table, and nobody waits for it; a detaching that was interrupted is
    finished. Only the detached table, which nobody knows, is then locked.

    Raises:
        asyncpg.LockNotAvailableError: a transaction went on for too long; what is begun is finished another time.
    """
    await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    if partition.parent is not None:
        how = "FINALIZE" if partition.detaching else "CONCURRENTLY"
        await connection.execute(
            f'ALTER TABLE {partition.parent} DETACH PARTITION partitions."{partition.name}" {how}'
        )
    await connection.execute(f'DROP TABLE partitions."{partition.name}"')
