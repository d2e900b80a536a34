"""SQL for rentals and what was told of their months. Never commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Column, DateTime, Index, Integer, Numeric, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata
from agora_metering.rentals.model import Rental

rentals = Table(
    "rentals",
    metadata,
    Column("deployment", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("basis", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("counted_at", DateTime(timezone=True)),
)
# Those that still have something to tell: running, or ended and not counted since.
Index(
    "ix_rentals_open",
    rentals.c.counted_at,
    postgresql_where=text("ended_at IS NULL OR counted_at IS NULL OR counted_at < ended_at"),
)

rental_months = Table(
    "rental_months",
    metadata,
    Column("deployment", Text, nullable=False),
    Column("period_start", DateTime(timezone=True), nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("revision", Integer, nullable=False),
    PrimaryKeyConstraint("deployment", "period_start"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told of a rental's month."""

    deployment: str
    tenant: str
    period_start: datetime
    quantity: Decimal
    revision: int


async def insert(connection: AsyncConnection, new: Sequence[Rental]) -> None:
    """Keep rentals; one that is known stays, and one whose end came first has ended."""
    by_id = {one.deployment: one for one in new}
    rows = [by_id[one] for one in sorted(by_id)]
    await connection.execute(
        text("""
            INSERT INTO rentals (deployment, tenant_id, basis, started_at)
            SELECT * FROM unnest(CAST(:deployments AS text[]), CAST(:tenants AS text[]),
                                 CAST(:bases AS text[]), CAST(:times AS timestamptz[]))
            ON CONFLICT (deployment) DO UPDATE
            SET basis = excluded.basis, started_at = excluded.started_at, counted_at = NULL
            WHERE rentals.basis = '' AND rentals.tenant_id = excluded.tenant_id
        """),
        {
            "deployments": [one.deployment for one in rows],
            "tenants": [one.tenant for one in rows],
            "bases": [one.basis for one in rows],
            "times": [one.started_at for one in rows],
        },
    )


async def end(connection: AsyncConnection, ended: Sequence[tuple[str, str, datetime]]) -> None:
    """Note when deployments ended; the first end stands.

    An end may come before its start. It is kept then as that of a rental without a basis and without time, which has
    nothing to tell; deployments that are no rentals stay so.
    """
    first: dict[str, tuple[str, datetime]] = {}
    for deployment, tenant, at in ended:
        first.setdefault(deployment, (tenant, at))
    ordered = sorted(first)
    await connection.execute(
        text("""
            INSERT INTO rentals AS r (deployment, tenant_id, basis, started_at, ended_at, counted_at)
            SELECT n.deployment, n.tenant_id, '', n.ended_at, n.ended_at, n.ended_at
            FROM unnest(CAST(:deployments AS text[]), CAST(:tenants AS text[]), CAST(:times AS timestamptz[]))
                AS n (deployment, tenant_id, ended_at)
            ON CONFLICT (deployment) DO UPDATE SET ended_at = excluded.ended_at, counted_at = NULL
            WHERE r.tenant_id = excluded.tenant_id AND r.ended_at IS NULL
        """),
        {
            "deployments": ordered,
            "tenants": [first[one][0] for one in ordered],
            "times": [first[one][1] for one in ordered],
        },
    )


async def claim(connection: AsyncConnection, now: datetime, before: datetime, limit: int) -> list[Rental]:
    """Rentals that were last counted before a moment, as counted now; each is claimed by one caller."""
    rows = await connection.execute(
        text("""
            UPDATE rentals r SET counted_at = :now
            FROM (
                SELECT deployment FROM rentals
                WHERE (ended_at IS NULL OR counted_at IS NULL OR counted_at < ended_at)
                    AND (counted_at IS NULL OR counted_at <= :before)
                ORDER BY counted_at NULLS FIRST LIMIT :limit FOR UPDATE SKIP LOCKED
            ) AS due
            WHERE r.deployment = due.deployment
            RETURNING r.deployment, r.tenant_id, r.basis, r.started_at, r.ended_at
        """),
        {"now": now, "before": before, "limit": limit},
    )
    return [
        Rental(
            deployment=row.deployment,
            tenant=row.tenant_id,
            basis=row.basis,
            started_at=row.started_at,
            ended_at=row.ended_at,
        )
        for row in rows
    ]


async def told(connection: AsyncConnection, deployments: Sequence[str]) -> dict[tuple[str, datetime], Told]:
    """What was told of these rentals, by deployment and month."""
    rows = await connection.execute(
        text("""
            SELECT deployment, tenant_id, period_start, quantity, revision FROM rental_months
            WHERE deployment = ANY(CAST(:deployments AS text[]))
        """),
        {"deployments": sorted(deployments)},
    )
    return {
        (row.deployment, row.period_start): Told(
            deployment=row.deployment,
            tenant=row.tenant_id,
            period_start=row.period_start,
            quantity=row.quantity,
            revision=row.revision,
        )
        for row in rows
    }


async def save(connection: AsyncConnection, months: Sequence[Told]) -> None:
    """Note what is told."""
    if not months:
        return
    await connection.execute(
        text("""
            INSERT INTO rental_months (deployment, period_start, tenant_id, quantity, revision)
            VALUES (:deployment, :start, :tenant, :quantity, :revision)
            ON CONFLICT (deployment, period_start) DO UPDATE
            SET quantity = excluded.quantity, revision = excluded.revision
        """),
        [
            {
                "deployment": one.deployment,
                "start": one.period_start,
                "tenant": one.tenant,
                "quantity": one.quantity,
                "revision": one.revision,
            }
            for one in months
        ],
    )
