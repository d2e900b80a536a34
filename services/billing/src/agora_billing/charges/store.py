"""SQL for charges: one row per run and revision, written once. Never commits."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from agora_contracts.billing import QuoteLine
from sqlalchemy import (
    BigInteger,
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
    Column("run", Text, ForeignKey("holds.run"), nullable=False),
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

_INSERT = text("""
    INSERT INTO charges (run, revision, tenant_id, account_id, kind, currency, amount, difference,
                         promotional_part, credit_part, receivable_part, platform_part, released, lines,
                         inputs, explanation, outcome, deliverable, at)
    SELECT n.run, n.revision, n.tenant, n.account, n.kind, n.currency, n.amount, n.difference, n.promotional,
           n.credit, n.receivable, n.platform, n.released, CAST(n.lines AS jsonb), CAST(n.inputs AS jsonb),
           n.explanation, n.outcome, n.deliverable, n.at
    FROM unnest(
        CAST(:runs AS text[]), CAST(:revisions AS integer[]), CAST(:tenants AS text[]),
        CAST(:accounts AS text[]), CAST(:kinds AS text[]), CAST(:currencies AS text[]),
        CAST(:amounts AS bigint[]), CAST(:differences AS bigint[]),
        CAST(:promotional AS bigint[]), CAST(:credits AS bigint[]),
        CAST(:receivables AS bigint[]), CAST(:platforms AS bigint[]), CAST(:released AS bigint[]),
        CAST(:lines AS text[]), CAST(:inputs AS text[]), CAST(:explanations AS text[]),
        CAST(:outcomes AS text[]), CAST(:deliverables AS text[]), CAST(:times AS timestamptz[])
    ) AS n (run, revision, tenant, account, kind, currency, amount, difference, promotional, credit, receivable,
            platform, released, lines, inputs, explanation, outcome, deliverable, at)
""")


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


async def insert(connection: AsyncConnection, new: Sequence[Charge]) -> None:
    """Write charges; fails when a run has this revision, or is settled, already."""
    if not new:
        return
    await connection.execute(
        _INSERT,
        {
            "runs": [charge.run for charge in new],
            "revisions": [charge.revision for charge in new],
            "tenants": [charge.tenant for charge in new],
            "accounts": [charge.account for charge in new],
            "kinds": [charge.kind for charge in new],
            "currencies": [charge.currency for charge in new],
            "amounts": [charge.amount for charge in new],
            "differences": [charge.difference for charge in new],
            "promotional": [charge.funding.promotional for charge in new],
            "credits": [charge.funding.credit for charge in new],
            "receivables": [charge.funding.receivable for charge in new],
            "platforms": [charge.funding.platform for charge in new],
            "released": [charge.released for charge in new],
            "lines": [_encoder.encode(charge.lines).decode() for charge in new],
            "inputs": [_encoder.encode(charge.inputs).decode() for charge in new],
            "explanations": [charge.explanation for charge in new],
            "outcomes": [charge.outcome for charge in new],
            "deliverables": [charge.deliverable for charge in new],
            "times": [charge.at for charge in new],
        },
    )
