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

    A meter that is being back-filled is told once it is whole. A month of which the events are not kept any more is not told
    again: nothing can change it, but that its totals were forgotten.
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
                    AND NOT EXISTS (
                        SELECT FROM usage_kept k
                        WHERE period_totals.period_start < k.since::timestamp AT TIME ZONE 'UTC')
                ORDER BY told_at NULLS FIRST LIMIT :limit FOR UPDATE SKIP LOCKED
            ) AS due
            WHERE (p.tenant_id, p.deployment, p.meter, p.period_start)
                = (due.tenant_id, due.deployment, due.meter, due.period_start)
            RETURNING p.tenant_id AS tenant, p.deployment, p.meter, p.period_start, p.revision
        """),
        {"seconds": seconds_between, "limit": limit, "platform": PLATFORM_TENANT},
    )
    return [Claimed(**row._mapping) for row in rows]


# With what is still to be moved: right after a build of its meter, that is all there is. Where a tenant has defined a meter
# of its own under the key, its totals say what the tenant wants to know: what is told, and may be rated, is the sum of
# what was recorded, from the events themselves.
_TOTALS = text(f"""
    WITH asked AS (
        SELECT * FROM unnest(
            CAST(:tenants AS text[]), CAST(:deployments AS text[]), CAST(:meters AS text[]),
            CAST(:starts AS timestamptz[]), CAST(:revisions AS int[])
        ) WITH ORDINALITY AS p (tenant_id, deployment, meter, period_start, revision, place),
        LATERAL (
            SELECT (p.period_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC' AS period_end,
                   EXISTS (SELECT FROM meters m WHERE m.tenant_id = p.tenant_id AND m.key = p.meter) AS defined
        ) AS e
    ), recorded AS (
        SELECT p.place, sum(u.quantity) AS quantity, count(*)::bigint AS events
        FROM asked p CROSS JOIN LATERAL (
            SELECT quantity FROM usage_effective u
            WHERE u.tenant_id = p.tenant_id AND u.deployment = p.deployment AND u.meter = p.meter AND u.run IS NULL
                AND u.at >= p.period_start AND u.at < p.period_end AND NOT u.voided
        ) AS u
        WHERE p.defined GROUP BY p.place
    ), parts AS (
        SELECT p.place, t.value, t.merge, t.events, t.quantity, t.latest_at, t.latest_id
        FROM asked p CROSS JOIN LATERAL (
            SELECT s.value, d.merge, d.events, d.quantity, d.latest_at, d.latest_id
            FROM usage_series s JOIN usage_day d ON d.series = s.id AND d.start >= p.period_start
                AND d.start < p.period_end
            WHERE s.tenant_id = p.tenant_id AND s.meter = p.meter AND s.deployment = p.deployment AND s.standing
        ) AS t
        UNION ALL
        SELECT p.place, d.value, d.merge, d.events, d.quantity, d.latest_at, d.latest_id
        FROM asked p JOIN usage_deltas d ON d.tenant_id = p.tenant_id AND d.meter = p.meter
            AND d.deployment = p.deployment AND d.standing AND d.start >= p.period_start AND d.start < p.period_end
    ), by_value AS (
        SELECT place, value, merge, {merged("parts")} AS quantity, sum(events)::bigint AS events
        FROM parts GROUP BY place, value, merge
    ), wholes AS (
        SELECT place, CASE merge WHEN {Merge.DISTINCT} THEN count(*) FILTER (WHERE events > 0)
                           ELSE max(quantity) END AS quantity,
               sum(events)::bigint AS events
        FROM by_value GROUP BY place, merge
    )
    SELECT p.tenant_id AS tenant, p.deployment, p.meter, p.period_start, p.revision, p.period_end,
           coalesce(CASE WHEN p.defined THEN r.quantity ELSE t.quantity END, 0) AS quantity,
           coalesce(CASE WHEN p.defined THEN r.events ELSE t.events END, 0) AS events
    FROM asked p LEFT JOIN wholes t USING (place) LEFT JOIN recorded r USING (place)
    WHERE NOT p.defined OR r.events > 0 OR p.revision > 1
    ORDER BY 1, 2, 3, 4
""")


async def totals_of(connection: AsyncConnection, claimed: Sequence[Claimed]) -> list[MonthTotal]:
    """What the months came to by now; what is moved into the totals later makes them change again.

    Of a key that a tenant has made up, and under which nothing was ever recorded, nothing is told.
    """
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
