"""SQL for charges: one row per run and revision, written once. Never commits."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from agora_contracts.billing import QuoteLine
from agora_kit.database import driver
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.charges.inputs import ChargeInputs
from agora_billing.charges.model import NOBODY, Funding
from agora_billing.database import metadata

charges = Table(
    "charges",
    metadata,
    Column("run", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("difference", BigInteger, nullable=False),
    Column("promotional_part", BigInteger, nullable=False, server_default="0"),
    Column("credit_part", BigInteger, nullable=False),
    Column("receivable_part", BigInteger, nullable=False),
    Column("platform_part", BigInteger, nullable=False),
    Column("released", BigInteger, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("inputs", JSONB, nullable=False),
    Column("explanation", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("deliverable", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("run", "revision"),
    CheckConstraint("kind IN ('settled', 'adjusted')", name="kind"),
    CheckConstraint("amount >= 0 AND released >= 0", name="amount"),
    CheckConstraint(
        "promotional_part >= 0 AND receivable_part >= 0 AND platform_part >= 0 "
        "AND promotional_part + credit_part + receivable_part + platform_part = amount",
        name="parts",
    ),
)
Index("uq_charges_settled", charges.c.run, unique=True, postgresql_where=text("kind = 'settled'"))

_encoder = msgspec.json.Encoder(decimal_format="string")
_lines = msgspec.json.Decoder(list[QuoteLine])
_inputs = msgspec.json.Decoder(ChargeInputs)


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """A run's charge as of one revision of its usage.

    `amount` is the whole charge, `difference` what this revision changed, `funding` who has paid the whole,
    `refunded` who has got back how much of it by refunds until now, `released` what the settlement gave back of
    the hold, `inputs` what it was rated from. Micro-units. A charge is never less than its refunds.
    """

    run: str
    revision: int
    tenant: str
    account: str
    kind: Literal["settled", "adjusted"]
    currency: str
    amount: int
    difference: int
    funding: Funding
    refunded: Funding = NOBODY
    released: int
    lines: list[QuoteLine]
    inputs: ChargeInputs
    explanation: str
    outcome: str
    deliverable: str
    at: datetime


_LATEST = text("""
    SELECT c.*, coalesce(r.promotional, 0) AS promotional_back, coalesce(r.credit, 0) AS credit_back,
           coalesce(r.receivable, 0) AS receivable_back, coalesce(r.platform, 0) AS platform_back
    FROM (
        SELECT DISTINCT ON (run) run, revision, tenant_id, account_id, kind, currency, amount, difference,
               promotional_part, credit_part, receivable_part, platform_part, released, lines::text AS lines,
               inputs::text AS inputs, explanation, outcome, deliverable, at
        FROM charges WHERE run = ANY(CAST(:runs AS text[])) ORDER BY run, revision DESC
    ) c
    LEFT JOIN (
        SELECT run, sum(promotional_part)::bigint AS promotional, sum(credit_part)::bigint AS credit,
               sum(receivable_part)::bigint AS receivable, sum(platform_part)::bigint AS platform
        FROM refunds WHERE run = ANY(CAST(:runs AS text[])) GROUP BY run
    ) r ON r.run = c.run
""")

# What many charges of a batch have in common comes once, as a kind.
_INSERT = """
    WITH k AS MATERIALIZED (
        SELECT u.*, u.lines_text::jsonb AS lines FROM unnest(
            $1::integer[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[],
            $16::text[], $17::timestamptz[]
        ) WITH ORDINALITY AS u (
            revision, tenant_id, account_id, kind, currency, amount, difference, promotional_part, credit_part,
            receivable_part, platform_part, released, lines_text, explanation, outcome, deliverable, at, number)
    )
    INSERT INTO charges (run, revision, tenant_id, account_id, kind, currency, amount, difference,
                         promotional_part, credit_part, receivable_part, platform_part, released, lines,
                         inputs, explanation, outcome, deliverable, at)
    SELECT n.run, k.revision, k.tenant_id, k.account_id, k.kind, k.currency, k.amount, k.difference,
           k.promotional_part, k.credit_part, k.receivable_part, k.platform_part, k.released, k.lines,
           n.inputs::jsonb, k.explanation, k.outcome, k.deliverable, k.at
    FROM unnest($18::text[], $19::text[], $20::integer[]) AS n (run, inputs, kind)
    JOIN k ON k.number = n.kind
"""


def _charge(row: Row[Any]) -> Charge:
    return Charge(
        run=row.run,
        revision=row.revision,
        tenant=row.tenant_id,
        account=row.account_id,
        kind=row.kind,
        currency=row.currency,
        amount=row.amount,
        difference=row.difference,
        funding=Funding(
            promotional=row.promotional_part,
            credit=row.credit_part,
            receivable=row.receivable_part,
            platform=row.platform_part,
        ),
        refunded=Funding(
            promotional=row.promotional_back,
            credit=row.credit_back,
            receivable=row.receivable_back,
            platform=row.platform_back,
        ),
        released=row.released,
        lines=_lines.decode(row.lines),
        inputs=_inputs.decode(row.inputs),
        explanation=row.explanation,
        outcome=row.outcome,
        deliverable=row.deliverable,
        at=row.at,
    )


async def latest(connection: AsyncConnection, runs: Iterable[str]) -> dict[str, Charge]:
    """The newest charge of each of these runs; runs without one are left out."""
    rows = await connection.execute(_LATEST, {"runs": sorted(set(runs))})
    return {row.run: _charge(row) for row in rows}


def _kind(charge: Charge) -> tuple[object, ...]:
    return (
        charge.revision,
        charge.tenant,
        charge.account,
        charge.kind,
        charge.currency,
        charge.amount,
        charge.difference,
        charge.funding.promotional,
        charge.funding.credit,
        charge.funding.receivable,
        charge.funding.platform,
        charge.released,
        _encoder.encode(charge.lines).decode(),
        charge.explanation,
        charge.outcome,
        charge.deliverable,
        charge.at,
    )


async def insert(connection: AsyncConnection, new: Sequence[Charge]) -> None:
    """Write charges; fails when a run has this revision, or is settled, already."""
    if not new:
        return
    kinds: dict[tuple[object, ...], int] = {}
    numbers = [kinds.setdefault(_kind(charge), len(kinds) + 1) for charge in new]
    raw = await driver(connection)
    await raw.execute(
        _INSERT,
        *(list(column) for column in zip(*kinds, strict=True)),
        [charge.run for charge in new],
        [_encoder.encode(charge.inputs).decode() for charge in new],
        numbers,
    )
