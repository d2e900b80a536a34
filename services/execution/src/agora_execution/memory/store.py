"""SQL for memory. Never commits.

A text lives through three states: written (`indexed_at` is null), indexed, and deleted (`deleted_at` is set and its
words are gone) until its vector has been taken out; then its row goes, too. Who hands it to the vectors claims it
first, and nobody takes a vector out while somebody may still be putting it in.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from agora.memory import MemoryInUse
from agora_contracts.memory import ListMemory, MemoryEntry, MemoryPage
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy import Column, DateTime, Index, Integer, Row, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import metadata
from agora_execution.memory.model import Write, newest

memory = Table(
    "memory",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text),
    Column("value", JSONB),
    Column("text", Text),
    Column("payload", JSONB, nullable=False, server_default="{}"),
    Column("bytes", Integer, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("claimed_at", DateTime(timezone=True)),
    Column("indexed_at", DateTime(timezone=True)),
    Column("deleted_at", DateTime(timezone=True)),
)
Index("ix_memory_tenant", memory.c.tenant_id, memory.c.at, memory.c.id)
Index("ix_memory_package", memory.c.tenant_id, memory.c.package)
Index("ix_memory_at", memory.c.at, postgresql_where=memory.c.deleted_at.is_(None))
Index(
    "ix_memory_unsettled",
    memory.c.tenant_id,
    memory.c.package,
    memory.c.at,
    postgresql_where=text("kind = 'text' AND (indexed_at IS NULL OR deleted_at IS NOT NULL)"),
)

_PAGE_BYTES_MAX = 500_000
"""Of entries in one page: it has to fit into a message, whatever was asked for."""

_CLAIM_SECONDS = 180
"""After so long whoever claimed a text has either handed it to the vectors or died: it waits for them no longer."""

_COLUMNS = "id, package, kind, key, value, text, payload, bytes, run_id, at"

_KEEP = text("""
    INSERT INTO memory (id, tenant_id, package, kind, key, value, text, payload, bytes, run_id, at)
    SELECT w.id, w.tenant, w.package, CASE WHEN w.key IS NULL THEN 'text' ELSE 'value' END, w.key, w.value, w.text,
        w.payload, w.bytes, w.run, w.at
    FROM unnest(CAST(:ids AS text[]), CAST(:tenants AS text[]), CAST(:packages AS text[]), CAST(:keys AS text[]),
        CAST(:values AS jsonb[]), CAST(:texts AS text[]), CAST(:payloads AS jsonb[]), CAST(:sizes AS int[]),
        CAST(:runs AS text[]), CAST(:ats AS timestamptz[]))
        AS w(id, tenant, package, key, value, text, payload, bytes, run, at)
    ON CONFLICT (id) DO UPDATE SET value = excluded.value, bytes = excluded.bytes, run_id = excluded.run_id,
        at = excluded.at
    WHERE memory.kind = 'value'
""")


def _entry(row: Row[Any]) -> MemoryEntry:
    return MemoryEntry(
        id=row.id,
        package=row.package,
        kind=row.kind,
        key=row.key,
        value=row.value,
        text=row.text,
        payload=row.payload,
        bytes=row.bytes,
        run=row.run_id,
        at=row.at,
    )


async def write(connection: AsyncConnection, writes: Sequence[Write]) -> None:
    """Keep what recorded steps have written, the last write of each entry."""
    last = newest(writes)
    kept = [one for one in last if not one.deletes]
    deleted = [one.id for one in last if one.deletes]
    if deleted:
        await connection.execute(
            text("DELETE FROM memory WHERE id = ANY(CAST(:ids AS text[]))"), {"ids": deleted}
        )
    if kept:
        await connection.execute(
            _KEEP,
            {
                "ids": [one.id for one in kept],
                "tenants": [one.tenant for one in kept],
                "packages": [one.package for one in kept],
                "keys": [one.written.key for one in kept],
                "values": [one.written.value for one in kept],
                "texts": [one.written.text for one in kept],
                "payloads": [one.written.payload for one in kept],
                "sizes": [one.written.size_bytes for one in kept],
                "runs": [one.run for one in kept],
                "ats": [one.at for one in kept],
            },
        )


async def value(connection: AsyncConnection, entry: str) -> bytes | None:
    """The value of an entry as JSON, or None."""
    row = (
        await connection.execute(
            text("SELECT value FROM memory WHERE id = :id AND kind = 'value'"), {"id": entry}
        )
    ).first()
    return None if row is None else msgspec.json.encode(row.value)


async def in_use(connection: AsyncConnection, tenant: str, package: str) -> MemoryInUse:
    """How much an agent keeps for a tenant."""
    row = (
        await connection.execute(
            text("""
                SELECT count(*) AS entries, coalesce(sum(bytes), 0) AS bytes FROM memory
                WHERE tenant_id = :tenant AND package = :package AND deleted_at IS NULL
            """),
            {"tenant": tenant, "package": package},
        )
    ).one()
    return MemoryInUse(entries=row.entries, bytes=row.bytes)


async def read(connection: AsyncConnection, entry: str) -> MemoryEntry | None:
    """One entry that this transaction may see."""
    query = text(f"SELECT {_COLUMNS} FROM memory WHERE id = :id AND deleted_at IS NULL")
    row = (await connection.execute(query, {"id": entry})).first()
    return None if row is None else _entry(row)


async def texts(
    connection: AsyncConnection, tenant: str, package: str, ids: list[str]
) -> dict[str, MemoryEntry]:
    """Those of these texts that the agent keeps for the tenant."""
    rows = await connection.execute(
        text(f"""
            SELECT {_COLUMNS} FROM memory WHERE id = ANY(CAST(:ids AS text[])) AND tenant_id = :tenant
                AND package = :package AND kind = 'text' AND deleted_at IS NULL
        """),
        {"ids": ids, "tenant": tenant, "package": package},
    )
    return {row.id: _entry(row) for row in rows}


async def page(connection: AsyncConnection, query: ListMemory) -> MemoryPage:
    """A tenant's entries, what was written last first; fewer than asked for where they are large."""
    before = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else None
    rows = (
        await connection.execute(
            text(f"""
                SELECT {_COLUMNS} FROM memory
                WHERE tenant_id = :tenant AND deleted_at IS NULL
                  AND (CAST(:package AS text) IS NULL OR package = :package)
                  AND (CAST(:kind AS text) IS NULL OR kind = :kind)
                  AND (CAST(:before_at AS timestamptz) IS NULL OR (at, id) < (:before_at, :before_id))
                ORDER BY at DESC, id DESC LIMIT :limit
            """),
            {
                "tenant": query.tenant,
                "package": query.package,
                "kind": query.kind,
                "before_at": before[0] if before else None,
                "before_id": before[1] if before else "",
                "limit": query.limit + 1,
            },
        )
    ).all()
    shown: list[MemoryEntry] = []
    size = 0
    for row in rows[: query.limit]:
        size += row.bytes
        if shown and size > _PAGE_BYTES_MAX:
            break
        shown.append(_entry(row))
    more = len(rows) > len(shown)
    return MemoryPage(
        items=shown,
        next_cursor=encode_cursor(shown[-1].at.isoformat(), shown[-1].id) if more else None,
    )


async def delete(
    connection: AsyncConnection, *, tenant: str, entry: str | None = None, package: str | None = None
) -> int:
    """Delete one entry, or all of an agent's: values at once, texts as soon as their vectors are gone, their words now.

    Returns how many there were.
    """
    which = "tenant_id = :tenant AND " + ("id = :entry" if entry is not None else "package = :package")
    values = {"tenant": tenant} | ({"entry": entry} if entry is not None else {"package": package})
    gone = await connection.execute(text(f"DELETE FROM memory WHERE {which} AND kind = 'value'"), values)
    hidden = await connection.execute(
        text(f"""
            UPDATE memory SET deleted_at = now(), text = NULL, payload = '{{}}', bytes = 0
            WHERE {which} AND kind = 'text' AND deleted_at IS NULL
        """),
        values,
    )
    return gone.rowcount + hidden.rowcount


async def expire(connection: AsyncConnection, retention_days: int, limit: int) -> int:
    """Delete entries that have not been written for the time of retention. Returns how many there were."""
    rows = (
        await connection.execute(
            text("""
                SELECT id, kind FROM memory
                WHERE at < now() - make_interval(days => :days) AND deleted_at IS NULL
                ORDER BY at LIMIT :limit FOR UPDATE SKIP LOCKED
            """),
            {"days": retention_days, "limit": limit},
        )
    ).all()
    values = {"values": [row.id for row in rows if row.kind == "value"]}
    hidden = {"texts": [row.id for row in rows if row.kind == "text"]}
    await connection.execute(text("DELETE FROM memory WHERE id = ANY(CAST(:values AS text[]))"), values)
    await connection.execute(
        text("""
            UPDATE memory SET deleted_at = now(), text = NULL, payload = '{}', bytes = 0
            WHERE id = ANY(CAST(:texts AS text[]))
        """),
        hidden,
    )
    return len(rows)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A text that is to be handed to the vectors, or taken out of them."""

    id: str
    tenant: str
    package: str
    text: str | None
    payload: dict[str, str]


async def claim_unindexed(
    connection: AsyncConnection, limit: int, *, tenant: str | None = None, package: str | None = None
) -> list[Waiting]:
    """Claim texts that are not in the vectors yet; of one agent and tenant, or of all."""
    rows = await connection.execute(
        text("""
            UPDATE memory SET claimed_at = now() WHERE id IN (
                SELECT id FROM memory
                WHERE kind = 'text' AND (indexed_at IS NULL OR deleted_at IS NOT NULL)
                    AND indexed_at IS NULL AND deleted_at IS NULL
                    AND (claimed_at IS NULL OR claimed_at < now() - make_interval(secs => :seconds))
                    AND (CAST(:tenant AS text) IS NULL OR tenant_id = :tenant)
                    AND (CAST(:package AS text) IS NULL OR package = :package)
                ORDER BY at LIMIT :limit FOR UPDATE SKIP LOCKED)
            RETURNING id, tenant_id, package, text, payload
        """),
        {"seconds": _CLAIM_SECONDS, "limit": limit, "tenant": tenant, "package": package},
    )
    return _waiting(rows.all())


async def indexed(connection: AsyncConnection, ids: list[str]) -> None:
    """Note that texts are in the vectors, and that nobody is about to put them there any more."""
    await connection.execute(
        text("UPDATE memory SET indexed_at = now(), claimed_at = NULL WHERE id = ANY(CAST(:ids AS text[]))"),
        {"ids": sorted(ids)},
    )


async def release(connection: AsyncConnection, ids: list[str]) -> None:
    """Give claimed texts back: it is certain that the vectors did not get them."""
    await connection.execute(
        text(
            "UPDATE memory SET claimed_at = NULL WHERE id = ANY(CAST(:ids AS text[])) AND indexed_at IS NULL"
        ),
        {"ids": sorted(ids)},
    )


async def deleted(connection: AsyncConnection, limit: int) -> list[Waiting]:
    """Deleted texts whose vectors may still be there and that nobody may still be putting there."""
    rows = await connection.execute(
        text("""
            SELECT id, tenant_id, package, text, payload FROM memory
            WHERE kind = 'text' AND (indexed_at IS NULL OR deleted_at IS NOT NULL) AND deleted_at IS NOT NULL
                AND (claimed_at IS NULL OR claimed_at < now() - make_interval(secs => :seconds))
            ORDER BY at LIMIT :limit
        """),
        {"seconds": _CLAIM_SECONDS, "limit": limit},
    )
    return _waiting(rows.all())


async def forget(connection: AsyncConnection, ids: list[str]) -> None:
    """Remove the rows of deleted texts: their vectors are gone."""
    await connection.execute(
        text("DELETE FROM memory WHERE id = ANY(CAST(:ids AS text[])) AND deleted_at IS NOT NULL"),
        {"ids": sorted(ids)},
    )


def _waiting(rows: Sequence[Row[Any]]) -> list[Waiting]:
    return [
        Waiting(id=row.id, tenant=row.tenant_id, package=row.package, text=row.text, payload=row.payload)
        for row in rows
    ]
