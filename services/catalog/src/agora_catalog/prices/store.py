"""SQL for the price book: entries are written once and never changed. Never commits."""

from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.catalog import ChargePolicy, OfferedPrice, PriceEntry
from agora_contracts.subjects import PLATFORM_TENANT
from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_catalog.database import metadata

price_book = Table(
    "price_book",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("package", Text, ForeignKey("packages.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("price_version", Text, nullable=False),
    Column("version", Text),
    Column("prices", JSONB, nullable=False),
    Column("charges", JSONB, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False),
    Column("effective_at", DateTime(timezone=True), nullable=False),
    Column("notice_days", Integer, nullable=False),
    PrimaryKeyConstraint("package", "number"),
    UniqueConstraint("price_version"),
)
Index("ix_price_book_revisions", price_book.c.package, postgresql_where=text("version IS NULL"))

_encoder = msgspec.json.Encoder(decimal_format="string")
_prices = msgspec.json.Decoder(list[OfferedPrice])
_charges = msgspec.json.Decoder(ChargePolicy)

_COLUMNS = """
    package, number, price_version, version, prices::text AS prices, charges::text AS charges, published_at,
    effective_at, notice_days
"""


def _entry(row: Row[Any]) -> PriceEntry:
    return PriceEntry(
        price_version=row.price_version,
        number=row.number,
        version=row.version,
        prices=_prices.decode(row.prices),
        charges=_charges.decode(row.charges),
        published_at=row.published_at,
        effective_at=row.effective_at,
        notice_days=row.notice_days,
    )


async def add(connection: AsyncConnection, package: str, entry: PriceEntry) -> None:
    """Write an entry of a package that this transaction has locked."""
    await connection.execute(
        text("""
            INSERT INTO price_book (tenant_id, package, number, price_version, version, prices, charges,
                                    published_at, effective_at, notice_days)
            VALUES (:tenant, :package, :number, :price_version, :version, CAST(:prices AS jsonb),
                    CAST(:charges AS jsonb), :published_at, :effective_at, :notice_days)
        """),
        {
            "tenant": PLATFORM_TENANT,
            "package": package,
            "number": entry.number,
            "price_version": entry.price_version,
            "version": entry.version,
            "prices": _encoder.encode(entry.prices).decode(),
            "charges": _encoder.encode(entry.charges).decode(),
            "published_at": entry.published_at,
            "effective_at": entry.effective_at,
            "notice_days": entry.notice_days,
        },
    )


async def next_number(connection: AsyncConnection, package: str) -> int:
    """The number of the next entry of a package that this transaction has locked."""
    query = text("SELECT coalesce(max(number), 0) + 1 FROM price_book WHERE package = :package")
    return int((await connection.execute(query, {"package": package})).scalar_one())


async def find(connection: AsyncConnection, price_version: str) -> tuple[str, PriceEntry] | None:
    """An entry by its price version, with its package."""
    query = text(f"SELECT {_COLUMNS} FROM price_book WHERE price_version = :id")
    row = (await connection.execute(query, {"id": price_version})).one_or_none()
    return None if row is None else (row.package, _entry(row))


async def book(connection: AsyncConnection, package: str, published_by: datetime) -> list[PriceEntry]:
    """Every entry of a package that was published by then, newest first."""
    query = text(f"""
        SELECT {_COLUMNS} FROM price_book WHERE package = :package AND published_at <= :by ORDER BY number DESC
    """)
    rows = await connection.execute(query, {"package": package, "by": published_by})
    return [_entry(row) for row in rows]
