"""SQL for packages and their versions: rows in, structs out. Never commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.catalog import (
    Category,
    ListingState,
    Manifest,
    OfferedPrice,
    PackageSummary,
    PublishPackage,
    Schemas,
)
from agora_contracts.subjects import PLATFORM_TENANT
from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_catalog.database import metadata
from agora_catalog.listings.model import Search, VersionState, is_executable

packages = Table(
    "packages",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("id", Text, primary_key=True),
    Column("shown_version", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

package_versions = Table(
    "package_versions",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("package", Text, ForeignKey("packages.id"), nullable=False),
    Column("version", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("state_revision", Integer, nullable=False, server_default="0"),
    Column("first_party", Boolean, nullable=False),
    Column("category", Text, nullable=False),
    Column("contents_hash", Text, nullable=False),
    Column("price_version", Text, nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("schemas", JSON, nullable=False),
    Column("search", TSVECTOR, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("package", "version"),
    CheckConstraint("state IN ('announced', 'draft', 'published', 'deprecated', 'retired')", name="state"),
)
Index("ix_package_versions_search", package_versions.c.search, postgresql_using="gin")


class StoredVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version as stored; `state` is where it stands now, `manifest.state` where it began.

    `prices_now` is what a new customer pays where the prices of the manifest were revised.
    """

    manifest: Manifest
    schemas: Schemas
    state: ListingState
    state_revision: int
    first_party: bool
    contents_hash: str
    price_version: str
    published_at: datetime
    prices_now: list[OfferedPrice] | None = None

    @property
    def contents(self) -> PublishPackage:
        """The version as it was published."""
        return PublishPackage(manifest=self.manifest, schemas=self.schemas, first_party=self.first_party)

    @property
    def summary(self) -> PackageSummary:
        """The version as it stands in a list."""
        return PackageSummary(
            id=self.manifest.id,
            version=self.manifest.version,
            title=self.manifest.title,
            summary=self.manifest.summary,
            category=self.manifest.category,
            state=self.state,
            executable=is_executable(self.state, first_party=self.first_party),
            tags=self.manifest.tags,
            prices=self.manifest.prices if self.prices_now is None else self.prices_now,
            price_version=self.price_version,
            published_at=self.published_at,
        )


class FoundListing(msgspec.Struct, frozen=True, kw_only=True):
    """A listing and its rank in a search, in millionths (0 without a search)."""

    summary: PackageSummary
    rank: int


_COLUMNS = """
    v.manifest::text AS manifest, v.schemas::text AS schemas, v.state, v.state_revision, v.first_party,
    v.contents_hash, v.price_version, v.published_at, (
        SELECT b.prices::text FROM price_book b
        WHERE b.package = v.package AND b.version IS NULL AND b.effective_at <= now() AND b.number > (
            SELECT own.number FROM price_book own WHERE own.price_version = v.price_version)
        ORDER BY b.number DESC LIMIT 1
    ) AS prices_now
"""
_manifests = msgspec.json.Decoder(Manifest)
_schemas = msgspec.json.Decoder(Schemas)
_prices = msgspec.json.Decoder(list[OfferedPrice])


def _stored(row: Row[Any]) -> StoredVersion:
    return StoredVersion(
        manifest=_manifests.decode(row.manifest),
        schemas=_schemas.decode(row.schemas),
        state=row.state,
        state_revision=row.state_revision,
        first_party=row.first_party,
        contents_hash=row.contents_hash,
        price_version=row.price_version,
        published_at=row.published_at,
        prices_now=None if row.prices_now is None else _prices.decode(row.prices_now),
    )


# --- writing -------------------------------------------------------------------------------------


async def lock_package(connection: AsyncConnection, package: str) -> None:
    """Make sure the package has a row and lock it: one change of a package at a time."""
    await connection.execute(
        text("INSERT INTO packages (tenant_id, id) VALUES (:tenant, :id) ON CONFLICT DO NOTHING"),
        {"tenant": PLATFORM_TENANT, "id": package},
    )
    await lock_package_if_there(connection, package)


async def lock_package_if_there(connection: AsyncConnection, package: str) -> None:
    """Lock the package's row until the transaction ends."""
    await connection.execute(text("SELECT 1 FROM packages WHERE id = :id FOR UPDATE"), {"id": package})


async def add_version(connection: AsyncConnection, version: StoredVersion) -> None:
    """Store a new version. Words count by where they stand: title, then id and tags, summary, the rest."""
    manifest = version.manifest
    await connection.execute(
        text("""
            INSERT INTO package_versions (
                tenant_id, package, version, state, state_revision, first_party, category, contents_hash,
                price_version, manifest, schemas, published_at, search
            ) VALUES (
                :tenant, :package, :version, :state, :state_revision, :first_party, :category, :contents_hash,
                :price_version, CAST(:manifest AS text)::json, CAST(:schemas AS text)::json, :published_at,
                setweight(to_tsvector('english', :title), 'A')
                    || setweight(to_tsvector('english', :names), 'B')
                    || setweight(to_tsvector('english', :summary), 'C')
                    || to_tsvector('english', :description)
                    || to_tsvector('simple', concat_ws(' ', :title, :names, :summary))
            )
        """),
        {
            "tenant": PLATFORM_TENANT,
            "package": manifest.id,
            "version": manifest.version,
            "state": version.state,
            "state_revision": version.state_revision,
            "first_party": version.first_party,
            "category": manifest.category,
            "contents_hash": version.contents_hash,
            "price_version": version.price_version,
            "manifest": msgspec.json.encode(manifest).decode(),
            "schemas": msgspec.json.encode(version.schemas).decode(),
            "published_at": version.published_at,
            "title": manifest.title,
            "names": " ".join([manifest.id, *manifest.tags]),
            "summary": manifest.summary,
            "description": manifest.description,
        },
    )


async def move_state(connection: AsyncConnection, package: str, version: str, state: ListingState) -> int:
    """Write a version's new state and return the number of this move, counted from 1."""
    statement = text("""
        UPDATE package_versions SET state = :state, state_revision = state_revision + 1
        WHERE package = :package AND version = :version RETURNING state_revision
    """)
    result = await connection.execute(statement, {"package": package, "version": version, "state": state})
    revision: int = result.scalar_one()
    return revision


async def show_version(connection: AsyncConnection, package: str, version: str | None) -> None:
    """Write which version stands for the package."""
    await connection.execute(
        text("UPDATE packages SET shown_version = :version WHERE id = :id"),
        {"id": package, "version": version},
    )


# --- reading -------------------------------------------------------------------------------------


async def find_version(
    connection: AsyncConnection, package: str, version: str | None = None
) -> StoredVersion | None:
    """Read one version whatever its state, or the one that is shown; None without it."""
    statement = text(f"""
        SELECT {_COLUMNS} FROM packages p
        JOIN package_versions v ON v.package = p.id
            AND v.version = coalesce(CAST(:version AS text), p.shown_version)
        WHERE p.id = :package
    """)
    row = (await connection.execute(statement, {"package": package, "version": version})).one_or_none()
    return None if row is None else _stored(row)


async def list_versions(connection: AsyncConnection, package: str) -> list[VersionState]:
    """Every version of a package with its state, in no order."""
    statement = text("SELECT version, state FROM package_versions WHERE package = :package")
    rows = await connection.execute(statement, {"package": package})
    return [VersionState(version=row.version, state=row.state) for row in rows]


async def count_by_category(connection: AsyncConnection) -> dict[Category, int]:
    """How many packages are visible in each category that has any."""
    statement = text("""
        SELECT v.category, count(*) AS packages FROM packages p
        JOIN package_versions v ON v.package = p.id AND v.version = p.shown_version
        GROUP BY v.category
    """)
    return {row.category: row.packages for row in await connection.execute(statement)}


async def list_shown(
    connection: AsyncConnection, *, category: str | None, after: str, limit: int
) -> Sequence[FoundListing]:
    """Visible packages by id, those after `after`."""
    statement = text(f"""
        SELECT {_COLUMNS} FROM packages p
        JOIN package_versions v ON v.package = p.id AND v.version = p.shown_version
        WHERE p.id > :after AND (CAST(:category AS text) IS NULL OR v.category = :category)
        ORDER BY p.id LIMIT :limit
    """)
    rows = await connection.execute(statement, {"category": category, "after": after, "limit": limit})
    return [FoundListing(summary=_stored(row).summary, rank=0) for row in rows]


async def search_shown(
    connection: AsyncConnection,
    search: Search,
    *,
    category: str | None,
    after: tuple[int, str] | None,
    limit: int,
) -> Sequence[FoundListing]:
    """Visible packages that match a search, best first, those after the position (rank, id)."""
    # The rank becomes a whole number, so that a cursor can hold it exactly.
    statement = text(f"""
        WITH asked AS (
            SELECT CASE WHEN CAST(:prefix AS text) IS NULL THEN websearch_to_tsquery('english', :words)
                   ELSE websearch_to_tsquery('english', :words) || to_tsquery('simple', :prefix || ':*')
                   END AS query
        ), found AS (
            SELECT {_COLUMNS}, p.id, (ts_rank(v.search, asked.query) * 1000000)::bigint AS rank
            FROM asked, packages p
            JOIN package_versions v ON v.package = p.id AND v.version = p.shown_version
            WHERE v.search @@ asked.query AND (CAST(:category AS text) IS NULL OR v.category = :category)
        )
        SELECT * FROM found
        WHERE CAST(:rank AS bigint) IS NULL OR rank < :rank OR (rank = :rank AND id > CAST(:after AS text))
        ORDER BY rank DESC, id LIMIT :limit
    """)
    rank, package = after if after is not None else (None, None)
    rows = await connection.execute(
        statement,
        {
            "words": search.words,
            "prefix": search.prefix,
            "category": category,
            "rank": rank,
            "after": package,
            "limit": limit,
        },
    )
    return [FoundListing(summary=_stored(row).summary, rank=row.rank) for row in rows]
