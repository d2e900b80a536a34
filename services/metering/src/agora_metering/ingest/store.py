"""SQL for what the platform knows of meters and deployments that outside reports name. Never commits."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agora_contracts.subjects import PLATFORM_TENANT
from sqlalchemy import Boolean, Column, DateTime, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata
from agora_metering.ingest.model import MeterUse, Report

priced_meters = Table(
    "priced_meters",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("by_run", Boolean, nullable=False),
    PrimaryKeyConstraint("tenant_id", "meter", "by_run"),
)

known_deployments = Table(
    "known_deployments",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("tenant_id", "deployment"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDeployment:
    """A deployment of a tenant, and which package it is of."""

    tenant: str
    deployment: str
    package: str
    started_at: datetime


def _pairs(pairs: Collection[tuple[str, str]]) -> dict[str, Any]:
    ordered = sorted(pairs)
    return {"tenants": [tenant for tenant, _ in ordered], "names": [name for _, name in ordered]}


async def meter_uses(
    connection: AsyncConnection, meters: Collection[tuple[str, str]]
) -> dict[tuple[str, str], MeterUse]:
    """What is known of meters, by tenant and name."""
    rows = await connection.execute(
        text("""
            SELECT i.tenant_id, i.meter,
                EXISTS (SELECT FROM meters m WHERE m.tenant_id IN (i.tenant_id, :platform)
                        AND m.event = i.meter AND m.state <> 'deleting') AS defined,
                coalesce(p.by_run, false) AS by_run, coalesce(p.by_period, false) AS by_period
            FROM unnest(CAST(:tenants AS text[]), CAST(:names AS text[])) AS i (tenant_id, meter)
            LEFT JOIN LATERAL (
                SELECT bool_or(by_run) AS by_run, bool_or(NOT by_run) AS by_period
                FROM priced_meters WHERE tenant_id = :platform AND meter = i.meter
            ) AS p ON true
        """),
        _pairs(meters) | {"platform": PLATFORM_TENANT},
    )
    return {
        (row.tenant_id, row.meter): MeterUse(
            defined=row.defined, priced_by_run=row.by_run, priced_by_period=row.by_period
        )
        for row in rows
    }


async def packages_of(
    connection: AsyncConnection, deployments: Collection[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """The packages of those deployments that are their tenant's."""
    if not deployments:
        return {}
    rows = await connection.execute(
        text("""
            SELECT d.tenant_id, d.deployment, d.package FROM known_deployments d
            JOIN unnest(CAST(:tenants AS text[]), CAST(:names AS text[])) AS i (tenant_id, deployment)
                ON d.tenant_id = i.tenant_id AND d.deployment = i.deployment
        """),
        _pairs(deployments),
    )
    return {(tenant, deployment): package for tenant, deployment, package in rows}


async def add_priced_meters(connection: AsyncConnection, meters: Collection[tuple[str, bool]]) -> None:
    """Note which meters published prices rate, and whether by the run."""
    ordered = sorted(meters)
    await connection.execute(
        text("""
            INSERT INTO priced_meters (tenant_id, meter, by_run)
            SELECT :platform, i.meter, i.by_run
            FROM unnest(CAST(:meters AS text[]), CAST(:by_run AS boolean[])) AS i (meter, by_run)
            ON CONFLICT DO NOTHING
        """),
        {
            "platform": PLATFORM_TENANT,
            "meters": [meter for meter, _ in ordered],
            "by_run": [by_run for _, by_run in ordered],
        },
    )


async def add_deployments(connection: AsyncConnection, deployments: Sequence[KnownDeployment]) -> None:
    """Note deployments; what is known stays."""
    by_key = {(one.tenant, one.deployment): one for one in deployments}
    rows = [by_key[key] for key in sorted(by_key)]
    await connection.execute(
        text("""
            INSERT INTO known_deployments (tenant_id, deployment, package, started_at)
            SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:deployments AS text[]),
                                 CAST(:packages AS text[]), CAST(:times AS timestamptz[]))
            ON CONFLICT DO NOTHING
        """),
        {
            "tenants": [row.tenant for row in rows],
            "deployments": [row.deployment for row in rows],
            "packages": [row.package for row in rows],
            "times": [row.started_at for row in rows],
        },
    )


async def counted_alike(connection: AsyncConnection, report: Report, package: str | None) -> bool:
    """Whether an event that says the same as this one, whenever it was, is counted under its id."""
    rows = await connection.execute(
        text("""
            SELECT meter, quantity, deployment, package, dimensions FROM usage_events
            WHERE id = :id AND source = :source AND tenant_id = :tenant AND run IS NULL
        """),
        {"id": report.id, "source": report.source, "tenant": report.arrival.tenant},
    )
    usage = report.usage
    said = (usage.meter, usage.quantity, usage.deployment, package, usage.dimensions)
    return any(
        said == (row.meter, row.quantity, row.deployment, row.package, row.dimensions or {}) for row in rows
    )
