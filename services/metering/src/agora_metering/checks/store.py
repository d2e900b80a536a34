"""SQL for recomputing totals, in one statement: it sees events, totals and what is to be added at one moment."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agora_contracts.subjects import PLATFORM_TENANT
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.totals.model import Merge
from agora_metering.totals.store import bin_of, defined_deltas, merged, plain_deltas
from agora_metering.totals.tables import GRAINS

_BIN = {grain: bin_of(grain) for grain in GRAINS}


def _whole(relation: str, grain: str) -> str:
    """SQL for the totals of a grain that increments make up."""
    return f"""
        SELECT series, '{grain}' AS grain, {_BIN[grain]} AS start, {merged("parts")} AS quantity,
               sum(events)::bigint AS events
        FROM {relation} AS parts GROUP BY series, 3, merge
    """


def _kept(grain: str) -> str:
    """SQL for the totals of a grain as they are kept, and what is still to be added."""
    return f"""
        SELECT series, '{grain}' AS grain, start, {merged("parts")} AS quantity, sum(events)::bigint AS events
        FROM (
            SELECT series, start, merge, quantity, events, latest_at, latest_id FROM usage_{grain} t
            WHERE start >= :start AND start < :end AND (CAST(:tenant AS text) IS NULL OR tenant_id = :tenant)
            UNION ALL
            SELECT series, {_BIN[grain]} AS start, merge, quantity, events, latest_at, latest_id FROM waiting
        ) AS parts GROUP BY series, start, merge
    """


# Totals under a key that is being built are left out on both sides: they are not whole yet.
_CHECK = text(f"""
    WITH building AS MATERIALIZED (
        SELECT tenant_id, key FROM meters WHERE state <> 'active'
    ), source AS MATERIALIZED (
        SELECT * FROM usage_effective
        WHERE at >= :start AND at < :end AND NOT voided AND (CAST(:tenant AS text) IS NULL OR tenant_id = :tenant)
    ), defined AS MATERIALIZED (
        SELECT t.tenant_id, m.key, m.event, m.aggregation = 'count' AS counts, m.value, m.dimensions,
               CASE m.aggregation WHEN 'min' THEN {Merge.LEAST} WHEN 'max' THEN {Merge.GREATEST}
                    WHEN 'latest' THEN {Merge.LATEST} WHEN 'unique_count' THEN {Merge.DISTINCT}
                    ELSE {Merge.ADD} END AS merge
        FROM (SELECT DISTINCT tenant_id FROM source) AS t JOIN meters m ON m.tenant_id IN (t.tenant_id, :platform)
        WHERE m.state <> 'deleting'
    ), says AS MATERIALIZED (
        {plain_deltas("source", skip_defined=True)} UNION ALL {defined_deltas("source")}
    ), waiting AS MATERIALIZED (
        SELECT * FROM usage_deltas
        WHERE start >= :start AND start < :end AND (CAST(:tenant AS text) IS NULL OR tenant_id = :tenant)
    ), recomputed AS ({" UNION ALL ".join(_whole("says", grain) for grain in GRAINS)}
    ), kept AS ({" UNION ALL ".join(_kept(grain) for grain in GRAINS)}
    ), named AS (
        SELECT id, tenant_id, meter, package, deployment, merge FROM usage_series
        UNION SELECT series, tenant_id, meter, package, deployment, merge FROM waiting
        UNION SELECT series, tenant_id, meter, package, deployment, merge FROM says
    ), compared AS (
        SELECT series, grain, start, coalesce(k.quantity, 0) AS kept, coalesce(k.events, 0) AS kept_events,
               coalesce(r.quantity, 0) AS recomputed, coalesce(r.events, 0) AS recomputed_events
        FROM kept k FULL JOIN recomputed r USING (series, grain, start)
    )
    SELECT n.tenant_id AS tenant, n.meter, n.package, n.deployment, c.start, c.grain, c.kept, c.kept_events,
           c.recomputed, c.recomputed_events, count(*) OVER () AS checked,
           (c.kept, c.kept_events) <> (c.recomputed, c.recomputed_events) AS differs
    FROM compared c JOIN named n ON n.id = c.series
    WHERE NOT EXISTS (
        SELECT FROM building b WHERE b.key = n.meter AND b.tenant_id IN (n.tenant_id, :platform))
    ORDER BY differs DESC, 1, 2, 5, 6, 3, 4 LIMIT :limit
""")


async def compare(
    connection: AsyncConnection, start: datetime, end: datetime, tenant: str | None, *, limit: int
) -> Sequence[Row[Any]]:
    """Totals of [start, end) as kept and as recomputed, those that differ first; `checked` in each says how many."""
    rows = await connection.execute(
        _CHECK,
        {"start": start, "end": end, "tenant": tenant, "platform": PLATFORM_TENANT, "limit": limit},
    )
    return rows.all()
