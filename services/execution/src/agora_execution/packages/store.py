"""SQL for the read model of packages."""

import msgspec
from agora_contracts.catalog import Manifest, PackagePublished, Schemas
from sqlalchemy import Boolean, Column, DateTime, Integer, PrimaryKeyConstraint, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import metadata
from agora_execution.packages.model import PackageVersion

packages = Table(
    "packages",
    metadata,
    Column("package", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("manifest", JSONB, nullable=False),
    Column("schemas", JSONB, nullable=False),
    Column("price_version", Text, nullable=False),
    Column("first_party", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    # Which of the catalogue's moves of the state stands, counted from 1; 0 before the first.
    Column("state_revision", Integer, nullable=False, server_default="0"),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("package", "version"),
)


async def save(connection: AsyncConnection, event: PackagePublished) -> None:
    """Keep a published version; a later state of the same version is not undone by an old event."""
    await connection.execute(
        text("""
            INSERT INTO packages (package, version, manifest, schemas, price_version, first_party, state)
            VALUES (:package, :version, CAST(:manifest AS jsonb), CAST(:schemas AS jsonb), :price_version,
                    :first_party, :state)
            ON CONFLICT (package, version) DO UPDATE SET manifest = excluded.manifest, schemas = excluded.schemas,
                price_version = excluded.price_version, first_party = excluded.first_party, updated_at = now()
        """),
        {
            "package": event.package,
            "version": event.version,
            "manifest": _json(event.manifest),
            "schemas": _json(event.schemas),
            "price_version": event.price_version,
            "first_party": event.first_party,
            "state": event.manifest.state,
        },
    )


async def set_state(
    connection: AsyncConnection, package: str, version: str, state: str, revision: int
) -> bool:
    """Move a version's listing state, unless a later move stands. Returns whether the version is known."""
    result = await connection.execute(
        text("""
            UPDATE packages SET state = CASE WHEN state_revision <= :revision THEN :state ELSE state END,
                state_revision = greatest(state_revision, :revision), updated_at = now()
            WHERE package = :package AND version = :version
        """),
        {"package": package, "version": version, "state": state, "revision": revision},
    )
    return result.rowcount == 1


async def versions_of(connection: AsyncConnection, package: str) -> list[PackageVersion]:
    """Every known version of a package."""
    rows = await connection.execute(
        text("""
            SELECT package, version, manifest, schemas, price_version, first_party, state
            FROM packages WHERE package = :package
        """),
        {"package": package},
    )
    return [
        PackageVersion(
            package=row.package,
            version=row.version,
            manifest=msgspec.convert(row.manifest, Manifest, strict=False),
            schemas=msgspec.convert(row.schemas, Schemas),
            price_version=row.price_version,
            first_party=row.first_party,
            state=row.state,
        )
        for row in rows
    ]


def _json(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
