"""SQL for the deployments that billing knows. Never commits."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, DateTime, Index, Row, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.database import metadata
from agora_billing.rentals.model import Rental

rentals = Table(
    "rentals",
    metadata,
    Column("deployment", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("price_version", Text, nullable=False),
    Column("basis", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
)
Index("ix_rentals_package", rentals.c.package, postgresql_where=text("ended_at IS NULL"))

_COLUMNS = "deployment, tenant_id, account_id, package, version, price_version, basis, started_at, ended_at"

_INSERT = text("""
    INSERT INTO rentals (deployment, tenant_id, account_id, package, version, price_version, basis, started_at)
    SELECT * FROM unnest(
        CAST(:deployments AS text[]), CAST(:tenants AS text[]), CAST(:accounts AS text[]),
        CAST(:packages AS text[]), CAST(:versions AS text[]), CAST(:prices AS text[]),
        CAST(:bases AS text[]), CAST(:times AS timestamptz[])
    )
    ON CONFLICT DO NOTHING
""")

# A hire and a price version of its package that are written at once do not see each other: whoever takes this second
# sees what the first has written, and tells what is to change.
_LOCK_BOOK = text("SELECT pg_advisory_xact_lock(hashtextextended('rentals of ' || :package, 0))")

_END = text("""
    UPDATE rentals r SET ended_at = n.ended_at
    FROM unnest(CAST(:deployments AS text[]), CAST(:tenants AS text[]), CAST(:times AS timestamptz[]))
        AS n (deployment, tenant_id, ended_at)
    WHERE r.deployment = n.deployment AND r.tenant_id = n.tenant_id AND r.ended_at IS NULL
""")

_STANDING = text(f"""
    SELECT {_COLUMNS} FROM rentals WHERE package = :package AND ended_at IS NULL ORDER BY deployment
""")

_READ = text(f"SELECT {_COLUMNS} FROM rentals WHERE deployment = ANY(CAST(:ids AS text[]))")


def _rental(row: Row[Any]) -> Rental:
    return Rental(
        deployment=row.deployment,
        tenant=row.tenant_id,
        account=row.account_id,
        package=row.package,
        version=row.version,
        price_version=row.price_version,
        basis=row.basis,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


async def insert(connection: AsyncConnection, new: Sequence[Rental]) -> None:
    """Keep deployments; one that is known stays as it is. See `standing` for what waits."""
    for package in sorted({one.package for one in new}):
        await connection.execute(_LOCK_BOOK, {"package": package})
    by_id = {one.deployment: one for one in new}
    rows = [by_id[one] for one in sorted(by_id)]
    await connection.execute(
        _INSERT,
        {
            "deployments": [one.deployment for one in rows],
            "tenants": [one.tenant for one in rows],
            "accounts": [one.account for one in rows],
            "packages": [one.package for one in rows],
            "versions": [one.version for one in rows],
            "prices": [one.price_version for one in rows],
            "bases": [one.basis for one in rows],
            "times": [one.started_at for one in rows],
        },
    )


async def end(connection: AsyncConnection, ended: Sequence[tuple[str, str, datetime]]) -> None:
    """Note when deployments ended, each given with its tenant; the first end stands."""
    await connection.execute(
        _END,
        {
            "deployments": [deployment for deployment, _, _ in ended],
            "tenants": [tenant for _, tenant, _ in ended],
            "times": [at for _, _, at in ended],
        },
    )


async def standing(connection: AsyncConnection, package: str) -> list[Rental]:
    """The deployments of a package that have not ended; none starts until this transaction is over."""
    await connection.execute(_LOCK_BOOK, {"package": package})
    return [_rental(row) for row in await connection.execute(_STANDING, {"package": package})]


async def read(connection: AsyncConnection, ids: Iterable[str]) -> dict[str, Rental]:
    """Read deployments; unknown ones are left out."""
    rows = await connection.execute(_READ, {"ids": sorted(set(ids))})
    return {row.deployment: _rental(row) for row in rows}
