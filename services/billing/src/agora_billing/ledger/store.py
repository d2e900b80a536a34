"""SQL for postings and entries: written once, never changed. Never commits."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from agora_kit.database import driver
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.database import metadata
from agora_billing.ledger.model import Ledger, Posting, PostingKind


def _names(of: type[StrEnum]) -> str:
    return ", ".join(f"'{one}'" for one in of)


postings = Table(
    "postings",
    metadata,
    Column("posting_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("run", Text),
    Column("author", Text),
    Column("credit_after", BigInteger, nullable=False),
    Column("promotional_after", BigInteger, nullable=False, server_default="0"),
    Column("at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("kind", "cause"),
    UniqueConstraint("account_id", "number"),
    CheckConstraint(f"kind IN ({_names(PostingKind)})", name="kind"),
)
# Postings are written in the order of their times, or nearly: a range of pages has times of its own.
Index("ix_postings_at", postings.c.at, postgresql_using="brin", postgresql_with={"pages_per_range": 16})

entries = Table(
    "entries",
    metadata,
    Column("posting_id", Text, nullable=False),
    Column("ledger", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    PrimaryKeyConstraint("posting_id", "ledger"),
    CheckConstraint(f"ledger IN ({_names(Ledger)})", name="ledger"),
    CheckConstraint("amount <> 0", name="amount"),
)
Index("ix_entries_account", entries.c.account_id, entries.c.ledger, postgresql_include=["amount"])

# What many postings of a batch have in common comes once, as a kind, and so do equal entries, as a pattern. Postings
# and entries are one statement, at the end of which the database looks at both.
_INSERT = """
    WITH k AS MATERIALIZED (
        SELECT * FROM unnest(
            $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[]
        ) WITH ORDINALITY AS u (tenant_id, account_id, currency, kind, description, author, at, number)
    ), n AS MATERIALIZED (
        SELECT * FROM unnest(
            $8::text[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::integer[],
            $15::integer[]
        ) AS u (posting_id, number, cause, run, credit_after, promotional_after, kind, pattern)
    ), written AS (
        INSERT INTO postings (posting_id, tenant_id, account_id, number, currency, kind, cause, description, run,
                              author, credit_after, promotional_after, at)
        SELECT n.posting_id, k.tenant_id, k.account_id, n.number, k.currency, k.kind, n.cause, k.description, n.run,
               k.author, n.credit_after, n.promotional_after, k.at
        FROM n JOIN k ON k.number = n.kind
    )
    INSERT INTO entries (posting_id, ledger, tenant_id, account_id, currency, amount)
    SELECT n.posting_id, e.ledger, k.tenant_id, k.account_id, k.currency, e.amount
    FROM n
    JOIN k ON k.number = n.kind
    JOIN unnest($16::integer[], $17::text[], $18::bigint[]) AS e (pattern, ledger, amount) ON e.pattern = n.pattern
"""

_TOP_UP = text("""
    SELECT e.currency, -e.amount AS amount FROM entries e
    WHERE e.posting_id = :posting AND e.ledger = 'cash_clearing'
""")

_PAGE = text("""
    SELECT p.number, p.posting_id, p.at, p.kind, p.cause, p.description, p.run, p.credit_after,
           p.promotional_after, coalesce(e.amount, 0) AS amount, coalesce(g.amount, 0) AS promotional
    FROM postings p
    LEFT JOIN entries e ON e.posting_id = p.posting_id AND e.ledger = 'customer_credit'
    LEFT JOIN entries g ON g.posting_id = p.posting_id AND g.ledger = 'promotional_credit'
    WHERE p.account_id = :account AND p.number < :before
    ORDER BY p.number DESC LIMIT :limit
""")


async def insert(connection: AsyncConnection, new: Sequence[Posting]) -> None:
    """Write postings with their entries; the database refuses what does not balance."""
    if not new:
        return
    kinds: dict[tuple[object, ...], int] = {}
    patterns: dict[tuple[tuple[str, int], ...], int] = {}
    of_kind: list[int] = []
    of_pattern: list[int] = []
    for one in new:
        kind = (one.tenant, one.account, one.currency, one.kind.value, one.description, one.author, one.at)
        of_kind.append(kinds.setdefault(kind, len(kinds) + 1))
        pattern = tuple([(ledger.value, amount) for ledger, amount in one.entries.items()])
        of_pattern.append(patterns.setdefault(pattern, len(patterns) + 1))
    rows = [(number, *entry) for pattern, number in patterns.items() for entry in pattern]
    raw = await driver(connection)
    await raw.execute(
        _INSERT,
        *(list(column) for column in zip(*kinds, strict=True)),
        [one.id for one in new],
        [one.number for one in new],
        [one.cause for one in new],
        [one.run for one in new],
        [one.credit_after for one in new],
        [one.promotional_after for one in new],
        of_kind,
        of_pattern,
        *(list(column) for column in zip(*rows, strict=True)),
    )


async def topped_up(connection: AsyncConnection, posting: str) -> int | None:
    """How much the top-up with this posting brought in; None when there was none."""
    row = (await connection.execute(_TOP_UP, {"posting": posting})).one_or_none()
    return None if row is None else int(row.amount)


async def page(connection: AsyncConnection, account: str, before: int, limit: int) -> Sequence[Row[Any]]:
    """An account's postings below a number, newest first, each with its effect on the credit."""
    return (await connection.execute(_PAGE, {"account": account, "before": before, "limit": limit})).all()
