"""SQL for what was told of deployments' months. Never commits."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from agora_contracts.subjects import PLATFORM_TENANT
from sqlalchemy import Boolean, Column, DateTime, Index, Integer, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata
from agora_metering.periods.model import MonthTotal
from agora_metering.totals.model import Merge
from agora_metering.totals.store import merged

period_totals = Table(
    "period_totals",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("period_start", DateTime(timezone=True), nullable=False),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("dirty", Boolean, nullable=False),
    Column("told_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("tenant_id", "deployment", "meter", "period_start"),
)
Index("ix_period_totals_dirty", period_totals.c.told_at, postgresql_where=text("dirty"))


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A month that is to be told, under which revision."""

    tenant: str
    deployment: str
    meter: str
    period_start: datetime
    revision: int


async def claim_changed(
    connection: AsyncConnection, *, seconds_between: float, limit: int
) -> Sequence[Claimed]:
    """Months that have changed since they were told, at least so long ago; each is told by the claimer.

    A meter that is being back-filled is told once it is whole.
    """
    rows = await connection.execute(
        text("""
            UPDATE period_totals p SET revision = revision + 1, dirty = false, told_at = now()
            FROM (
                SELECT tenant_id, deployment, meter, period_start FROM period_totals
                WHERE dirty AND (told_at IS NULL OR told_at <= now() - make_interval(secs => :seconds))
                    AND NOT EXISTS (
                        SELECT FROM meters m WHERE m.key = period_totals.meter AND m.state <> 'active'
                            AND m.tenant_id IN (period_totals.tenant_id, :platform))
                ORDER BY told_at NULLS FIRST LIMIT :limit FOR UPDATE SKIP LOCKED
            ) AS due
            WHERE (p.tenant_id, p.deployment, p.meter, p.period_start)
                = (due.tenant_id, due.deployment, due.meter, due.period_start)
            RETURNING p.tenant_id AS tenant, p.deployment, p.meter, p.period_start, p.revision
        """),
        {"seconds": seconds_between, "limit": limit, "platform": PLATFORM_TENANT},
    )
    return [Claimed(**row._mapping) for row in rows]


_TOTALS = text(f"""
    SELECT p.tenant_id AS tenant, p.deployment, p.meter, p.period_start, p.revision,
           (p.period_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC' AS period_end,
           coalesce(t.quantity, 0) AS quantity, coalesce(t.events, 0) AS events
    FROM unnest(
        CAST(:tenants AS text[]), CAST(:deployments AS text[]), CAST(:meters AS text[]),
        CAST(:starts AS timestamptz[]), CAST(:revisions AS int[])
    ) AS p (tenant_id, deployment, meter, period_start, revision)
    LEFT JOIN LATERAL (
        SELECT CASE d.merge WHEN {Merge.DISTINCT} THEN count(DISTINCT s.value) FILTER (WHERE d.events > 0)
                    ELSE {merged("d")} END AS quantity,
               sum(d.events)::bigint AS events
        FROM usage_series s JOIN usage_day d ON d.series = s.id AND d.start >= p.period_start
            AND d.start < (p.period_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC'
        WHERE s.tenant_id = p.tenant_id AND s.meter = p.meter AND s.deployment = p.deployment AND s.standing
        GROUP BY d.merge
    ) AS t ON true
    ORDER BY 1, 2, 3, 4
""")


async def totals_of(connection: AsyncConnection, claimed: Sequence[Claimed]) -> list[MonthTotal]:
    """What the months came to, as far as it was moved into the totals; a later increment makes them change again."""
    rows = await connection.execute(
        _TOTALS,
        {
            "tenants": [one.tenant for one in claimed],
            "deployments": [one.deployment for one in claimed],
            "meters": [one.meter for one in claimed],
            "starts": [one.period_start for one in claimed],
            "revisions": [one.revision for one in claimed],
        },
    )
    return [MonthTotal(**row._mapping) for row in rows]
