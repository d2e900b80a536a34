"""SQL for findings. Never commits."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from agora_contracts.swarms import Finding, FindingPage, ListFindings, PostedFinding
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Integer, Row, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import json_text, metadata

findings = Table(
    "findings",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("root_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("posted_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
Index(
    "uq_findings_place",
    findings.c.root_id,
    findings.c.topic,
    findings.c.run_id,
    findings.c.step_id,
    findings.c.number,
    unique=True,
)
Index("ix_findings_posted_at", findings.c.posted_at)

ORIGINS_MAX = 20
"""How far back a run that was begun again and again reads."""

BATCH = 1_000
"""The findings that one statement stores."""

_EVER = datetime(1970, 1, 1, tzinfo=UTC)

PAGE_BYTES_MAX = 500_000
"""The findings of one page as JSON: an answer is one message."""


async def boards_of(connection: AsyncConnection, run: str) -> list[str]:
    """The blackboards that a run reads, by their root runs: its own first, then those of the runs that its root was
    begun again from, whose steps it has taken over. Empty where this transaction sees no such run.
    """
    found = await connection.execute(
        text("""
            WITH RECURSIVE up AS (
                SELECT id, parent_id, origin_id FROM runs WHERE id = :run
                UNION ALL SELECT r.id, r.parent_id, r.origin_id FROM runs r JOIN up ON r.id = up.parent_id),
            boards AS (
                SELECT id, origin_id, 0 AS age FROM up WHERE parent_id IS NULL
                UNION ALL SELECT r.id, r.origin_id, boards.age + 1 FROM runs r JOIN boards ON r.id = boards.origin_id
                WHERE boards.age < :origins_max)
            SELECT id FROM boards ORDER BY age
        """),
        {"run": run, "origins_max": ORIGINS_MAX},
    )
    return list(found.scalars())


async def replace(
    connection: AsyncConnection,
    *,
    tenant: str,
    root: str,
    run: str,
    step: str,
    topic: str,
    posted: Sequence[Finding],
    room: int,
) -> bool:
    """Put findings in the place of what the step had under the topic. Returns False where there is no room for them.

    Posts of one root take turns, so that two cannot share the last room. What the root run posts itself has room of its
    own: that others have filled theirs must not stop it from saying so.
    """
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('findings:' || :root, 0))"), {"root": root}
    )
    place = {"root": root, "topic": topic, "run": run, "step": step}
    await connection.execute(
        text(
            "DELETE FROM findings WHERE root_id = :root AND topic = :topic AND run_id = :run AND step_id = :step"
        ),
        place,
    )
    kept = await connection.execute(
        text("SELECT count(*) FROM findings WHERE root_id = :root AND (run_id = root_id) = :own"),
        {"root": root, "own": run == root},
    )
    if int(kept.scalar_one()) + len(posted) > room:
        return False
    for before in range(0, len(posted), BATCH):
        bodies = json_text(list(posted[before : before + BATCH]))
        await connection.execute(
            text("""
                INSERT INTO findings (tenant_id, root_id, run_id, step_id, topic, number, body)
                SELECT :tenant, :root, :run, :step, :topic, :before + numbered.number, numbered.body
                FROM jsonb_array_elements(CAST(:bodies AS jsonb)) WITH ORDINALITY AS numbered (body, number)
                ORDER BY numbered.number
            """),
            place | {"tenant": tenant, "bodies": bodies, "before": before},
        )
    return True


async def read(
    connection: AsyncConnection, boards: Sequence[str], topic: str, runs: Sequence[str] | None
) -> list[Row[Any]]:
    """All findings of a topic, of these runs or of all; those of the first board first."""
    rows = await connection.execute(
        text("""
            SELECT root_id, run_id, step_id, body FROM findings
            WHERE root_id = ANY(CAST(:boards AS text[])) AND topic = :topic
                AND (CAST(:runs AS text[]) IS NULL OR run_id = ANY(CAST(:runs AS text[])))
            ORDER BY array_position(CAST(:boards AS text[]), root_id), run_id, step_id, number
        """),
        {"boards": list(boards), "topic": topic, "runs": None if runs is None else list(runs)},
    )
    return list(rows)


_SHOWN = """
    FROM findings f JOIN runs r ON r.id = f.run_id
    WHERE f.root_id = ANY(CAST(:boards AS text[])) AND f.topic = :topic
        AND (r.status = 'succeeded' OR f.run_id = f.root_id)
        AND (NOT :newest OR f.step_id = (
            SELECT last.step_id FROM findings last WHERE last.root_id = ANY(CAST(:boards AS text[])) AND last.topic = :topic
            ORDER BY last.position DESC LIMIT 1))
"""
"""What is shown to customers: not what a run has posted that has not delivered."""


_SHOWN_AT = "CASE WHEN f.run_id = f.root_id THEN f.posted_at ELSE coalesce(r.finished_at, f.posted_at) END"
"""When a finding came to be shown: as its run delivered, or as the root run posted it."""


async def page(connection: AsyncConnection, query: ListFindings, boards: Sequence[str]) -> FindingPage:
    """Findings in the order in which they came to be shown: what comes while somebody reads is on the pages to come."""
    at, after = decode_cursor(query.cursor, tuple[datetime, int]) if query.cursor else (_EVER, 0)
    place = {"boards": list(boards), "topic": query.topic, "newest": query.newest}
    total = await connection.execute(text(f"SELECT count(*) {_SHOWN}"), place)
    rows = (
        await connection.execute(
            text(f"""
                SELECT f.position, f.run_id, f.step_id, f.topic, f.posted_at, f.body, {_SHOWN_AT} AS shown_at {_SHOWN}
                    AND ({_SHOWN_AT}, f.position) > (CAST(:at AS timestamptz), :after)
                ORDER BY {_SHOWN_AT}, f.position LIMIT :limit
            """),
            place | {"at": at, "after": after, "limit": query.limit + 1},
        )
    ).all()
    shown = _fitting(rows[: query.limit])
    return FindingPage(
        items=[
            PostedFinding(
                run=row.run_id,
                step=row.step_id,
                topic=row.topic,
                at=row.posted_at,
                finding=msgspec.convert(row.body, Finding),
            )
            for row in shown
        ],
        total=int(total.scalar_one()),
        next_cursor=encode_cursor(shown[-1].shown_at.isoformat(), shown[-1].position)
        if len(rows) > len(shown)
        else None,
    )


def _fitting(rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """As many of the rows as one message holds; at least one."""
    shown: list[Row[Any]] = []
    size = 0
    for row in rows:
        size += len(msgspec.json.encode(row.body))
        if shown and size > PAGE_BYTES_MAX:
            break
        shown.append(row)
    return shown


async def forget(connection: AsyncConnection, retention_days: int, limit: int) -> int:
    """Delete findings past their time. Returns how many."""
    gone = await connection.execute(
        text("""
            DELETE FROM findings WHERE position IN (
                SELECT position FROM findings WHERE posted_at < now() - make_interval(days => :days)
                ORDER BY posted_at LIMIT :limit)
        """),
        {"days": retention_days, "limit": limit},
    )
    return int(gone.rowcount)
