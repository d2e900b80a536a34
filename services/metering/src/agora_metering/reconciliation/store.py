"""SQL for reconciliation: what is stored of events and runs, and which windows were compared. Never commits."""

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope
from agora_contracts.periods import PeriodTotal
from agora_contracts.reconciliation import Reconciliation, RecordedUsage
from agora_contracts.usage import UsageRecorded
from sqlalchemy import Column, DateTime, Integer, PrimaryKeyConstraint, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata
from agora_metering.reconciliation.model import CountedRun

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("until", DateTime(timezone=True), nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("events", Integer, nullable=False),
    Column("runs", Integer, nullable=False),
    Column("differences", Integer, nullable=False),
    PrimaryKeyConstraint("until"),
)

_KEPT_DAYS = 90
_LOCK = 7_203_106
RUN_SOURCE = f"agora/{EVENTS[UsageRecorded].producer}"
"""Whose events runs record."""

_TOTALS = f"agora.evt.%.{EVENTS[PeriodTotal].path}"
_told = msgspec.json.Decoder(Envelope[PeriodTotal])

_TOLD = text("""
    SELECT payload FROM outbox
    WHERE created_at >= :since AND created_at < :until AND subject LIKE :subject
        AND (CAST(:tenant AS text) IS NULL OR tenant_id = :tenant)
    ORDER BY seq
""")

_STORED = text("""
    SELECT i.tenant_id, i.id FROM unnest(CAST(:tenants AS text[]), CAST(:ids AS text[])) AS i (tenant_id, id)
    WHERE EXISTS (
        SELECT FROM usage_events e WHERE e.id = i.id AND e.source = :source AND e.tenant_id = i.tenant_id OFFSET 0)
""")

_REFUSED = text("""
    SELECT message_id, reason FROM dead_letters WHERE consumer = 'metering-usage' AND replayed_at IS NULL
        AND (message_id = ANY(CAST(:ids AS text[])) OR message_id = ANY(CAST(:known AS text[])))
""")

_COUNTED = text("""
    SELECT i.run, coalesce(r.revision, 0) AS revision, e.meter, e.events, e.recorded, v.quantity AS effective
    FROM unnest(CAST(:tenants AS text[]), CAST(:runs AS text[])) AS i (tenant_id, run)
    LEFT JOIN runs r ON r.tenant_id = i.tenant_id AND r.run = i.run
    LEFT JOIN LATERAL (
        SELECT meter, count(*) AS events, sum(quantity) AS recorded FROM usage_events
        WHERE run = i.run AND tenant_id = i.tenant_id GROUP BY meter
    ) AS e ON true
    LEFT JOIN LATERAL (
        SELECT coalesce(sum(quantity) FILTER (WHERE NOT voided), 0) AS quantity FROM usage_effective
        WHERE run = i.run AND tenant_id = i.tenant_id AND meter = e.meter
    ) AS v ON true
""")


async def told_months(
    connection: AsyncConnection, tenant: str | None, since: datetime, until: datetime
) -> list[tuple[str, PeriodTotal]]:
    """The newest totals of deployments' months that were told in a window, each with its tenant."""
    rows = await connection.execute(
        _TOLD, {"tenant": tenant, "since": since, "until": until, "subject": _TOTALS}
    )
    newest: dict[tuple[str, str, str, datetime], PeriodTotal] = {}
    for payload in rows.scalars():
        told = _told.decode(payload)
        total = told.data
        # In the order in which they were told, so that the last one is the newest.
        newest[told.tenant, total.deployment, total.meter, total.period_start] = total
    return [(tenant, total) for (tenant, *_), total in newest.items()]


async def stored(connection: AsyncConnection, events: Sequence[RecordedUsage]) -> set[tuple[str, str]]:
    """Those of the events, by tenant and id, that are stored."""
    rows = await connection.execute(
        _STORED,
        {
            "tenants": [one.tenant for one in events],
            "ids": [one.id for one in events],
            "source": RUN_SOURCE,
        },
    )
    return {(row.tenant_id, row.id) for row in rows}


async def refused(connection: AsyncConnection, ids: Collection[str]) -> dict[str, str]:
    """Why events became dead letters, by their id."""
    known = {f"{RUN_SOURCE}:{id}": id for id in ids}
    rows = await connection.execute(_REFUSED, {"ids": list(ids), "known": list(known)})
    return {known.get(row.message_id, row.message_id): row.reason for row in rows}


async def counted(connection: AsyncConnection, runs: Sequence[tuple[str, str]]) -> dict[str, CountedRun]:
    """What is counted of runs, given by tenant and id."""
    rows = await connection.execute(
        _COUNTED, {"tenants": [tenant for tenant, _ in runs], "runs": [run for _, run in runs]}
    )
    found: dict[str, CountedRun] = {}
    for row in rows:
        before = found.get(row.run)
        events, recorded, effective = (
            (before.events, before.recorded, before.effective) if before else (0, {}, {})
        )
        if row.meter is not None:
            events += row.events
            recorded = {**recorded, row.meter: row.recorded}
            effective = {**effective, row.meter: row.effective}
        found[row.run] = CountedRun(
            run=row.run, events=events, recorded=recorded, effective=effective, revision=row.revision
        )
    return found


# --- windows -------------------------------------------------------------------------------------


async def lock_schedule(connection: AsyncConnection) -> bool:
    """Be the only one that reconciles on schedule until the transaction ends; False when somebody else is."""
    locked = await connection.execute(text(f"SELECT pg_try_advisory_xact_lock({_LOCK})"))
    return bool(locked.scalar_one())


async def compared_until(connection: AsyncConnection) -> datetime | None:
    """Until when windows were compared; None before the first."""
    until: datetime | None = (
        await connection.execute(text("SELECT max(until) FROM reconciliations"))
    ).scalar_one()
    return until


async def note(connection: AsyncConnection, done: Reconciliation) -> None:
    """Remember that a window was compared, and forget old ones."""
    await connection.execute(
        text("""
            INSERT INTO reconciliations (until, since, events, runs, differences)
            VALUES (:until, :since, :events, :runs, :differences)
        """),
        {
            "until": done.until,
            "since": done.since,
            "events": done.events,
            "runs": done.runs,
            "differences": len(done.differences),
        },
    )
    await connection.execute(
        text(f"DELETE FROM reconciliations WHERE until < now() - make_interval(days => {_KEPT_DAYS})")
    )
