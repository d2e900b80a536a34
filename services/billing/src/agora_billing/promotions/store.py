"""SQL for grants and what runs have spent of them. Never commits.

Whoever changes a grant has locked its account before; a grant needs no lock of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
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
from agora_billing.promotions.model import Grant

promotions = Table(
    "promotions",
    metadata,
    Column("promotion_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False),
    Column("expired", BigInteger, nullable=False, server_default="0"),
    Column("reference", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("granted_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    UniqueConstraint("account_id", "reference"),
    CheckConstraint(
        "amount > 0 AND remaining >= 0 AND expired >= 0 AND remaining + expired <= amount", name="amount"
    ),
)
Index("ix_promotions_left", promotions.c.account_id, postgresql_where=text("remaining > 0"))

promotion_uses = Table(
    "promotion_uses",
    metadata,
    Column("run", Text, nullable=False),
    Column("promotion_id", Text, ForeignKey("promotions.promotion_id"), nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    PrimaryKeyConstraint("run", "promotion_id"),
)
Index("ix_promotion_uses_promotion_id", promotion_uses.c.promotion_id)

_COLUMNS = (
    "p.promotion_id, p.tenant_id, p.account_id, p.currency, p.amount, p.remaining, p.expired, p.reference, "
    "p.reason, p.granted_at, p.expires_at"
)

_LEFT = text(f"""
    SELECT {_COLUMNS} FROM promotions p
    WHERE p.account_id = ANY(CAST(:accounts AS text[])) AND p.remaining > 0
""")

_USED = text(f"""
    SELECT {_COLUMNS} FROM promotions p WHERE p.promotion_id IN (
        SELECT u.promotion_id FROM promotion_uses u WHERE u.run = ANY(CAST(:runs AS text[]))
    )
""")

_USES = text("""
    SELECT run, promotion_id, amount FROM promotion_uses WHERE run = ANY(CAST(:runs AS text[]))
""")

_BY_REFERENCE = text(f"""
    SELECT {_COLUMNS} FROM promotions p WHERE p.account_id = :account AND p.reference = :reference
""")

_INSERT = text("""
    INSERT INTO promotions (promotion_id, tenant_id, account_id, currency, amount, remaining, expired,
                            reference, reason, granted_at, expires_at)
    VALUES (:id, :tenant, :account, :currency, :amount, :remaining, :expired,
            :reference, :reason, :granted_at, :expires_at)
""")

_SAVE = text("""
    UPDATE promotions AS p SET remaining = n.remaining, expired = n.expired
    FROM unnest(CAST(:ids AS text[]), CAST(:remaining AS bigint[]), CAST(:expired AS bigint[]))
        AS n (promotion_id, remaining, expired)
    WHERE p.promotion_id = n.promotion_id
""")

_SAVE_USES = text("""
    INSERT INTO promotion_uses (run, promotion_id, tenant_id, amount)
    SELECT * FROM unnest(
        CAST(:runs AS text[]), CAST(:promotions AS text[]), CAST(:tenants AS text[]), CAST(:amounts AS bigint[])
    )
    ON CONFLICT (run, promotion_id) DO UPDATE SET amount = excluded.amount
""")

_DUE = text("""
    SELECT account_id, promotional_expires_at FROM accounts
    WHERE promotional_expires_at <= :now AND (promotional_expires_at, account_id) > (:after, :account)
    ORDER BY promotional_expires_at, account_id LIMIT :limit
""")

_PAGE = text(f"""
    SELECT {_COLUMNS} FROM promotions p
    WHERE p.account_id = :account AND (p.granted_at, p.promotion_id) < (:granted_at, :id)
    ORDER BY p.granted_at DESC, p.promotion_id DESC LIMIT :limit
""")


def _grant(row: Row[Any]) -> Grant:
    return Grant(
        id=row.promotion_id,
        tenant=row.tenant_id,
        account=row.account_id,
        currency=row.currency,
        amount=row.amount,
        remaining=row.remaining,
        expired=row.expired,
        reference=row.reference,
        reason=row.reason,
        granted_at=row.granted_at,
        expires_at=row.expires_at,
    )


async def left(connection: AsyncConnection, accounts: Iterable[str]) -> list[Grant]:
    """The grants of accounts of which something is left."""
    rows = await connection.execute(_LEFT, {"accounts": sorted(set(accounts))})
    return [_grant(row) for row in rows]


async def used(connection: AsyncConnection, runs: Iterable[str]) -> list[Grant]:
    """The grants that runs have spent of, whatever is left of them."""
    return [_grant(row) for row in await connection.execute(_USED, {"runs": sorted(set(runs))})]


async def uses(connection: AsyncConnection, runs: Iterable[str]) -> dict[str, dict[str, int]]:
    """What runs have spent of grants and not got back: by run, then by grant."""
    found: dict[str, dict[str, int]] = {}
    for row in await connection.execute(_USES, {"runs": sorted(set(runs))}):
        found.setdefault(row.run, {})[row.promotion_id] = row.amount
    return found


async def by_reference(connection: AsyncConnection, account: str, reference: str) -> Grant | None:
    """The grant that an account has under a reference."""
    row = (
        await connection.execute(_BY_REFERENCE, {"account": account, "reference": reference})
    ).one_or_none()
    return None if row is None else _grant(row)


async def insert(connection: AsyncConnection, grant: Grant) -> None:
    """Store a new grant."""
    await connection.execute(
        _INSERT,
        {
            "id": grant.id,
            "tenant": grant.tenant,
            "account": grant.account,
            "currency": grant.currency,
            "amount": grant.amount,
            "remaining": grant.remaining,
            "expired": grant.expired,
            "reference": grant.reference,
            "reason": grant.reason,
            "granted_at": grant.granted_at,
            "expires_at": grant.expires_at,
        },
    )


async def save(connection: AsyncConnection, changed: Sequence[Grant]) -> None:
    """Write grants whose accounts this transaction has locked."""
    if changed:
        await connection.execute(
            _SAVE,
            {
                "ids": [grant.id for grant in changed],
                "remaining": [grant.remaining for grant in changed],
                "expired": [grant.expired for grant in changed],
            },
        )


async def save_uses(connection: AsyncConnection, changed: Mapping[tuple[str, str], tuple[str, int]]) -> None:
    """Write what runs have spent of grants: (run, grant) to (tenant, amount)."""
    if changed:
        await connection.execute(
            _SAVE_USES,
            {
                "runs": [run for run, _ in changed],
                "promotions": [promotion for _, promotion in changed],
                "tenants": [tenant for tenant, _ in changed.values()],
                "amounts": [amount for _, amount in changed.values()],
            },
        )


async def due(
    connection: AsyncConnection, now: datetime, after: tuple[datetime, str], limit: int
) -> list[tuple[datetime, str]]:
    """Accounts with a grant whose time is over and of which something is left: since when, and the account's id.

    Args:
        after: the place behind which to go on.
    """
    place = {"now": now, "after": after[0], "account": after[1], "limit": limit}
    return [(row.promotional_expires_at, row.account_id) for row in await connection.execute(_DUE, place)]


async def page(
    connection: AsyncConnection, account: str, before: tuple[datetime, str], limit: int
) -> list[Grant]:
    """An account's grants, newest first, from before one of them."""
    rows = await connection.execute(
        _PAGE, {"account": account, "granted_at": before[0], "id": before[1], "limit": limit}
    )
    return [_grant(row) for row in rows]
