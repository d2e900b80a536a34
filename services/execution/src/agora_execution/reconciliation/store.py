"""SQL for what was recorded, as others shall know it. Never commits."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from agora_contracts.billing import Quantity
from agora_contracts.catalogue import EVENTS
from agora_contracts.reconciliation import (
    PAGE_MAX,
    RUNS_MAX,
    EndedRunFacts,
    EndedRunPage,
    ListEndedRuns,
    ListRecordedUsage,
    RecordedUsage,
    RecordedUsagePage,
)
from agora_contracts.usage import UsageRecorded
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_USAGE_SUBJECT = f"agora.evt.%.{EVENTS[UsageRecorded].path}"

_RECORDED = text("""
    SELECT seq, message_id, tenant_id, published_at IS NOT NULL AS published FROM outbox
    WHERE seq > :after AND created_at >= :since AND created_at < :until AND subject LIKE :subject
        AND (CAST(:tenant AS text) IS NULL OR tenant_id = :tenant)
    ORDER BY seq LIMIT :limit
""")

_ENDED = text("""
    SELECT r.id, r.tenant_id, r.finished_at, r.usage_count, r.usage, r.charged, r.refunded,
           (SELECT count(*) FROM outbox o WHERE o.entity = r.id AND o.subject LIKE :subject) AS outbox_count
    FROM runs r
    WHERE r.finished_at >= :since AND r.finished_at < :until AND (r.finished_at, r.id) > (:after_at, :after)
        AND (CAST(:tenant AS text) IS NULL OR r.tenant_id = :tenant)
    ORDER BY r.finished_at, r.id LIMIT :limit
""")


async def recorded_usage(connection: AsyncConnection, query: ListRecordedUsage) -> RecordedUsagePage:
    """A page of the usage events in the outbox.

    Raises:
        AgoraError: `invalid_cursor`.
    """
    after = decode_cursor(query.cursor, tuple[int])[0] if query.cursor else 0
    values = _values(query) | {"after": after, "limit": PAGE_MAX + 1}
    rows = (await connection.execute(_RECORDED, values)).all()
    shown = rows[:PAGE_MAX]
    return RecordedUsagePage(
        items=[
            RecordedUsage(id=row.message_id, tenant=row.tenant_id, published=row.published) for row in shown
        ],
        next_cursor=encode_cursor(shown[-1].seq) if len(rows) > PAGE_MAX else None,
    )


async def ended_runs(connection: AsyncConnection, query: ListEndedRuns) -> EndedRunPage:
    """A page of ended runs.

    Raises:
        AgoraError: `invalid_cursor`.
    """
    at, after = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else (query.since, "")
    values = _values(query) | {"after_at": at, "after": after, "limit": RUNS_MAX + 1}
    rows = (await connection.execute(_ENDED, values)).all()
    shown = rows[:RUNS_MAX]
    return EndedRunPage(
        items=[
            EndedRunFacts(
                run=row.id,
                tenant=row.tenant_id,
                usage_count=row.usage_count,
                usage=[
                    Quantity(meter=meter, quantity=Decimal(quantity))
                    for meter, quantity in sorted(row.usage.items())
                ],
                outbox_count=row.outbox_count,
                charged=row.charged,
                refunded=row.refunded,
            )
            for row in shown
        ],
        next_cursor=encode_cursor(shown[-1].finished_at.isoformat(), shown[-1].id)
        if len(rows) > RUNS_MAX
        else None,
    )


def _values(query: ListRecordedUsage | ListEndedRuns) -> dict[str, Any]:
    return {
        "since": query.since,
        "until": query.until,
        "tenant": query.tenant,
        "subject": _USAGE_SUBJECT,
    }
