"""SQL for accounts and nothing else: rows in, `Account` out. Never commits."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, Row, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts.model import Account
from agora_billing.database import metadata

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("credit", BigInteger, nullable=False, server_default="0"),
    Column("held", BigInteger, nullable=False, server_default="0"),
    Column("receivable", BigInteger, nullable=False, server_default="0"),
    Column("receivable_limit", BigInteger, nullable=False, server_default="0"),
    Column("postings", BigInteger, nullable=False, server_default="0"),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("promotional", BigInteger, nullable=False, server_default="0"),
    Column("promotional_expires_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    CheckConstraint(
        "held >= 0 AND credit >= 0 AND promotional >= 0 AND credit + promotional - held >= 0",
        name="held_is_credit",
    ),
    CheckConstraint("closed_at IS NULL OR held = 0", name="closed_holds_nothing"),
    CheckConstraint("receivable >= 0 AND receivable <= receivable_limit", name="receivable_is_limited"),
)

Index(
    "ix_accounts_promotional_expires_at",
    accounts.c.promotional_expires_at,
    postgresql_where=text("promotional_expires_at IS NOT NULL"),
)

_COLUMNS = (
    "account_id, tenant_id, currency, credit, promotional, held, receivable, receivable_limit, postings, "
    "promotional_expires_at, closed_at"
)

_READ = text(f"SELECT {_COLUMNS} FROM accounts WHERE account_id = :account")

# One statement, so that the balance and the sums tell of the same moment.
_READ_WITH_ENTRIES = text(f"""
    SELECT {_COLUMNS}, (
        SELECT coalesce(sum(e.amount), 0)::bigint FROM entries e
        WHERE e.account_id = accounts.account_id AND e.ledger = 'customer_credit'
    ) AS entries_sum, (
        SELECT coalesce(sum(e.amount), 0)::bigint FROM entries e
        WHERE e.account_id = accounts.account_id AND e.ledger = 'promotional_credit'
    ) AS promotional_sum
    FROM accounts WHERE account_id = :account
""")

# Sorted, so that two writers never lock the same accounts crosswise.
_LOCK = text(f"""
    SELECT {_COLUMNS} FROM accounts
    WHERE account_id IN (
        SELECT unnest(CAST(:accounts AS text[]))
        UNION SELECT account_id FROM holds WHERE run = ANY(CAST(:runs AS text[]))
    )
    ORDER BY account_id FOR UPDATE
""")

_INSERT = text("""
    INSERT INTO accounts (account_id, tenant_id, currency, receivable_limit, opened_at)
    VALUES (:account, :tenant, :currency, :receivable_limit, :at)
    ON CONFLICT DO NOTHING
""")

_OPEN_RUNS = text("""
    SELECT count(*) FROM holds WHERE account_id = :account AND state IN ('tentative', 'firm')
""")

_SAVE = text("""
    UPDATE accounts AS a
    SET credit = n.credit, promotional = n.promotional, held = n.held, receivable = n.receivable,
        postings = n.postings, promotional_expires_at = n.promotional_expires_at, closed_at = n.closed_at
    FROM unnest(
        CAST(:ids AS text[]), CAST(:credit AS bigint[]), CAST(:promotional AS bigint[]),
        CAST(:held AS bigint[]), CAST(:receivable AS bigint[]), CAST(:postings AS bigint[]),
        CAST(:promotional_expires AS timestamptz[]), CAST(:closed AS timestamptz[])
    ) AS n (account_id, credit, promotional, held, receivable, postings, promotional_expires_at, closed_at)
    WHERE a.account_id = n.account_id
""")


def _account(row: Row[Any]) -> Account:
    return Account(
        id=row.account_id,
        tenant=row.tenant_id,
        currency=row.currency,
        credit=row.credit,
        promotional=row.promotional,
        held=row.held,
        receivable=row.receivable,
        receivable_limit=row.receivable_limit,
        postings=row.postings,
        promotional_expires_at=row.promotional_expires_at,
        closed_at=row.closed_at,
    )


async def insert(connection: AsyncConnection, account: Account, at: datetime) -> None:
    """Store a new account; one that is there stays as it is."""
    await connection.execute(
        _INSERT,
        {
            "account": account.id,
            "tenant": account.tenant,
            "currency": account.currency,
            "receivable_limit": account.receivable_limit,
            "at": at,
        },
    )


async def read(connection: AsyncConnection, account: str) -> Account | None:
    """Read one account without locking it."""
    row = (await connection.execute(_READ, {"account": account})).one_or_none()
    return None if row is None else _account(row)


async def read_with_entries(connection: AsyncConnection, account: str) -> tuple[Account, int, int] | None:
    """Read one account, and its paid and promotional credit recomputed from every ledger entry."""
    row = (await connection.execute(_READ_WITH_ENTRIES, {"account": account})).one_or_none()
    return None if row is None else (_account(row), row.entries_sum, row.promotional_sum)


async def lock(
    connection: AsyncConnection, ids: Iterable[str], runs: Iterable[str] = ()
) -> dict[str, Account]:
    """Read accounts, by id or by the run that one of their holds is for, and keep them locked.

    Always before any hold is locked.
    """
    rows = await connection.execute(_LOCK, {"accounts": sorted(set(ids)), "runs": sorted(set(runs))})
    return {row.account_id: _account(row) for row in rows}


async def open_runs(connection: AsyncConnection, account: str) -> int:
    """How many runs have an open hold on an account that this transaction has locked."""
    return int((await connection.execute(_OPEN_RUNS, {"account": account})).scalar_one())


async def save(connection: AsyncConnection, changed: Sequence[Account]) -> None:
    """Write accounts that this transaction has locked."""
    if not changed:
        return
    await connection.execute(
        _SAVE,
        {
            "ids": [account.id for account in changed],
            "credit": [account.credit for account in changed],
            "promotional": [account.promotional for account in changed],
            "held": [account.held for account in changed],
            "receivable": [account.receivable for account in changed],
            "postings": [account.postings for account in changed],
            "promotional_expires": [account.promotional_expires_at for account in changed],
            "closed": [account.closed_at for account in changed],
        },
    )
