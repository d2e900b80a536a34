"""SQL for seals: written once, never changed. Never commits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.ledger import LedgerPosting
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    LargeBinary,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.database import metadata
from agora_billing.seals.model import written

posting_seals = Table(
    "posting_seals",
    metadata,
    Column("account_id", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("posting_id", Text, ForeignKey("postings.posting_id"), nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("sealed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("account_id", "number"),
    CheckConstraint("octet_length(hash) = 32", name="hash"),
)
seal_heads = Table(
    "seal_heads",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.account_id"), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

_entries = msgspec.json.Decoder(dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How far an account is sealed: the number of its newest sealed posting (0 before the first) and the hash."""

    account: str
    tenant: str
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """The hash that seals a posting."""

    posting: LedgerPosting
    hash: bytes


_BEHIND = text("""
    SELECT a.account_id FROM accounts a LEFT JOIN seal_heads h USING (account_id)
    WHERE a.postings > coalesce(h.number, 0) ORDER BY a.account_id LIMIT :limit
""")

_BEHIND_SINCE = text("""
    SELECT a.account_id FROM (SELECT DISTINCT account_id FROM postings WHERE at >= :since) p
    JOIN accounts a USING (account_id) LEFT JOIN seal_heads h USING (account_id)
    WHERE a.postings > coalesce(h.number, 0) ORDER BY a.account_id LIMIT :limit
""")

_BEGIN = text("""
    INSERT INTO seal_heads (account_id, tenant_id, number, hash)
    SELECT account_id, tenant_id, 0, sha256(convert_to('agora ledger 1' || chr(10) || account_id, 'UTF8'))
    FROM accounts WHERE account_id = ANY(CAST(:accounts AS text[])) ORDER BY account_id
    ON CONFLICT DO NOTHING
""")

# Who comes second leaves the account to whoever is sealing it.
_LOCK = text("""
    SELECT account_id, tenant_id, number, hash FROM seal_heads
    WHERE account_id = ANY(CAST(:accounts AS text[])) ORDER BY account_id FOR UPDATE SKIP LOCKED
""")

_POSTING = """
    p.posting_id, p.tenant_id, p.account_id, p.number, p.currency, p.kind, p.cause, p.description, p.run,
    p.author, p.credit_after, p.promotional_after, p.at,
    (SELECT json_object_agg(e.ledger, e.amount)::text FROM entries e WHERE e.posting_id = p.posting_id) AS entries
"""

_UNSEALED = text(f"""
    SELECT {_POSTING}
    FROM unnest(CAST(:accounts AS text[]), CAST(:numbers AS bigint[])) AS h (account_id, number)
    CROSS JOIN LATERAL (
        SELECT * FROM postings WHERE account_id = h.account_id AND number > h.number
        ORDER BY number LIMIT :limit
    ) p
    ORDER BY p.account_id, p.number
""")

_INSERT = text("""
    INSERT INTO posting_seals (account_id, number, tenant_id, posting_id, hash, sealed_at)
    SELECT n.account_id, n.number, n.tenant_id, n.posting_id, n.hash, :now
    FROM unnest(
        CAST(:accounts AS text[]), CAST(:numbers AS bigint[]), CAST(:tenants AS text[]),
        CAST(:postings AS text[]), CAST(:hashes AS bytea[])
    ) AS n (account_id, number, tenant_id, posting_id, hash)
""")

_SAVE = text("""
    UPDATE seal_heads AS h SET number = n.number, hash = n.hash
    FROM unnest(CAST(:accounts AS text[]), CAST(:numbers AS bigint[]), CAST(:hashes AS bytea[]))
        AS n (account_id, number, hash)
    WHERE h.account_id = n.account_id
""")

_PAGE = text(f"""
    SELECT {_POSTING}, s.hash
    FROM postings p LEFT JOIN posting_seals s ON s.account_id = p.account_id AND s.number = p.number
    WHERE p.account_id = :account AND p.number > :after ORDER BY p.number LIMIT :limit
""")

# Every number that is sealed or booked, so that neither side can be missing unseen.
_RANGE = text(f"""
    SELECT coalesce(s.account_id, p.account_id) AS chain, coalesce(s.number, p.number) AS place,
           s.posting_id AS sealed_posting, s.hash, {_POSTING}
    FROM (
        SELECT * FROM posting_seals
        WHERE account_id = ANY(CAST(:accounts AS text[])) AND number > :after AND number <= :until
    ) s
    FULL JOIN (
        SELECT * FROM postings
        WHERE account_id = ANY(CAST(:accounts AS text[])) AND number > :after AND number <= :until
    ) p ON p.account_id = s.account_id AND p.number = s.number
    ORDER BY 1, 2
""")

_CHAINS = text("""
    SELECT a.account_id, a.tenant_id, h.number AS sealed, h.hash,
           greatest(a.postings, h.number,
                    (SELECT max(number) FROM postings p WHERE p.account_id = a.account_id),
                    (SELECT max(number) FROM posting_seals s WHERE s.account_id = a.account_id)) AS last
    FROM accounts a LEFT JOIN seal_heads h USING (account_id)
    WHERE a.account_id > :after AND (CAST(:account AS text) IS NULL OR a.account_id = :account)
    ORDER BY a.account_id LIMIT :limit
""")


def _posting(row: Row[Any]) -> LedgerPosting:
    return LedgerPosting(
        account=row.account_id,
        at=written(row.at),
        author=row.author,
        cause=row.cause,
        credit_after=row.credit_after,
        currency=row.currency,
        description=row.description,
        entries=_entries.decode(row.entries) if row.entries else {},
        id=row.posting_id,
        kind=row.kind,
        number=row.number,
        promotional_after=row.promotional_after,
        run=row.run,
        tenant=row.tenant_id,
    )


async def lock_behind(connection: AsyncConnection, limit: int, since: datetime | None = None) -> list[Head]:
    """Accounts with postings that are not sealed, kept from other sealers until the transaction ends.

    Args:
        since: look only at accounts with postings of that time or later.
    """
    if since is None:
        found = await connection.execute(_BEHIND, {"limit": limit})
    else:
        found = await connection.execute(_BEHIND_SINCE, {"limit": limit, "since": since})
    behind = list(found.scalars())
    if not behind:
        return []
    await connection.execute(_BEGIN, {"accounts": behind})
    rows = await connection.execute(_LOCK, {"accounts": behind})
    return [
        Head(account=row.account_id, tenant=row.tenant_id, number=row.number, hash=bytes(row.hash))
        for row in rows
    ]


async def unsealed(connection: AsyncConnection, heads: Sequence[Head], limit: int) -> list[LedgerPosting]:
    """What follows these heads, at most `limit` postings of each account, by account and number."""
    rows = await connection.execute(
        _UNSEALED,
        {
            "accounts": [head.account for head in heads],
            "numbers": [head.number for head in heads],
            "limit": limit,
        },
    )
    return [_posting(row) for row in rows]


async def insert(connection: AsyncConnection, new: Sequence[Seal], now: datetime) -> None:
    """Write seals; fails when one of the postings is sealed already."""
    await connection.execute(
        _INSERT,
        {
            "accounts": [seal.posting.account for seal in new],
            "numbers": [seal.posting.number for seal in new],
            "tenants": [seal.posting.tenant for seal in new],
            "postings": [seal.posting.id for seal in new],
            "hashes": [seal.hash for seal in new],
            "now": now,
        },
    )


async def save(connection: AsyncConnection, heads: Iterable[Head]) -> None:
    """Write heads that this transaction has locked."""
    moved = list(heads)
    await connection.execute(
        _SAVE,
        {
            "accounts": [head.account for head in moved],
            "numbers": [head.number for head in moved],
            "hashes": [head.hash for head in moved],
        },
    )


async def page(
    connection: AsyncConnection, account: str, after: int, limit: int
) -> list[tuple[LedgerPosting, bytes | None]]:
    """An account's postings above a number, oldest first, each with its hash if it is sealed."""
    rows = await connection.execute(_PAGE, {"account": account, "after": after, "limit": limit})
    return [(_posting(row), None if row.hash is None else bytes(row.hash)) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What stands at one place of a chain: a posting, a seal, or both."""

    account: str
    number: int
    posting: LedgerPosting | None
    sealed_posting: str | None
    hash: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """An account's chain: the number of its last posting or seal, and its head if anything was sealed."""

    account: str
    last: int
    head: Head | None


async def chains(connection: AsyncConnection, account: str | None, after: str, limit: int) -> list[Chain]:
    """The chains of accounts whose id follows `after`, or that of one account."""
    rows = await connection.execute(_CHAINS, {"account": account, "after": after, "limit": limit})
    return [
        Chain(
            account=row.account_id,
            last=row.last,
            head=None
            if row.hash is None
            else Head(account=row.account_id, tenant=row.tenant_id, number=row.sealed, hash=bytes(row.hash)),
        )
        for row in rows
    ]


async def links(connection: AsyncConnection, chains: Sequence[str], after: int, until: int) -> list[Link]:
    """What stands at the places after `after` until `until` of these accounts' chains, by account and place."""
    rows = await connection.execute(_RANGE, {"accounts": list(chains), "after": after, "until": until})
    return [
        Link(
            account=row.chain,
            number=row.place,
            posting=None if row.posting_id is None else _posting(row),
            sealed_posting=row.sealed_posting,
            hash=None if row.hash is None else bytes(row.hash),
        )
        for row in rows
    ]
