"""SQL for periods, what is their runs', and their own postings. Never commits.

Whoever changes a period has locked its account before; periods need no locks of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

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
    Numeric,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.charges.model import Funding
from agora_billing.database import metadata
from agora_billing.periods.model import Period, Share
from agora_billing.rating.usage import Usage

periods = Table(
    "periods",
    metadata,
    Column("period_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    Column("currency", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("deployment", Text),
    Column("basis", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("price_version", Text, ForeignKey("price_versions.price_version"), nullable=False),
    Column("runs", Integer, nullable=False),
    Column("run_quantity", Numeric, nullable=False),
    Column("run_events", BigInteger, nullable=False),
    Column("run_amount", BigInteger, nullable=False),
    Column("reported_quantity", Numeric, nullable=False),
    Column("reported_events", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("own_amount", BigInteger, nullable=False),
    Column("postings", Integer, nullable=False),
    CheckConstraint(
        "runs >= 0 AND run_quantity >= 0 AND run_amount >= 0 AND reported_quantity >= 0", name="amounts"
    ),
)
Index("ix_periods_account_id", periods.c.account_id, periods.c.starts_at, periods.c.period_id)

Index(
    "ix_periods_reported",
    periods.c.deployment,
    periods.c.starts_at,
    periods.c.meter,
    unique=True,
    postgresql_where=text("revision > 0"),
)

period_runs = Table(
    "period_runs",
    metadata,
    Column("period_id", Text, ForeignKey("periods.period_id"), nullable=False),
    Column("run", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    PrimaryKeyConstraint("period_id", "run"),
    CheckConstraint("quantity >= 0 AND events >= 0 AND amount >= 0", name="amounts"),
)
Index("ix_period_runs_run", period_runs.c.run)

period_charges = Table(
    "period_charges",
    metadata,
    Column("period_id", Text, ForeignKey("periods.period_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("promotional_part", BigInteger, nullable=False),
    Column("credit_part", BigInteger, nullable=False),
    Column("receivable_part", BigInteger, nullable=False),
    Column("platform_part", BigInteger, nullable=False),
    Column("budgets", JSONB, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("explanation", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("period_id", "number"),
    CheckConstraint("amount <> 0 AND number >= 1", name="amount"),
    CheckConstraint(
        "promotional_part + credit_part + receivable_part + platform_part = amount", name="parts"
    ),
)

_encoder = msgspec.json.Encoder(decimal_format="string")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodCharge:
    """A period's `number`-th posting of its own; `amount` and its parts are negative when money went back.

    `budgets` is what it has added to the windows of budgets, by their ids, `lines` what the whole period came to then,
    `revision` the newest reported total of that moment.
    """

    period: str
    number: int
    tenant: str
    account: str
    currency: str
    amount: int
    funding: Funding
    budgets: Mapping[int, int]
    lines: list[QuoteLine]
    explanation: str
    revision: int
    at: datetime


_COLUMNS = (
    "period_id, tenant_id, account_id, currency, package, deployment, basis, meter, starts_at, price_version, "
    "runs, run_quantity, run_events, run_amount, reported_quantity, reported_events, revision, own_amount, postings"
)

_READ = text(f"SELECT {_COLUMNS} FROM periods WHERE period_id = ANY(CAST(:ids AS text[]))")

_REPORTED = text(f"""
    SELECT {_COLUMNS} FROM periods
    WHERE deployment = :deployment AND meter = :meter AND starts_at = :start AND revision > 0
""")

_PAGE = text(f"""
    SELECT {_COLUMNS} FROM periods
    WHERE account_id = :account AND (CAST(:deployment AS text) IS NULL OR deployment = :deployment)
        AND (starts_at, period_id) < (:before, :before_id)
    ORDER BY starts_at DESC, period_id DESC LIMIT :limit
""")

_SAVE = text("""
    INSERT INTO periods (period_id, tenant_id, account_id, currency, package, deployment, basis, meter, starts_at,
                         price_version, runs, run_quantity, run_events, run_amount, reported_quantity,
                         reported_events, revision, own_amount, postings)
    VALUES (:id, :tenant, :account, :currency, :package, :deployment, :basis, :meter, :starts_at,
            :price_version, :runs, :run_quantity, :run_events, :run_amount, :reported_quantity,
            :reported_events, :revision, :own_amount, :postings)
    ON CONFLICT (period_id) DO UPDATE
    SET runs = excluded.runs, run_quantity = excluded.run_quantity, run_events = excluded.run_events,
        run_amount = excluded.run_amount, reported_quantity = excluded.reported_quantity,
        reported_events = excluded.reported_events, revision = excluded.revision,
        own_amount = excluded.own_amount, postings = excluded.postings
""")

_SHARES = text("""
    SELECT period_id, run, quantity, events, amount FROM period_runs WHERE run = ANY(CAST(:runs AS text[]))
""")

_SAVE_SHARES = text("""
    INSERT INTO period_runs (period_id, run, tenant_id, quantity, events, amount)
    SELECT * FROM unnest(
        CAST(:periods AS text[]), CAST(:runs AS text[]), CAST(:tenants AS text[]),
        CAST(:quantities AS numeric[]), CAST(:events AS bigint[]), CAST(:amounts AS bigint[])
    )
    ON CONFLICT (period_id, run) DO UPDATE
    SET quantity = excluded.quantity, events = excluded.events, amount = excluded.amount
""")

# What is left of what was paid for the runs of a period and by its own postings, by who paid it.
_PAID = text("""
    SELECT coalesce(sum(promotional), 0)::bigint AS promotional, coalesce(sum(credit), 0)::bigint AS credit,
           coalesce(sum(receivable), 0)::bigint AS receivable, coalesce(sum(platform), 0)::bigint AS platform
    FROM (
        SELECT promotional_part AS promotional, credit_part AS credit, receivable_part AS receivable,
               platform_part AS platform
        FROM period_charges WHERE period_id = :period
        UNION ALL (
            SELECT DISTINCT ON (c.run) c.promotional_part, c.credit_part, c.receivable_part, c.platform_part
            FROM period_runs p JOIN charges c USING (run) WHERE p.period_id = :period
            ORDER BY c.run, c.revision DESC
        )
        UNION ALL
        SELECT -r.promotional_part, -r.credit_part, -r.receivable_part, -r.platform_part
        FROM period_runs p JOIN refunds r USING (run) WHERE p.period_id = :period
    ) AS parts
""")

_OF_RUN = text("SELECT period_id FROM period_runs WHERE run = :run ORDER BY period_id")

_RUNS = text("SELECT run FROM period_runs WHERE period_id = :period ORDER BY run")

_INSERT_CHARGE = text("""
    INSERT INTO period_charges (period_id, number, tenant_id, account_id, currency, amount, promotional_part,
                                credit_part, receivable_part, platform_part, budgets, lines, explanation, revision,
                                at)
    VALUES (:period, :number, :tenant, :account, :currency, :amount, :promotional, :credit, :receivable, :platform,
            CAST(:budgets AS jsonb), CAST(:lines AS jsonb), :explanation, :revision, :at)
""")

_CHARGES = text("""
    SELECT period_id, number, amount, explanation, at FROM period_charges
    WHERE period_id = ANY(CAST(:ids AS text[])) ORDER BY period_id, number
""")


def _period(row: Row[Any]) -> Period:
    return Period(
        id=row.period_id,
        tenant=row.tenant_id,
        account=row.account_id,
        currency=row.currency,
        package=row.package,
        deployment=row.deployment,
        basis=row.basis,
        meter=row.meter,
        starts_at=row.starts_at,
        price_version=row.price_version,
        runs=row.runs,
        by_runs=Usage(row.run_quantity, row.run_events),
        by_runs_amount=row.run_amount,
        reported=Usage(row.reported_quantity, row.reported_events),
        revision=row.revision,
        own_amount=row.own_amount,
        postings=row.postings,
    )


async def read(connection: AsyncConnection, ids: Iterable[str]) -> dict[str, Period]:
    """Read periods; those that nothing was used in yet are left out."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    return {row.period_id: _period(row) for row in await connection.execute(_READ, {"ids": wanted})}


async def reported(
    connection: AsyncConnection, deployment: str, meter: str, start: datetime
) -> Period | None:
    """The period of a deployment's meter and month for which a total was reported, if there is one."""
    row = (
        await connection.execute(_REPORTED, {"deployment": deployment, "meter": meter, "start": start})
    ).one_or_none()
    return None if row is None else _period(row)


async def page(
    connection: AsyncConnection,
    account: str,
    deployment: str | None,
    before: tuple[datetime, str],
    limit: int,
) -> list[Period]:
    """An account's periods before a place, the newest month first."""
    rows = await connection.execute(
        _PAGE,
        {
            "account": account,
            "deployment": deployment,
            "before": before[0],
            "before_id": before[1],
            "limit": limit,
        },
    )
    return [_period(row) for row in rows]


async def save(connection: AsyncConnection, changed: Sequence[Period]) -> None:
    """Write periods of accounts that this transaction has locked."""
    if not changed:
        return
    await connection.execute(
        _SAVE,
        [
            {
                "id": one.id,
                "tenant": one.tenant,
                "account": one.account,
                "currency": one.currency,
                "package": one.package,
                "deployment": one.deployment,
                "basis": one.basis,
                "meter": one.meter,
                "starts_at": one.starts_at,
                "price_version": one.price_version,
                "runs": one.runs,
                "run_quantity": one.by_runs.quantity,
                "run_events": one.by_runs.events,
                "run_amount": one.by_runs_amount,
                "reported_quantity": one.reported.quantity,
                "reported_events": one.reported.events,
                "revision": one.revision,
                "own_amount": one.own_amount,
                "postings": one.postings,
            }
            for one in changed
        ],
    )


async def shares(connection: AsyncConnection, runs: Iterable[str]) -> dict[tuple[str, str], Share]:
    """What of periods is these runs', by period and run."""
    rows = await connection.execute(_SHARES, {"runs": sorted(set(runs))})
    return {
        (row.period_id, row.run): Share(usage=Usage(row.quantity, row.events), amount=row.amount)
        for row in rows
    }


async def save_shares(
    connection: AsyncConnection, changed: Mapping[tuple[str, str], tuple[str, Share]]
) -> None:
    """Write what of periods is runs', by period and run; each comes with its tenant."""
    if not changed:
        return
    await connection.execute(
        _SAVE_SHARES,
        {
            "periods": [period for period, _ in changed],
            "runs": [run for _, run in changed],
            "tenants": [tenant for tenant, _ in changed.values()],
            "quantities": [share.usage.quantity for _, share in changed.values()],
            "events": [share.usage.events for _, share in changed.values()],
            "amounts": [share.amount for _, share in changed.values()],
        },
    )


class PaidMonth(NamedTuple):
    """Who has paid for a period and its runs and has not got it back."""

    period: str
    funding: Funding
    runs: list[str]


async def paid(connection: AsyncConnection, period: str) -> tuple[Funding, list[str]]:
    """Who has paid for a period and its runs and has not got it back, and which runs those are."""
    row = (await connection.execute(_PAID, {"period": period})).one()
    runs = list((await connection.execute(_RUNS, {"period": period})).scalars())
    funding = Funding(
        promotional=row.promotional, credit=row.credit, receivable=row.receivable, platform=row.platform
    )
    return funding, runs


async def paid_of_run(connection: AsyncConnection, run: str) -> list[PaidMonth]:
    """What was paid, and has not gone back, for each period that a run counts in, and for which runs."""
    ids = (await connection.execute(_OF_RUN, {"run": run})).scalars().all()
    return [PaidMonth(one, *await paid(connection, one)) for one in ids]


async def insert_charge(connection: AsyncConnection, charge: PeriodCharge) -> None:
    """Write a period's own posting; fails when it has one of this number."""
    await connection.execute(
        _INSERT_CHARGE,
        {
            "period": charge.period,
            "number": charge.number,
            "tenant": charge.tenant,
            "account": charge.account,
            "currency": charge.currency,
            "amount": charge.amount,
            "promotional": charge.funding.promotional,
            "credit": charge.funding.credit,
            "receivable": charge.funding.receivable,
            "platform": charge.funding.platform,
            "budgets": _encoder.encode(charge.budgets).decode(),
            "lines": _encoder.encode(charge.lines).decode(),
            "explanation": charge.explanation,
            "revision": charge.revision,
            "at": charge.at,
        },
    )


async def charges(connection: AsyncConnection, ids: Iterable[str]) -> Sequence[Row[Any]]:
    """The postings of periods: number, amount, explanation and time of each, oldest first."""
    return (await connection.execute(_CHARGES, {"ids": sorted(set(ids))})).all()
