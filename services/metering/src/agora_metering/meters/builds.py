"""SQL for making a meter's totals from the stored events. Never commits.

Exact while usage comes in: the tenant's lock is taken alone (ingest shares it), what the meter has is cleared, and a
snapshot is opened on a second connection before the lock is given up. What was stored by then is in the snapshot and
is added by its transaction; what is stored later is added by ingest, which knows the meter.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from agora_contracts.meters import MeterState
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.database import Database
from sqlalchemy import Column, Integer, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata
from agora_metering.totals.model import Definition, as_recorded
from agora_metering.totals.store import INSERT_DELTAS, defined_deltas, defined_parameters

meter_builds = Table(
    "meter_builds",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    PrimaryKeyConstraint("tenant_id", "key", "generation"),
)

_BUILD_LOCK = 7_203_105
CHUNK_PAGES = 4096
"""How much of the stored events is read in one statement, in pages of 8 KB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A meter whose totals are to be made; under `deleting`, those of what was recorded under its key."""

    definition: Definition
    state: MeterState
    generation: int
    written: bool
    """Whether its totals are made and only its state is not up to that."""

    @property
    def key(self) -> tuple[str, str]:
        """The meter's tenant and key."""
        return self.definition.tenant, self.definition.key

    @property
    def target(self) -> Definition:
        """What the totals are made by."""
        if self.state == "deleting":
            return as_recorded(self.definition.tenant, self.definition.key)
        return self.definition


async def due(connection: AsyncConnection) -> list[Build]:
    """The meters whose totals are to be made, oldest first."""
    rows = await connection.execute(
        text("""
            SELECT m.tenant_id AS tenant, m.key, m.event, m.aggregation, m.value, m.dimensions, m.state, m.generation,
                   EXISTS (SELECT FROM meter_builds b WHERE b.tenant_id = m.tenant_id AND b.key = m.key
                               AND b.generation = m.generation) AS written
            FROM meters m WHERE m.state <> 'active' ORDER BY m.created_at, m.tenant_id, m.key
        """)
    )
    return [_build(dict(row._mapping)) for row in rows]


def _build(row: dict[str, Any]) -> Build:
    state, generation, written = row.pop("state"), row.pop("generation"), row.pop("written")
    return Build(definition=Definition(**row), state=state, generation=generation, written=written)


async def clear(connection: AsyncConnection, build: Build) -> None:
    """Delete everything that is totalled under the meter's key, under the roller's lock."""
    for_all = "true" if build.definition.tenant == PLATFORM_TENANT else "tenant_id = :tenant"
    which = {"tenant": build.definition.tenant, "key": build.definition.key}
    series = f"SELECT id FROM usage_series WHERE meter = :key AND {for_all}"
    for table in ("usage_minute", "usage_hour", "usage_day"):
        await connection.execute(text(f"DELETE FROM {table} WHERE series IN ({series})"), which)
    for table in ("usage_series", "usage_deltas"):
        await connection.execute(text(f"DELETE FROM {table} WHERE meter = :key AND {for_all}"), which)
    # Also a month of which nothing is left is told again, once the totals are made.
    await connection.execute(
        text(f"UPDATE period_totals SET dirty = true WHERE meter = :key AND {for_all}"), which
    )


async def has_totals_before(connection: AsyncConnection, tenant: str, key: str, month: date) -> bool:
    """Whether anything is totalled under a key of the time before a month."""
    whose = "" if tenant == PLATFORM_TENANT else "AND s.tenant_id = :tenant"
    found = await connection.execute(
        text(f"""
            SELECT EXISTS (
                SELECT FROM usage_series s JOIN usage_day d ON d.series = s.id
                WHERE s.meter = :key {whose} AND d.start < CAST(:month AS date)::timestamp AT TIME ZONE 'UTC'
            )
        """),
        {"key": key, "tenant": tenant, "month": month} if whose else {"key": key, "month": month},
    )
    return bool(found.scalar_one())


async def finish(connection: AsyncConnection, build: Build) -> None:
    """Note that the totals are made: the meter is active, or gone."""
    which = {"tenant": build.definition.tenant, "key": build.definition.key, "generation": build.generation}
    now = "generation = :generation AND tenant_id = :tenant AND key = :key"
    if build.state == "deleting":
        await connection.execute(text(f"DELETE FROM meters WHERE {now}"), which)
    else:
        await connection.execute(
            text(f"UPDATE meters SET state = 'active', progress_percent = 100 WHERE {now}"), which
        )
    await connection.execute(text("DELETE FROM meter_builds WHERE tenant_id = :tenant AND key = :key"), which)


async def note_progress(connection: AsyncConnection, build: Build, percent: int) -> None:
    """Note how far a build is."""
    await connection.execute(
        text("""
            UPDATE meters SET progress_percent = :percent
            WHERE tenant_id = :tenant AND key = :key AND generation = :generation
        """),
        {
            "tenant": build.definition.tenant,
            "key": build.definition.key,
            "generation": build.generation,
            "percent": percent,
        },
    )


# --- the snapshot, on a connection of its own -----------------------------------------------------


@asynccontextmanager
async def snapshot_connection(database: Database, build: Build) -> AsyncIterator[AsyncConnection | None]:
    """A connection whose transactions each see one moment, and that alone makes these totals; None if another does.

    The lock belongs to the connection that will write: whoever loses it has lost what was written, too.
    """
    engine = database.engines[1]
    name = {"name": "\x1f".join(build.key)}
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="REPEATABLE READ")
        lock = text(f"SELECT pg_try_advisory_lock({_BUILD_LOCK}, hashtext(:name))")
        locked = (await connection.execute(lock, name)).scalar_one()
        await connection.commit()
        try:
            yield connection if locked else None
        finally:
            await connection.rollback()
            if locked:
                unlock = text(f"SELECT pg_advisory_unlock({_BUILD_LOCK}, hashtext(:name))")
                await connection.execute(unlock, name)
                await connection.commit()


async def fix_snapshot(connection: AsyncConnection) -> None:
    """Begin the transaction that sees what is stored at this moment, and nothing later."""
    await connection.execute(text("SELECT FROM usage_period"))


async def chunks(connection: AsyncConnection) -> list[tuple[date, int]]:
    """The stored events in pieces: a month and the page that a piece begins with."""
    rows = await connection.execute(
        text("""
            SELECT to_date(right(c.relname, 7), 'YYYY_MM') AS month, page::int
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
                 generate_series(0, greatest(pg_relation_size(c.oid) / 8192 - 1, 0), :pages) AS page
            WHERE i.inhparent = 'usage_events'::regclass ORDER BY 1, 2
        """),
        {"pages": CHUNK_PAGES},
    )
    return [(row.month, row.page) for row in rows]


async def add_chunk(connection: AsyncConnection, build: Build, month: date, page: int) -> None:
    """Add a piece of the stored events to what is to be moved into the totals."""
    target = build.target
    whose = "" if target.tenant == PLATFORM_TENANT else "AND tenant_id = :tenant"
    columns = defined_parameters([target])
    statement = f"""
        WITH piece AS MATERIALIZED (
            SELECT * FROM usage_effective WHERE accepted_month = :month AND meter = :event AND NOT voided {whose}
                AND place >= '({page},0)' AND place < '({page + CHUNK_PAGES},0)'
        ), defined AS MATERIALIZED (
            SELECT tenant_id, :key AS key, :event AS event, CAST(:merge AS int) AS merge,
                   CAST(:counts AS boolean) AS counts, CAST(:value AS text) AS value,
                   CAST(:dimensions AS text)::jsonb AS dimensions
            FROM (SELECT DISTINCT tenant_id FROM piece) AS tenants
        )
        {INSERT_DELTAS} {defined_deltas("piece")}
    """
    await connection.execute(
        text(statement),
        {
            "month": month,
            "event": target.event,
            "tenant": target.tenant,
            "key": target.key,
            "merge": columns["d_merges"][0],
            "counts": columns["d_counts"][0],
            "value": columns["d_values"][0],
            "dimensions": columns["d_dimensions"][0],
        },
    )


async def note_written(connection: AsyncConnection, build: Build) -> None:
    """Note that the totals are made, in the transaction that made them: its snapshot cannot see the meter."""
    await connection.execute(
        text("INSERT INTO meter_builds VALUES (:tenant, :key, :generation)"),
        {"tenant": build.definition.tenant, "key": build.definition.key, "generation": build.generation},
    )
