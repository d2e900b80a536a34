"""SQL for files."""

from datetime import datetime
from typing import Any

from agora_contracts.files import File, FilePage, ListFiles, RegisterFile
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy import BigInteger, Column, DateTime, Index, Row, Table, Text, func, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import metadata

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("run_id", Text),
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("deleted_at", DateTime(timezone=True)),
)
Index(
    "ix_files_tenant",
    files.c.tenant_id,
    files.c.created_at,
    files.c.id,
    postgresql_where=files.c.deleted_at.is_(None),
)
Index("ix_files_expires_at", files.c.expires_at, postgresql_where=files.c.deleted_at.is_(None))

_COLUMNS = "id, tenant_id, run_id, name, size, sha256, content_type, created_at, expires_at"


def _read(row: Row[Any]) -> File:
    return File(
        id=row.id,
        tenant=row.tenant_id,
        name=row.name,
        size=row.size,
        sha256=row.sha256,
        content_type=row.content_type,
        created_at=row.created_at,
        expires_at=row.expires_at,
        run=row.run_id,
    )


async def lock_quota(connection: AsyncConnection, tenant: str) -> int:
    """One registration at a time per tenant, so that two cannot share the last bytes. Returns bytes in use."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtext('files:' || :tenant))"), {"tenant": tenant}
    )
    return await used_bytes(connection, tenant)


async def used_bytes(connection: AsyncConnection, tenant: str) -> int:
    """Bytes of a tenant's files that are not deleted."""
    query = text("SELECT coalesce(sum(size), 0) FROM files WHERE tenant_id = :tenant AND deleted_at IS NULL")
    return int((await connection.execute(query, {"tenant": tenant})).scalar_one())


async def insert(
    connection: AsyncConnection, command: RegisterFile, run: str | None, retention_days: int
) -> None:
    """Record a file; the same id again (a retried upload or step) replaces what it said."""
    await connection.execute(
        text("""
            INSERT INTO files (id, tenant_id, run_id, name, size, sha256, content_type, expires_at)
            VALUES (:id, :tenant, :run, :name, :size, :sha256, :content_type, now() + make_interval(days => :days))
            ON CONFLICT (id) DO UPDATE SET name = excluded.name, size = excluded.size, sha256 = excluded.sha256,
                content_type = excluded.content_type WHERE files.tenant_id = excluded.tenant_id
        """),
        {
            "id": command.file,
            "tenant": command.tenant,
            "run": run,
            "name": command.name,
            "size": command.size,
            "sha256": command.sha256,
            "content_type": command.content_type,
            "days": retention_days,
        },
    )


async def read(connection: AsyncConnection, file: str) -> File | None:
    """One file that this transaction may see."""
    query = text(f"SELECT {_COLUMNS} FROM files WHERE id = :id AND deleted_at IS NULL AND expires_at > now()")
    row = (await connection.execute(query, {"id": file})).first()
    return None if row is None else _read(row)


async def present(connection: AsyncConnection, ids: list[str]) -> dict[str, File]:
    """Those of these files that are there."""
    rows = await connection.execute(
        text(f"""
            SELECT {_COLUMNS} FROM files
            WHERE id = ANY(CAST(:ids AS text[])) AND deleted_at IS NULL AND expires_at > now()
        """),
        {"ids": ids},
    )
    return {row.id: _read(row) for row in rows}


async def page(connection: AsyncConnection, query: ListFiles, quota_bytes: int) -> FilePage:
    """A tenant's files, newest first."""
    before = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else None
    rows = (
        await connection.execute(
            text(f"""
                SELECT {_COLUMNS} FROM files
                WHERE tenant_id = :tenant AND deleted_at IS NULL AND expires_at > now()
                  AND (CAST(:run AS text) IS NULL OR run_id = :run)
                  AND (CAST(:before_at AS timestamptz) IS NULL OR (created_at, id) < (:before_at, :before_id))
                ORDER BY created_at DESC, id DESC LIMIT :limit
            """),
            {
                "tenant": query.tenant,
                "run": query.run,
                "before_at": before[0] if before else None,
                "before_id": before[1] if before else "",
                "limit": query.limit + 1,
            },
        )
    ).all()
    shown = [_read(row) for row in rows[: query.limit]]
    more = len(rows) > query.limit
    return FilePage(
        items=shown,
        used_bytes=await used_bytes(connection, query.tenant),
        quota_bytes=quota_bytes,
        next_cursor=encode_cursor(shown[-1].created_at.isoformat(), shown[-1].id) if more else None,
    )


async def let_expire(connection: AsyncConnection, file: str) -> File | None:
    """Let a file's time be over now. Returns it if it was there."""
    query = text(f"""
        UPDATE files SET expires_at = now()
        WHERE id = :id AND deleted_at IS NULL AND expires_at > now() RETURNING {_COLUMNS}
    """)
    row = (await connection.execute(query, {"id": file})).first()
    return None if row is None else _read(row)


async def expired(connection: AsyncConnection, limit: int) -> list[tuple[str, str]]:
    """Tenants and ids of files past their time whose bytes may still be there, the oldest first."""
    rows = await connection.execute(
        text("""
            SELECT tenant_id, id FROM files WHERE expires_at <= now() AND deleted_at IS NULL
            ORDER BY expires_at LIMIT :limit
        """),
        {"limit": limit},
    )
    return [(row.tenant_id, row.id) for row in rows]


async def forget(connection: AsyncConnection, ids: list[str]) -> None:
    """Mark files as deleted: their bytes are gone."""
    await connection.execute(
        text(
            "UPDATE files SET deleted_at = now() WHERE id = ANY(CAST(:ids AS text[])) AND deleted_at IS NULL"
        ),
        {"ids": sorted(ids)},
    )
