"""SQL for export jobs. Never commits."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from agora_contracts.exports import RequestUsageExport
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata
from agora_metering.exports.model import Export

usage_exports = Table(
    "usage_exports",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("meter", Text),
    Column("package", Text),
    Column("deployment", Text),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lease", Uuid),
    Column("leased_until", DateTime(timezone=True)),
    Column("rows_done", BigInteger, nullable=False, server_default="0"),
    Column("rows_total", BigInteger),
    Column("file", Text),
    Column("error", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Column("expires_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("tenant_id", "id"),
    CheckConstraint(
        "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')", name="state"
    ),
)
Index(
    "ix_usage_exports_created_at", usage_exports.c.tenant_id, usage_exports.c.created_at, usage_exports.c.id
)
Index(
    "ix_usage_exports_open",
    usage_exports.c.created_at,
    postgresql_where=text("state IN ('queued', 'running')"),
)
Index(
    "ix_usage_exports_expires_at",
    usage_exports.c.expires_at,
    postgresql_where=text("state = 'succeeded'"),
)

_COLUMNS = """
    tenant_id AS tenant, id, what, format, starts_at AS start, ends_at AS "end", meter, package, deployment, state,
    attempts, rows_done, rows_total, file, error, created_at, finished_at, expires_at
"""


async def insert(connection: AsyncConnection, command: RequestUsageExport, now: datetime) -> None:
    """Queue an export unless it is there."""
    await connection.execute(
        text("""
            INSERT INTO usage_exports
                (tenant_id, id, what, format, starts_at, ends_at, meter, package, deployment, state, created_at)
            VALUES (:tenant, :id, :what, :format, :start, :end, :meter, :package, :deployment, 'queued', :now)
            ON CONFLICT DO NOTHING
        """),
        {
            "tenant": command.tenant,
            "id": command.id,
            "what": command.what,
            "format": command.format,
            "start": command.start,
            "end": command.end,
            "meter": command.meter,
            "package": command.package,
            "deployment": command.deployment,
            "now": now,
        },
    )


async def lock_open(connection: AsyncConnection, tenant: str) -> int:
    """How many exports of a tenant are not done; nobody else asks for one until the transaction ends."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtext('usage_exports:' || :tenant))"), {"tenant": tenant}
    )
    rows = await connection.execute(
        text(
            "SELECT count(*) FROM usage_exports WHERE tenant_id = :tenant AND state IN ('queued', 'running')"
        ),
        {"tenant": tenant},
    )
    return int(rows.scalar_one())


async def read(connection: AsyncConnection, tenant: str, id: str) -> Export | None:
    """One export, or None."""
    rows = await connection.execute(
        text(f"SELECT {_COLUMNS} FROM usage_exports WHERE tenant_id = :tenant AND id = :id"),
        {"tenant": tenant, "id": id},
    )
    row = rows.one_or_none()
    return None if row is None else _export(row)


async def page(
    connection: AsyncConnection, tenant: str, before: tuple[datetime, str] | None, limit: int
) -> list[Export]:
    """A tenant's exports, newest first, at most `limit`."""
    rows = await connection.execute(
        text(f"""
            SELECT {_COLUMNS} FROM usage_exports
            WHERE tenant_id = :tenant
                AND (CAST(:before_at AS timestamptz) IS NULL OR (created_at, id) < (:before_at, :before_id))
            ORDER BY created_at DESC, id DESC LIMIT :limit
        """),
        {
            "tenant": tenant,
            "before_at": before[0] if before else None,
            "before_id": before[1] if before else "",
            "limit": limit,
        },
    )
    return [_export(row) for row in rows]


async def cancel(connection: AsyncConnection, tenant: str, id: str, now: datetime) -> None:
    """Cancel an export that is not done; whoever is at it notices."""
    await connection.execute(
        text("""
            UPDATE usage_exports SET state = 'cancelled', finished_at = :now, lease = NULL
            WHERE tenant_id = :tenant AND id = :id AND state IN ('queued', 'running')
        """),
        {"tenant": tenant, "id": id, "now": now},
    )


# --- doing it ------------------------------------------------------------------------------------


async def claim(connection: AsyncConnection, lease: uuid.UUID, lease_seconds: float) -> Export | None:
    """Take the oldest export that nobody is at, or whose holder has not been heard of for too long."""
    rows = await connection.execute(
        text(f"""
            UPDATE usage_exports SET state = 'running', lease = :lease, attempts = attempts + 1, rows_done = 0,
                leased_until = now() + :duration
            WHERE (tenant_id, id) = (
                SELECT tenant_id, id FROM usage_exports
                WHERE state = 'queued' OR (state = 'running' AND leased_until < now())
                ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED
            ) RETURNING {_COLUMNS}
        """),
        {"lease": lease, "duration": timedelta(seconds=lease_seconds)},
    )
    row = rows.one_or_none()
    return None if row is None else _export(row)


async def hold(
    connection: AsyncConnection, lease: uuid.UUID, lease_seconds: float, *, done: int, total: int | None
) -> bool:
    """Say how far the export is, and keep it. False when it was cancelled, or somebody else has taken it."""
    result = await connection.execute(
        text("""
            UPDATE usage_exports SET rows_done = :done, rows_total = :total, leased_until = now() + :duration
            WHERE lease = :lease AND state = 'running'
        """),
        {"lease": lease, "done": done, "total": total, "duration": timedelta(seconds=lease_seconds)},
    )
    return result.rowcount == 1


async def let_go(connection: AsyncConnection, lease: uuid.UUID) -> None:
    """Give an export back that will not be finished now."""
    await connection.execute(
        text("UPDATE usage_exports SET leased_until = now() WHERE lease = :lease AND state = 'running'"),
        {"lease": lease},
    )


async def succeed(
    connection: AsyncConnection,
    lease: uuid.UUID,
    *,
    file: str,
    rows: int,
    now: datetime,
    expires_at: datetime,
) -> bool:
    """Note that the file is there. False when the export is not ours any more."""
    result = await connection.execute(
        text("""
            UPDATE usage_exports SET state = 'succeeded', file = :file, rows_done = :rows, rows_total = :rows,
                finished_at = :now, expires_at = :expires_at, lease = NULL
            WHERE lease = :lease AND state = 'running'
        """),
        {"lease": lease, "file": file, "rows": rows, "now": now, "expires_at": expires_at},
    )
    return result.rowcount == 1


async def fail(connection: AsyncConnection, lease: uuid.UUID, error: str, now: datetime) -> None:
    """Note that no later attempt will end otherwise."""
    await connection.execute(
        text("""
            UPDATE usage_exports SET state = 'failed', error = :error, finished_at = :now, lease = NULL
            WHERE lease = :lease AND state = 'running'
        """),
        {"lease": lease, "error": error[:500], "now": now},
    )


async def claim_expired(connection: AsyncConnection, limit: int) -> Sequence[tuple[str, str, str]]:
    """Exports whose file is to be deleted: tenant, id and file."""
    rows = await connection.execute(
        text("""
            SELECT tenant_id, id, file FROM usage_exports
            WHERE state = 'succeeded' AND expires_at <= now() ORDER BY expires_at LIMIT :limit
        """),
        {"limit": limit},
    )
    return [(tenant, id, file) for tenant, id, file in rows]


async def mark_expired(connection: AsyncConnection, tenant: str, id: str) -> None:
    """Note that the file is gone."""
    await connection.execute(
        text(
            "UPDATE usage_exports SET state = 'expired', file = NULL WHERE tenant_id = :tenant AND id = :id"
        ),
        {"tenant": tenant, "id": id},
    )


def _export(row: Row[Any]) -> Export:
    return Export(**row._mapping)
