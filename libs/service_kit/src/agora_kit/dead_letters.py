"""Dead letters: refused messages as rows with their reason, listed and replayed by an operator."""

from collections.abc import Sequence

import msgspec
from agora_contracts.platform import DeadLetter, DeadLetterPage, ListDeadLetters
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_kit.cursor import decode_cursor, encode_cursor

_SHOWN_BYTES = 4000


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A message that its consumer will not take, and why."""

    consumer: str
    subject: str
    message_id: str
    tenant: str
    reason: str
    payload: bytes


async def bury(connection: AsyncConnection, refused: Sequence[Refused]) -> None:
    """Store refused messages; one that was refused before keeps its row with the newest reason."""
    if not refused:
        return
    await connection.execute(
        text("""
            INSERT INTO dead_letters (consumer, subject, message_id, tenant_id, reason, payload)
            VALUES (:consumer, :subject, :message_id, :tenant, :reason, :payload)
            ON CONFLICT (consumer, message_id)
            DO UPDATE SET reason = excluded.reason, payload = excluded.payload, received_at = now(), replayed_at = NULL
        """),
        # PostgreSQL's text cannot hold NUL, which a reason may quote from a message.
        [msgspec.structs.asdict(one) | {"reason": one.reason[:2000].replace("\0", "\\0")} for one in refused],
    )


async def page(connection: AsyncConnection, query: ListDeadLetters) -> DeadLetterPage:
    """List dead letters, newest first."""
    before = decode_cursor(query.cursor, tuple[int])[0] if query.cursor else None
    rows = (
        await connection.execute(
            text("""
                SELECT id, subject, reason, message_id, payload, received_at, replayed_at FROM dead_letters
                WHERE CAST(:before AS bigint) IS NULL OR id < :before ORDER BY id DESC LIMIT :limit
            """),
            {"before": before, "limit": query.limit + 1},
        )
    ).all()
    shown = rows[: query.limit]
    return DeadLetterPage(
        items=[
            DeadLetter(
                id=row.id,
                subject=row.subject,
                reason=row.reason,
                message_id=row.message_id,
                payload=row.payload[:_SHOWN_BYTES].decode(errors="replace"),
                received_at=row.received_at,
                replayed_at=row.replayed_at,
            )
            for row in shown
        ],
        next_cursor=encode_cursor(shown[-1].id) if len(rows) > query.limit else None,
    )


async def lock_for_replay(connection: AsyncConnection, ids: Sequence[int]) -> list[tuple[int, Refused]]:
    """Read and lock the dead letters to replay: those named, or all that were not replayed yet."""
    rows = (
        await connection.execute(
            text("""
                SELECT id, consumer, subject, message_id, tenant_id, reason, payload FROM dead_letters
                WHERE CASE WHEN cardinality(CAST(:ids AS bigint[])) = 0 THEN replayed_at IS NULL
                           ELSE id = ANY(CAST(:ids AS bigint[])) END
                ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1000
            """),
            {"ids": list(ids)},
        )
    ).all()
    return [
        (
            row.id,
            Refused(
                consumer=row.consumer,
                subject=row.subject,
                message_id=row.message_id,
                tenant=row.tenant_id,
                reason=row.reason,
                payload=row.payload,
            ),
        )
        for row in rows
    ]


async def mark_replayed(connection: AsyncConnection, ids: Sequence[int]) -> None:
    """Note that these were accepted on replay."""
    await connection.execute(
        text("UPDATE dead_letters SET replayed_at = now() WHERE id = ANY(CAST(:ids AS bigint[]))"),
        {"ids": list(ids)},
    )
