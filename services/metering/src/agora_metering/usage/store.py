"""SQL for usage events and their hourly totals. Never commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agora_contracts.envelope import Envelope
from agora_contracts.execution import UsageRecorded
from agora_contracts.metering import QueryUsage, UsageRow
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata
from agora_metering.usage.model import Grouping

usage_events = Table(
    "usage_events",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("run", Text),
    Column("deployment", Text),
    Column("package", Text),
    Column("meter", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("id", "source", "tenant_id"),
)
Index("ix_usage_events_run", usage_events.c.run, postgresql_where=usage_events.c.run.is_not(None))

usage_hourly = Table(
    "usage_hourly",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("hour", DateTime(timezone=True), nullable=False),
    Column("meter", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("events", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "hour", "meter", "package", "deployment"),
)

# One statement: whatever was not there before is stored, and exactly that is added to the totals. Quantities
# travel as text because that is the cheaper way into `numeric`. The totals are taken in the order of their
# key, so that two batches cannot wait for each other.
_TAKE_IN = text("""
    WITH fresh AS (
        INSERT INTO usage_events (tenant_id, source, id, run, deployment, package, meter, quantity, at)
        SELECT i.tenant_id, i.source, i.id, i.run, i.deployment, i.package, i.meter, i.quantity::numeric, i.at
        FROM unnest(
            CAST(:tenants AS text[]), CAST(:sources AS text[]), CAST(:ids AS text[]), CAST(:runs AS text[]),
            CAST(:deployments AS text[]), CAST(:packages AS text[]), CAST(:meters AS text[]),
            CAST(:quantities AS text[]), CAST(:times AS timestamptz[])
        ) AS i (tenant_id, source, id, run, deployment, package, meter, quantity, at)
        ON CONFLICT DO NOTHING
        RETURNING tenant_id, run, deployment, package, meter, quantity, at
    ), added AS (
        INSERT INTO usage_hourly AS total (tenant_id, hour, meter, package, deployment, quantity, events)
        SELECT tenant_id, date_trunc('hour', at, 'UTC') AS hour, meter, coalesce(package, '') AS package,
               coalesce(deployment, '') AS deployment, sum(quantity), count(*)
        FROM fresh GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (tenant_id, hour, meter, package, deployment) DO UPDATE
        SET quantity = total.quantity + excluded.quantity, events = total.events + excluded.events
    )
    SELECT DISTINCT tenant_id, run FROM fresh WHERE run IS NOT NULL
""")


async def take_in(
    connection: AsyncConnection, events: Sequence[Envelope[UsageRecorded]]
) -> list[tuple[str, str]]:
    """Store the events that are new and add them to the totals. Returns the (tenant, run) that got any."""
    facts = [event.data for event in events]
    rows = await connection.execute(
        _TAKE_IN,
        {
            "tenants": [event.tenant for event in events],
            "sources": [event.source for event in events],
            "ids": [event.id for event in events],
            "runs": [fact.run for fact in facts],
            "deployments": [fact.deployment for fact in facts],
            "packages": [fact.package for fact in facts],
            "meters": [fact.meter for fact in facts],
            "quantities": [str(fact.quantity) for fact in facts],
            "times": [event.time for event in events],
        },
    )
    return [(tenant, run) for tenant, run in rows]


_GROUP_SQL = {
    "meter": "meter",
    "package": "package",
    "deployment": "deployment",
    "hour": "hour",
    "day": "date_trunc('day', hour, 'UTC')",
}


async def query_totals(
    connection: AsyncConnection, query: QueryUsage, grouping: Grouping, *, start: datetime, end: datetime
) -> list[UsageRow]:
    """Sum the hours in [start, end) by group, one row more than the limit if there is one."""
    parts = [_GROUP_SQL[key] for key in grouping.keys]
    columns = "".join(f"{part} AS key_{number}, " for number, part in enumerate(parts))
    order = ", ".join(f"key_{number}" for number in range(len(parts)))
    # A query that groups by nothing has one row, and none where there is nothing to sum.
    group = f"GROUP BY {order} ORDER BY {order}" if order else "HAVING count(*) > 0"
    statement = text(f"""
        SELECT {columns} sum(quantity) AS quantity, sum(events)::bigint AS events FROM usage_hourly
        WHERE tenant_id = :tenant AND hour >= :start AND hour < :end
            AND (CAST(:meter AS text) IS NULL OR meter = :meter)
            AND (CAST(:package AS text) IS NULL OR package = :package)
            AND (CAST(:deployment AS text) IS NULL OR deployment = :deployment)
        {group} LIMIT :limit
    """)
    rows = await connection.execute(
        statement,
        {
            "tenant": query.tenant,
            "start": start,
            "end": end,
            "meter": query.meter,
            "package": query.package,
            "deployment": query.deployment,
            "limit": query.limit + 1,
        },
    )
    return [_usage_row(grouping, row._mapping) for row in rows]


def _usage_row(grouping: Grouping, row: Any) -> UsageRow:
    groups = {
        "time" if key == grouping.time else key: row[f"key_{number}"] or None
        for number, key in enumerate(grouping.keys)
    }
    return UsageRow(quantity=row["quantity"], events=row["events"], **groups)
