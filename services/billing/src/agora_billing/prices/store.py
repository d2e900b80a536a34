"""SQL for pinned price versions: written once, never changed. Never commits."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from agora_contracts.catalog import ChargePolicy, OfferedPrice, OwnKeyFee
from agora_contracts.subjects import PLATFORM_TENANT
from sqlalchemy import Boolean, Column, DateTime, Index, Integer, Numeric, Row, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.database import metadata
from agora_billing.prices.model import PriceVersion

price_versions = Table(
    "price_versions",
    metadata,
    Column("price_version", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("prices", JSONB, nullable=False),
    Column("charges", JSONB, nullable=False),
    Column("model_cost_limit", Numeric, nullable=False),
    Column("author", Text),
    Column("author_share", Numeric),
    Column("published_at", DateTime(timezone=True), nullable=False),
    Column("number", Integer, nullable=False, server_default="0"),
    Column("revises", Boolean, nullable=False, server_default=text("false")),
    Column("effective_at", DateTime(timezone=True), nullable=False),
    Column("notice_days", Integer, nullable=False, server_default="30"),
    Column("own_key_fee", JSONB, nullable=False, server_default=text("'{}'")),
)
Index("ix_price_versions_revises", price_versions.c.package, postgresql_where=text("revises"))

_encoder = msgspec.json.Encoder(decimal_format="string")
_prices = msgspec.json.Decoder(tuple[OfferedPrice, ...])
_fees = msgspec.json.Decoder(OwnKeyFee)
_charges = msgspec.json.Decoder(ChargePolicy)

_INSERT = text("""
    INSERT INTO price_versions
        (price_version, tenant_id, package, version, currency, prices, charges, model_cost_limit, author, author_share,
         published_at, number, revises, effective_at, notice_days, own_key_fee)
    VALUES (:id, :tenant, :package, :version, :currency, CAST(:prices AS jsonb), CAST(:charges AS jsonb),
            :model_cost_limit, :author, :author_share, :published_at, :number, :revises, :effective_at, :notice_days,
            CAST(:own_key_fee AS jsonb))
    ON CONFLICT DO NOTHING
""")

_COLUMNS = """
    price_version, package, version, currency, prices::text, charges::text, model_cost_limit, author, author_share,
    published_at, number, revises, effective_at, notice_days, own_key_fee::text AS own_key_fee
"""

_READ = text(f"SELECT {_COLUMNS} FROM price_versions WHERE price_version = ANY(CAST(:ids AS text[]))")

_REVISIONS = text(
    f"SELECT {_COLUMNS} FROM price_versions WHERE package = :package AND revises ORDER BY number"
)


async def insert(connection: AsyncConnection, new: Sequence[PriceVersion]) -> None:
    """Pin price versions; one that is pinned stays as it is."""
    if not new:
        return
    await connection.execute(
        _INSERT,
        [
            {
                "id": price.id,
                "tenant": PLATFORM_TENANT,
                "package": price.package,
                "version": price.version,
                "currency": price.currency,
                "prices": _encoder.encode(price.prices).decode(),
                "charges": _encoder.encode(price.charges).decode(),
                "model_cost_limit": price.model_cost_limit,
                "author": price.author,
                "author_share": price.author_share,
                "published_at": price.published_at,
                "number": price.number,
                "revises": price.revises,
                "effective_at": price.effective_at,
                "notice_days": price.notice_days,
                "own_key_fee": _encoder.encode(price.own_key_fee).decode(),
            }
            for price in new
        ],
    )


async def read(connection: AsyncConnection, ids: Iterable[str]) -> list[PriceVersion]:
    """Read price versions; unknown ones are left out."""
    rows = await connection.execute(_READ, {"ids": sorted(set(ids))})
    return [_price(row) for row in rows]


async def revisions(connection: AsyncConnection, package: str) -> list[PriceVersion]:
    """The price versions of a package that revise others, in the order of its book."""
    return [_price(row) for row in await connection.execute(_REVISIONS, {"package": package})]


def _price(row: Row[Any]) -> PriceVersion:
    return PriceVersion(
        id=row.price_version,
        package=row.package,
        version=row.version,
        currency=row.currency,
        prices=_prices.decode(row.prices),
        charges=_charges.decode(row.charges),
        model_cost_limit=row.model_cost_limit,
        author=row.author,
        author_share=row.author_share,
        number=row.number,
        revises=row.revises,
        published_at=row.published_at,
        effective_at=row.effective_at,
        notice_days=row.notice_days,
        own_key_fee=_fees.decode(row.own_key_fee),
    )
