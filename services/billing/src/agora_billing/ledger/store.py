"""SQL for postings and entries: written once, never changed. Never commits."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
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
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
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

entries = Table(
    "entries",
    metadata,
    Column("posting_id", Text, ForeignKey("postings.posting_id"), nullable=False),
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

_INSERT_POSTINGS = text("""
    INSERT INTO postings (posting_id, tenant_id, account_id, number, currency, kind, cause,
                          description, run, author, credit_after, promotional_after, at)
    SELECT * FROM unnest(
        CAST(:ids AS text[]), CAST(:tenants AS text[]), CAST(:accounts AS text[]),
        CAST(:numbers AS bigint[]), CAST(:currencies AS text[]), CAST(:kinds AS text[]),
        CAST(:causes AS text[]), CAST(:descriptions AS text[]), CAST(:runs AS text[]),
        CAST(:authors AS text[]), CAST(:credits AS bigint[]), CAST(:promotional AS bigint[]), CAST(:times AS timestamptz[])
    )
""")

_INSERT_ENTRIES = text("""
    INSERT INTO entries (posting_id, ledger, tenant_id, account_id, currency, amount)
    SELECT * FROM unnest(
        CAST(:ids AS text[]), CAST(:ledgers AS text[]), CAST(:tenants AS text[]),
        CAST(:accounts AS text[]), CAST(:currencies AS text[]), CAST(:amounts AS bigint[])
    )
""")

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
    await connection.execute(
        _INSERT_POSTINGS,
        {
            "ids": [posting.id for posting in new],
            "tenants": [posting.tenant for posting in new],
            "accounts": [posting.account for posting in new],
            "numbers": [posting.number for posting in new],
            "currencies": [posting.currency for posting in new],
            "kinds": [str(posting.kind) for posting in new],
            "causes": [posting.cause for posting in new],
            "descriptions": [posting.description for posting in new],
            "runs": [posting.run for posting in new],
            "authors": [posting.author for posting in new],
            "credits": [posting.credit_after for posting in new],
            "promotional": [posting.promotional_after for posting in new],
            "times": [posting.at for posting in new],
        },
    )
    rows = [(posting, ledger, amount) for posting in new for ledger, amount in posting.entries.items()]
    await connection.execute(
        _INSERT_ENTRIES,
        {
            "ids": [posting.id for posting, _, _ in rows],
            "ledgers": [str(ledger) for _, ledger, _ in rows],
            "tenants": [posting.tenant for posting, _, _ in rows],
            "accounts": [posting.account for posting, _, _ in rows],
            "currencies": [posting.currency for posting, _, _ in rows],
            "amounts": [amount for _, _, amount in rows],
        },
    )


async def topped_up(connection: AsyncConnection, posting: str) -> int | None:
    """How much the top-up with this posting brought in; None when there was none."""
    row = (await connection.execute(_TOP_UP, {"posting": posting})).one_or_none()
    return None if row is None else int(row.amount)


async def page(connection: AsyncConnection, account: str, before: int, limit: int) -> Sequence[Row[Any]]:
    """An account's postings below a number, newest first, each with its effect on the credit."""
    return (await connection.execute(_PAGE, {"account": account, "before": before, "limit": limit})).all()
