"""SQL for refunds: written once, never changed. Never commits."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.charges.model import Funding
from agora_billing.database import metadata
from agora_billing.refunds.model import Refund

refunds = Table(
    "refunds",
    metadata,
    Column("run", Text, ForeignKey("holds.run"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("whole", Boolean, nullable=False),
    Column("promotional_part", BigInteger, nullable=False),
    Column("credit_part", BigInteger, nullable=False),
    Column("receivable_part", BigInteger, nullable=False),
    Column("platform_part", BigInteger, nullable=False),
    Column("expired_part", BigInteger, nullable=False),
    Column("author_part", BigInteger, nullable=False),
    Column("reference", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("run", "number"),
    UniqueConstraint("run", "reference"),
    CheckConstraint("amount > 0 AND number >= 1", name="amount"),
    CheckConstraint(
        "promotional_part >= 0 AND credit_part >= 0 AND receivable_part >= 0 AND platform_part >= 0 "
        "AND expired_part BETWEEN 0 AND promotional_part "
        "AND promotional_part + credit_part + receivable_part + platform_part = amount",
        name="parts",
    ),
)

_COLUMNS = (
    "run, number, tenant_id, account_id, currency, amount, whole, promotional_part, credit_part, "
    "receivable_part, platform_part, expired_part, author_part, reference, reason, at"
)

_OF_RUN = text(f"SELECT {_COLUMNS} FROM refunds WHERE run = :run ORDER BY number")

_INSERT = text(f"""
    INSERT INTO refunds ({_COLUMNS})
    VALUES (:run, :number, :tenant, :account, :currency, :amount, :whole, :promotional, :credit,
            :receivable, :platform, :expired, :author, :reference, :reason, :at)
""")


def _refund(row: Row[Any]) -> Refund:
    return Refund(
        run=row.run,
        number=row.number,
        tenant=row.tenant_id,
        account=row.account_id,
        currency=row.currency,
        amount=row.amount,
        whole=row.whole,
        returned=Funding(
            promotional=row.promotional_part,
            credit=row.credit_part,
            receivable=row.receivable_part,
            platform=row.platform_part,
        ),
        expired=row.expired_part,
        author=row.author_part,
        reference=row.reference,
        reason=row.reason,
        at=row.at,
    )


async def of_run(connection: AsyncConnection, run: str) -> list[Refund]:
    """A run's refunds, oldest first."""
    return [_refund(row) for row in await connection.execute(_OF_RUN, {"run": run})]


async def insert(connection: AsyncConnection, new: Refund) -> None:
    """Write a refund; fails when the run has one of this number or reference already."""
    await connection.execute(
        _INSERT,
        {
            "run": new.run,
            "number": new.number,
            "tenant": new.tenant,
            "account": new.account,
            "currency": new.currency,
            "amount": new.amount,
            "whole": new.whole,
            "promotional": new.returned.promotional,
            "credit": new.returned.credit,
            "receivable": new.returned.receivable,
            "platform": new.returned.platform,
            "expired": new.expired,
            "author": new.author,
            "reference": new.reference,
            "reason": new.reason,
            "at": new.at,
        },
    )
