"""SQL for holds and nothing else: rows in, `RunHold` out. Never commits.

Whoever changes what is set aside locks the account first (accounts, then holds, each in order of id).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.billing import OpenHold, Quote
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

from agora_billing.database import metadata
from agora_billing.holds.model import RunHold

holds = Table(
    "holds",
    metadata,
    Column("run", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("quoted", BigInteger, nullable=False),
    Column("price_version", Text, ForeignKey("price_versions.price_version"), nullable=False),
    Column("basis", Text, nullable=False),
    Column("deployment", Text),
    Column("quote", JSONB, nullable=False),
    Column("placed_at", DateTime(timezone=True), nullable=False),
    Column("lapses_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('tentative', 'firm', 'lapsed', 'settled')", name="state"),
    CheckConstraint("(ended_at IS NULL) = (state IN ('tentative', 'firm'))", name="ended"),
    CheckConstraint("amount >= 0 AND quoted >= 0 AND epoch >= 1", name="amount"),
)
Index("ix_holds_lapses_at", holds.c.lapses_at, postgresql_where=text("state = 'tentative'"))
Index(
    "ix_holds_open", holds.c.placed_at, holds.c.run, postgresql_where=text("state IN ('tentative', 'firm')")
)

hold_increases = Table(
    "hold_increases",
    metadata,
    Column("run", Text, ForeignKey("holds.run"), nullable=False),
    Column("request", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("run", "request"),
    CheckConstraint("amount > 0", name="amount"),
)

_encoder = msgspec.json.Encoder(decimal_format="string")
_quotes = msgspec.json.Decoder(Quote)

_COLUMNS = (
    "run, tenant_id, account_id, epoch, fingerprint, state, currency, amount, quoted, price_version, basis, "
    "deployment, quote::text AS quote, placed_at, lapses_at, ended_at"
)

_READ = text(f"SELECT {_COLUMNS} FROM holds WHERE run = ANY(CAST(:runs AS text[]))")

_LOCK = text(f"SELECT {_COLUMNS} FROM holds WHERE run = ANY(CAST(:runs AS text[])) ORDER BY run FOR UPDATE")

_INSERT = text("""
    INSERT INTO holds (run, tenant_id, account_id, epoch, fingerprint, state, currency, amount, quoted,
                       price_version, basis, deployment, quote, placed_at, lapses_at, ended_at)
    SELECT n.run, n.tenant, n.account, n.epoch, n.fingerprint, n.state, n.currency, n.amount, n.quoted,
           n.price_version, n.basis, n.deployment, CAST(n.quote AS jsonb), n.placed_at, n.lapses_at, n.ended_at
    FROM unnest(
        CAST(:runs AS text[]), CAST(:tenants AS text[]), CAST(:accounts AS text[]), CAST(:epochs AS integer[]),
        CAST(:fingerprints AS text[]), CAST(:states AS text[]), CAST(:currencies AS text[]),
        CAST(:amounts AS bigint[]), CAST(:quoted AS bigint[]), CAST(:price_versions AS text[]),
        CAST(:bases AS text[]), CAST(:deployments AS text[]), CAST(:quotes AS text[]),
        CAST(:placed AS timestamptz[]), CAST(:lapses AS timestamptz[]), CAST(:ended AS timestamptz[])
    ) AS n (run, tenant, account, epoch, fingerprint, state, currency, amount, quoted,
            price_version, basis, deployment, quote, placed_at, lapses_at, ended_at)
""")

# What never changes once a hold is placed (tenant, account) is not written again.
_SAVE = text("""
    UPDATE holds AS h
    SET epoch = n.epoch, fingerprint = n.fingerprint, state = n.state, amount = n.amount, quoted = n.quoted,
        price_version = n.price_version, basis = n.basis, deployment = n.deployment,
        quote = CAST(n.quote AS jsonb), placed_at = n.placed_at, lapses_at = n.lapses_at, ended_at = n.ended_at
    FROM unnest(
        CAST(:runs AS text[]), CAST(:epochs AS integer[]), CAST(:fingerprints AS text[]),
        CAST(:states AS text[]), CAST(:amounts AS bigint[]), CAST(:quoted AS bigint[]),
        CAST(:price_versions AS text[]), CAST(:bases AS text[]), CAST(:deployments AS text[]),
        CAST(:quotes AS text[]), CAST(:placed AS timestamptz[]), CAST(:lapses AS timestamptz[]),
        CAST(:ended AS timestamptz[])
    ) AS n (run, epoch, fingerprint, state, amount, quoted, price_version, basis, deployment, quote,
            placed_at, lapses_at, ended_at)
    WHERE h.run = n.run
""")

_END = text("""
    UPDATE holds AS h SET state = n.state, ended_at = n.ended_at
    FROM unnest(CAST(:runs AS text[]), CAST(:states AS text[]), CAST(:ended AS timestamptz[]))
        AS n (run, state, ended_at)
    WHERE h.run = n.run
""")

# Needs no lock of the account: what is set aside stays the same. Locks the holds in order of id.
_MAKE_FIRM = text("""
    WITH waiting AS (
        SELECT h.run FROM holds h
        JOIN unnest(CAST(:runs AS text[]), CAST(:tenants AS text[])) AS n (run, tenant_id)
            ON n.run = h.run AND n.tenant_id = h.tenant_id
        WHERE h.state = 'tentative' AND h.lapses_at > :now
        ORDER BY h.run FOR UPDATE OF h
    )
    UPDATE holds h SET state = 'firm' FROM waiting WHERE h.run = waiting.run
""")

_LAPSED = text("""
    SELECT run FROM holds WHERE state = 'tentative' AND lapses_at <= :now ORDER BY lapses_at LIMIT :limit
""")

_KNOWN_INCREASES = text("""
    SELECT i.run, i.request, i.amount FROM hold_increases i
    JOIN unnest(CAST(:runs AS text[]), CAST(:requests AS text[])) AS n (run, request) USING (run, request)
""")

_INSERT_INCREASES = text("""
    INSERT INTO hold_increases (run, request, tenant_id, amount, at)
    SELECT n.run, n.request, n.tenant_id, n.amount, :now
    FROM unnest(
        CAST(:runs AS text[]), CAST(:requests AS text[]), CAST(:tenants AS text[]), CAST(:amounts AS bigint[])
    ) AS n (run, request, tenant_id, amount)
""")

_OPEN = text("""
    SELECT run, tenant_id, account_id, state, amount, placed_at FROM holds
    WHERE state IN ('tentative', 'firm') ORDER BY placed_at, run LIMIT :limit
""")

_OPEN_COUNT = text("SELECT count(*) FROM holds WHERE state IN ('tentative', 'firm')")


def _hold(row: Row[Any]) -> RunHold:
    return RunHold(
        run=row.run,
        tenant=row.tenant_id,
        account=row.account_id,
        epoch=row.epoch,
        fingerprint=row.fingerprint,
        state=row.state,
        currency=row.currency,
        amount=row.amount,
        quoted=row.quoted,
        price_version=row.price_version,
        basis=row.basis,
        deployment=row.deployment,
        quote=_quotes.decode(row.quote),
        placed_at=row.placed_at,
        lapses_at=row.lapses_at,
        ended_at=row.ended_at,
    )


async def read(connection: AsyncConnection, runs: Iterable[str]) -> dict[str, RunHold]:
    """Read the holds of runs without locking them; runs without one are left out."""
    rows = await connection.execute(_READ, {"runs": sorted(set(runs))})
    return {row.run: _hold(row) for row in rows}


async def lock(connection: AsyncConnection, runs: Iterable[str]) -> dict[str, RunHold]:
    """Read the holds of runs and keep them locked until the transaction ends."""
    rows = await connection.execute(_LOCK, {"runs": sorted(set(runs))})
    return {row.run: _hold(row) for row in rows}


def _columns(changed: Sequence[RunHold]) -> dict[str, list[object]]:
    return {
        "runs": [hold.run for hold in changed],
        "epochs": [hold.epoch for hold in changed],
        "fingerprints": [hold.fingerprint for hold in changed],
        "states": [hold.state for hold in changed],
        "amounts": [hold.amount for hold in changed],
        "quoted": [hold.quoted for hold in changed],
        "price_versions": [hold.price_version for hold in changed],
        "bases": [hold.basis for hold in changed],
        "deployments": [hold.deployment for hold in changed],
        "quotes": [_encoder.encode(hold.quote).decode() for hold in changed],
        "placed": [hold.placed_at for hold in changed],
        "lapses": [hold.lapses_at for hold in changed],
        "ended": [hold.ended_at for hold in changed],
    }


async def insert(connection: AsyncConnection, new: Sequence[RunHold]) -> None:
    """Store the first holds of runs; fails when one of the runs has a hold already."""
    if not new:
        return
    await connection.execute(
        _INSERT,
        _columns(new)
        | {
            "tenants": [hold.tenant for hold in new],
            "accounts": [hold.account for hold in new],
            "currencies": [hold.currency for hold in new],
        },
    )


async def save(connection: AsyncConnection, changed: Sequence[RunHold]) -> None:
    """Write holds that this transaction has locked."""
    if changed:
        await connection.execute(_SAVE, _columns(changed))


async def save_ends(connection: AsyncConnection, ended: Sequence[RunHold]) -> None:
    """Write only state and end of holds that this transaction has locked."""
    if not ended:
        return
    await connection.execute(
        _END,
        {
            "runs": [hold.run for hold in ended],
            "states": [hold.state for hold in ended],
            "ended": [hold.ended_at for hold in ended],
        },
    )


async def make_firm(connection: AsyncConnection, runs: Sequence[tuple[str, str]], now: datetime) -> None:
    """Confirm the tentative holds among these (run, tenant) that have not lapsed."""
    unique = sorted(set(runs))
    await connection.execute(
        _MAKE_FIRM,
        {"runs": [run for run, _ in unique], "tenants": [tenant for _, tenant in unique], "now": now},
    )


async def lapsed_runs(connection: AsyncConnection, now: datetime, limit: int) -> list[str]:
    """Runs whose tentative hold is past its time, oldest first."""
    return list((await connection.execute(_LAPSED, {"now": now, "limit": limit})).scalars())


async def known_increases(
    connection: AsyncConnection, requests: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """By how much each (run, request) has increased its hold before."""
    if not requests:
        return {}
    rows = await connection.execute(
        _KNOWN_INCREASES, {"runs": [run for run, _ in requests], "requests": [one for _, one in requests]}
    )
    return {(row.run, row.request): row.amount for row in rows}


async def insert_increases(
    connection: AsyncConnection, new: dict[tuple[str, str], tuple[str, int]], now: datetime
) -> None:
    """Note increases: (run, request) to (tenant, amount)."""
    if not new:
        return
    await connection.execute(
        _INSERT_INCREASES,
        {
            "runs": [run for run, _ in new],
            "requests": [request for _, request in new],
            "tenants": [tenant for tenant, _ in new.values()],
            "amounts": [amount for _, amount in new.values()],
            "now": now,
        },
    )


async def open_holds(connection: AsyncConnection, limit: int) -> tuple[list[OpenHold], int]:
    """The oldest open holds, and how many there are in all."""
    rows = await connection.execute(_OPEN, {"limit": limit})
    items = [
        OpenHold(
            run=row.run,
            tenant=row.tenant_id,
            account=row.account_id,
            state=row.state,
            amount=row.amount,
            placed_at=row.placed_at,
        )
        for row in rows
    ]
    return items, int((await connection.execute(_OPEN_COUNT)).scalar_one())
