"""SQL for the definitions of meters. Never commits."""

from collections.abc import Collection
from typing import Any

from agora_contracts.meters import CreateMeter, Meter, MeterState
from agora_contracts.subjects import PLATFORM_TENANT
from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    bindparam,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata
from agora_metering.meters.model import resolve
from agora_metering.totals.model import Definition

meters = Table(
    "meters",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("aggregation", Text, nullable=False),
    Column("value", Text),
    Column("dimensions", JSONB, nullable=False),
    Column("state", Text, nullable=False),
    Column("progress_percent", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("tenant_id", "key"),
    CheckConstraint("state IN ('backfilling', 'active', 'deleting')", name="state"),
)

_KEY_LOCK = 7_203_104
_JSON_DIMENSIONS = bindparam("dimensions", type_=JSONB)

_COLUMNS = """
    tenant_id AS tenant, key, unit, aggregation, event, state, created_at, description, value, dimensions,
    progress_percent
"""


def _meter(row: Row[Any]) -> Meter:
    return Meter(**row._mapping)


async def definitions_of(connection: AsyncConnection, tenants: Collection[str]) -> list[Definition]:
    """The definitions by which usage of these tenants is totalled now, each for its tenant."""
    rows = await connection.execute(
        text("""
            SELECT tenant_id AS tenant, key, event, aggregation, value, dimensions FROM meters
            WHERE tenant_id = ANY(CAST(:tenants AS text[])) AND state <> 'deleting'
            ORDER BY tenant_id, key
        """),
        {"tenants": [*sorted(tenants), PLATFORM_TENANT]},
    )
    return resolve([Definition(**row._mapping) for row in rows], tenants)


async def lock_key(connection: AsyncConnection, key: str) -> None:
    """Keep everybody else from defining a meter under this key, for whatever tenant, until the transaction ends."""
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_KEY_LOCK}, hashtext(:key))"), {"key": key})


async def is_taken(connection: AsyncConnection, tenant: str, key: str) -> bool:
    """Whether the key is the platform's, or, when the platform asks, some tenant's."""
    found = await connection.execute(
        text("""
            SELECT EXISTS (SELECT FROM meters WHERE key = :key AND tenant_id <> :tenant
                               AND (tenant_id = :platform OR :tenant = :platform))
        """),
        {"key": key, "tenant": tenant, "platform": PLATFORM_TENANT},
    )
    return bool(found.scalar_one())


async def is_priced(connection: AsyncConnection, key: str) -> bool:
    """Whether a published price rates what is recorded under this key."""
    found = await connection.execute(
        text("SELECT EXISTS (SELECT FROM priced_meters WHERE tenant_id = :platform AND meter = :key)"),
        {"platform": PLATFORM_TENANT, "key": key},
    )
    return bool(found.scalar_one())


async def insert(connection: AsyncConnection, command: CreateMeter) -> bool:
    """Store a definition that is to be back-filled; False when the tenant has one under its key."""
    rows = await connection.execute(
        text("""
            INSERT INTO meters (tenant_id, key, unit, description, event, aggregation, value, dimensions, state,
                                progress_percent, generation)
            VALUES (:tenant, :key, :unit, :description, :event, :aggregation, :value, :dimensions, 'backfilling', 0, 1)
            ON CONFLICT DO NOTHING RETURNING key
        """).bindparams(_JSON_DIMENSIONS),
        {
            "tenant": command.tenant,
            "key": command.key,
            "unit": command.unit,
            "description": command.description,
            "event": command.event or command.key,
            "aggregation": command.aggregation,
            "value": command.value,
            "dimensions": command.dimensions,
        },
    )
    return rows.first() is not None


async def count(connection: AsyncConnection, tenant: str) -> int:
    """How many meters a tenant has defined."""
    statement = text("SELECT count(*) FROM meters WHERE tenant_id = :tenant")
    number: int = (await connection.execute(statement, {"tenant": tenant})).scalar_one()
    return number


async def find(connection: AsyncConnection, tenant: str, key: str) -> Meter | None:
    """A tenant's own meter."""
    statement = text(f"SELECT {_COLUMNS} FROM meters WHERE tenant_id = :tenant AND key = :key")
    row = (await connection.execute(statement, {"tenant": tenant, "key": key})).one_or_none()
    return None if row is None else _meter(row)


async def visible_to(connection: AsyncConnection, tenant: str) -> list[Meter]:
    """A tenant's meters and the platform's, by key."""
    rows = await connection.execute(
        text(f"""
            SELECT {_COLUMNS} FROM meters WHERE tenant_id IN (:tenant, :platform) ORDER BY key
        """),
        {"tenant": tenant, "platform": PLATFORM_TENANT},
    )
    return [_meter(row) for row in rows]


async def start_build(connection: AsyncConnection, tenant: str, key: str, state: MeterState) -> None:
    """Note that a meter's totals have to be made anew."""
    await connection.execute(
        text("""
            UPDATE meters SET state = :state, progress_percent = 0, generation = generation + 1
            WHERE tenant_id = :tenant AND key = :key
        """),
        {"tenant": tenant, "key": key, "state": state},
    )
