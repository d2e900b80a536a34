"""SQL for the keys under which schedules run. Never commits."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def lock(connection: AsyncConnection, tenant: str) -> None:
    """Let one thing at a time say under which key a tenant's schedules run, or that a key works no more.

    Taken before any row is locked.
    """
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtext('schedules:' || :tenant))"), {"tenant": tenant}
    )


async def note_revoked(connection: AsyncConnection, tenant: str, key: str, at: datetime) -> None:
    """Keep that a key was revoked."""
    await connection.execute(
        text("""
            INSERT INTO revoked_keys (id, tenant_id, at) VALUES (:key, :tenant, :at) ON CONFLICT (id) DO NOTHING
        """),
        {"key": key, "tenant": tenant, "at": at},
    )


async def is_revoked(connection: AsyncConnection, key: str) -> bool:
    """Whether a key was revoked."""
    query = text("SELECT EXISTS (SELECT FROM revoked_keys WHERE id = :key)")
    return bool((await connection.execute(query, {"key": key})).scalar_one())


async def schedules_of(connection: AsyncConnection, tenant: str, key: str) -> list[str]:
    """A tenant's active schedules whose runs a key asks for."""
    rows = await connection.execute(
        text("""
            SELECT id FROM schedules WHERE tenant_id = :tenant AND requested_by = :key AND state = 'active' ORDER BY id
        """),
        {"tenant": tenant, "key": key},
    )
    return list(rows.scalars())


async def ask_as(connection: AsyncConnection, schedule: str, key: str, expires_at: datetime | None) -> None:
    """Let a locked schedule's runs be asked for by another key from now on."""
    await connection.execute(
        text("UPDATE schedules SET requested_by = :key, key_expires_at = :expires_at WHERE id = :id"),
        {"id": schedule, "key": key, "expires_at": expires_at},
    )


async def on_expired(connection: AsyncConnection, limit: int) -> list[tuple[str, str]]:
    """Active schedules whose key is over: id and tenant."""
    rows = await connection.execute(
        text("""
            SELECT id, tenant_id FROM schedules WHERE state = 'active' AND key_expires_at <= now()
            ORDER BY key_expires_at LIMIT :limit
        """),
        {"limit": limit},
    )
    return [(row.id, row.tenant_id) for row in rows]


async def expire(connection: AsyncConnection, retention_days: int) -> None:
    """Forget keys that were revoked long ago: nothing runs under them any more."""
    await connection.execute(
        text("DELETE FROM revoked_keys WHERE at < now() - make_interval(days => :days)"),
        {"days": retention_days},
    )
