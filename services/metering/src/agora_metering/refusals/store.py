"""SQL for refused usage. Never commits."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agora_contracts.ids import derived
from agora_contracts.usage_ingest import ListRefusedUsage, RefusedUsage
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata
from agora_metering.ingest.model import Arrival, Refusal

refused_usage = Table(
    "refused_usage",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("sender", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("refused_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("times", Integer, nullable=False, server_default="1"),
    Column("replayed_at", DateTime(timezone=True)),
    Column("replayed_payload", LargeBinary),
    PrimaryKeyConstraint("tenant_id", "id"),
)
Index("ix_refused_usage_seq", refused_usage.c.seq)
Index("ix_refused_usage_tenant_id_seq", refused_usage.c.tenant_id, refused_usage.c.seq)
Index("ix_refused_usage_refused_at", refused_usage.c.refused_at)

_COLUMNS = """
    id, tenant_id, source, event_id, reason, detail, payload, received_at, refused_at, times, replayed_at
"""


def refusal_id(refusal: Refusal) -> str:
    """The same event refused again has the same id; another body has another one."""
    digest = hashlib.sha256(refusal.arrival.payload).hexdigest()
    return derived("ref", refusal.arrival.tenant, refusal.source, refusal.id, digest)


async def insert(connection: AsyncConnection, refusals: Sequence[Refusal]) -> None:
    """Keep what was refused. What was refused before is counted, with the newest reason; its payload and time of
    receipt stay, and so does its end if it was replayed since."""
    by_key = {(one.arrival.tenant, refusal_id(one)): one for one in refusals}
    if not by_key:
        return
    keys = sorted(by_key)
    rows = [by_key[key] for key in keys]
    await connection.execute(
        text("""
            INSERT INTO refused_usage AS known
                (tenant_id, id, sender, source, event_id, reason, detail, payload, received_at)
            SELECT * FROM unnest(
                CAST(:tenants AS text[]), CAST(:ids AS text[]), CAST(:senders AS text[]), CAST(:sources AS text[]),
                CAST(:event_ids AS text[]), CAST(:reasons AS text[]), CAST(:details AS text[]),
                CAST(:payloads AS bytea[]), CAST(:received AS timestamptz[]))
            ON CONFLICT (tenant_id, id) DO UPDATE
            SET reason = excluded.reason, detail = excluded.detail, refused_at = now(), times = known.times + 1
        """),
        {
            "tenants": [tenant for tenant, _ in keys],
            "ids": [id for _, id in keys],
            "senders": [row.arrival.sender for row in rows],
            "sources": [row.source for row in rows],
            "event_ids": [row.id for row in rows],
            "reasons": [row.reason for row in rows],
            "details": [row.detail[:2000].replace("\0", "\\0") for row in rows],
            "payloads": [row.arrival.payload for row in rows],
            "received": [row.arrival.received_at for row in rows],
        },
    )


async def page(
    connection: AsyncConnection, query: ListRefusedUsage, before: int | None
) -> list[tuple[int, RefusedUsage]]:
    """Refused events with their place, newest first, one more than the limit if there is one."""
    rows = await connection.execute(
        text(f"""
            SELECT seq, {_COLUMNS} FROM refused_usage
            WHERE (CAST(:tenant AS text) IS NULL OR tenant_id = :tenant)
                AND (CAST(:reason AS text) IS NULL OR reason = :reason)
                AND (:replayed OR replayed_at IS NULL)
                AND (CAST(:before AS bigint) IS NULL OR seq < :before)
            ORDER BY seq DESC LIMIT :limit
        """),
        {
            "tenant": query.tenant,
            "reason": query.reason,
            "replayed": query.replayed,
            "before": before,
            "limit": query.limit + 1,
        },
    )
    return [(row.seq, _refused(row)) for row in rows]


async def lock(
    connection: AsyncConnection, id: str, tenant: str | None
) -> tuple[RefusedUsage, Arrival] | None:
    """One refused event, locked; None where there is none."""
    rows = await connection.execute(
        text(f"""
            SELECT {_COLUMNS}, sender FROM refused_usage
            WHERE id = :id AND (CAST(:tenant AS text) IS NULL OR tenant_id = :tenant) FOR UPDATE
        """),
        {"id": id, "tenant": tenant},
    )
    row = rows.one_or_none()
    return None if row is None else (_refused(row), _arrival(row))


async def lock_waiting(
    connection: AsyncConnection, tenant: str | None, reason: str | None, *, after: int, limit: int
) -> list[tuple[int, str, Arrival]]:
    """Refused events that were not replayed, oldest first, locked: place, id, and the event as it came."""
    rows = await connection.execute(
        text(f"""
            SELECT seq, {_COLUMNS}, sender FROM refused_usage
            WHERE replayed_at IS NULL AND seq > :after
                AND (CAST(:tenant AS text) IS NULL OR tenant_id = :tenant)
                AND (CAST(:reason AS text) IS NULL OR reason = :reason)
            ORDER BY seq LIMIT :limit FOR UPDATE SKIP LOCKED
        """),
        {"tenant": tenant, "reason": reason, "after": after, "limit": limit},
    )
    return [(row.seq, row.id, _arrival(row)) for row in rows]


async def mark_replayed(
    connection: AsyncConnection, keys: Sequence[tuple[str, str]], corrected: bytes | None = None
) -> None:
    """Note that these (tenant, id) are taken in now, the one as `corrected`."""
    await connection.execute(
        text("""
            UPDATE refused_usage r SET replayed_at = now(), replayed_payload = :corrected
            FROM unnest(CAST(:tenants AS text[]), CAST(:ids AS text[])) AS i (tenant_id, id)
            WHERE r.tenant_id = i.tenant_id AND r.id = i.id AND r.replayed_at IS NULL
        """),
        {"tenants": [tenant for tenant, _ in keys], "ids": [id for _, id in keys], "corrected": corrected},
    )


async def note_reasons(connection: AsyncConnection, refusals: Sequence[tuple[str, Refusal]]) -> None:
    """Note why these were refused when they were tried again."""
    await connection.execute(
        text("""
            UPDATE refused_usage r SET reason = i.reason, detail = i.detail, refused_at = now()
            FROM unnest(CAST(:tenants AS text[]), CAST(:ids AS text[]), CAST(:reasons AS text[]),
                        CAST(:details AS text[])) AS i (tenant_id, id, reason, detail)
            WHERE r.tenant_id = i.tenant_id AND r.id = i.id
        """),
        {
            "tenants": [refusal.arrival.tenant for _, refusal in refusals],
            "ids": [id for id, _ in refusals],
            "reasons": [refusal.reason for _, refusal in refusals],
            "details": [refusal.detail[:2000].replace("\0", "\\0") for _, refusal in refusals],
        },
    )


async def expire(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete what was refused last before a moment. Returns how many were."""
    result = await connection.execute(
        text("""
            DELETE FROM refused_usage WHERE (tenant_id, id) IN (
                SELECT tenant_id, id FROM refused_usage WHERE refused_at < :before
                ORDER BY refused_at LIMIT :limit FOR UPDATE SKIP LOCKED)
        """),
        {"before": before, "limit": limit},
    )
    return result.rowcount


def _refused(row: Row[Any]) -> RefusedUsage:
    return RefusedUsage(
        id=row.id,
        tenant=row.tenant_id,
        source=row.source,
        event_id=row.event_id,
        reason=row.reason,
        detail=row.detail,
        payload=row.payload.decode(errors="replace"),
        received_at=row.received_at,
        refused_at=row.refused_at,
        times=row.times,
        replayed_at=row.replayed_at,
    )


def _arrival(row: Row[Any]) -> Arrival:
    return Arrival(tenant=row.tenant_id, sender=row.sender, received_at=row.received_at, payload=row.payload)
