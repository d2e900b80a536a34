"""SQL for holds and nothing else: rows in, `RunHold` out. Never commits.

Whoever changes what is set aside locks the account first (accounts, then holds, each in order of id).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import msgspec
from agora_contracts.billing import OpenHold, Quote
from agora_kit.database import driver
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
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
    Column("package", Text, nullable=False, server_default=""),
    Column("api_key", Text),
    Column("run_limit", BigInteger),
    Column("partial", Boolean, nullable=False, server_default=text("false")),
    Column("windows", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    CheckConstraint("state IN ('tentative', 'firm', 'lapsed', 'settled')", name="state"),
    CheckConstraint("(ended_at IS NULL) = (state IN ('tentative', 'firm'))", name="ended"),
    CheckConstraint("amount >= 0 AND quoted >= 0 AND epoch >= 1", name="amount"),
    CheckConstraint("run_limit IS NULL OR run_limit >= 0", name="run_limit"),
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
    Column("asked", BigInteger, nullable=False),
    PrimaryKeyConstraint("run", "request"),
    CheckConstraint("amount > 0", name="amount"),
)

_encoder = msgspec.json.Encoder(decimal_format="string")
_quotes = msgspec.json.Decoder(Quote)

_COLUMNS = (
    "run, tenant_id, account_id, epoch, fingerprint, state, currency, amount, quoted, price_version, basis, "
    "deployment, quote::text AS quote, placed_at, lapses_at, ended_at, package, api_key, run_limit, partial, "
    "windows"
)

_READ = f"SELECT {_COLUMNS} FROM holds WHERE run = ANY($1)"

_LOCK = f"SELECT {_COLUMNS} FROM holds WHERE run = ANY($1) ORDER BY run FOR UPDATE"

# Budget windows come as text, since an array of arrays would be taken apart.
_INSERT = """
    INSERT INTO holds (run, tenant_id, account_id, epoch, fingerprint, state, currency, amount, quoted,
                       price_version, basis, deployment, quote, placed_at, lapses_at, ended_at,
                       package, api_key, run_limit, partial, windows)
    SELECT n.run, n.tenant, n.account, n.epoch, n.fingerprint, n.state, n.currency, n.amount, n.quoted,
           n.price_version, n.basis, n.deployment, n.quote::jsonb, n.placed_at, n.lapses_at, n.ended_at,
           n.package, n.api_key, n.run_limit, n.partial, n.windows::bigint[]
    FROM unnest(
        $1::text[], $2::integer[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::text[],
        $15::text[], $16::bigint[], $17::boolean[], $18::text[], $19::text[], $20::text[], $21::text[]
    ) AS n (run, epoch, fingerprint, state, amount, quoted, price_version, basis, deployment, quote,
            placed_at, lapses_at, ended_at, package, api_key, run_limit, partial, windows,
            tenant, account, currency)
"""

# What never changes once a hold is placed (tenant, account, currency) is not written again.
_SAVE = """
    UPDATE holds AS h
    SET epoch = n.epoch, fingerprint = n.fingerprint, state = n.state, amount = n.amount, quoted = n.quoted,
        price_version = n.price_version, basis = n.basis, deployment = n.deployment,
        quote = n.quote::jsonb, placed_at = n.placed_at, lapses_at = n.lapses_at, ended_at = n.ended_at,
        package = n.package, api_key = n.api_key, run_limit = n.run_limit, partial = n.partial,
        windows = n.windows::bigint[]
    FROM unnest(
        $1::text[], $2::integer[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::text[],
        $15::text[], $16::bigint[], $17::boolean[], $18::text[]
    ) AS n (run, epoch, fingerprint, state, amount, quoted, price_version, basis, deployment, quote,
            placed_at, lapses_at, ended_at, package, api_key, run_limit, partial, windows)
    WHERE h.run = n.run
"""

_END = """
    UPDATE holds AS h SET state = n.state, ended_at = n.ended_at
    FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS n (run, state, ended_at)
    WHERE h.run = n.run
"""

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

_LAPSED_OF = """
    SELECT run FROM holds
    WHERE state = 'tentative' AND lapses_at <= $1 AND account_id = ANY($2)
    ORDER BY lapses_at LIMIT 1000
"""

_KNOWN_INCREASES = text("""
    SELECT i.run, i.request, i.asked FROM hold_increases i
    JOIN unnest(CAST(:runs AS text[]), CAST(:requests AS text[])) AS n (run, request) USING (run, request)
""")

_INSERT_INCREASES = text("""
    INSERT INTO hold_increases (run, request, tenant_id, asked, amount, at)
    SELECT n.run, n.request, n.tenant_id, n.asked, n.amount, :now
    FROM unnest(
        CAST(:runs AS text[]), CAST(:requests AS text[]), CAST(:tenants AS text[]),
        CAST(:asked AS bigint[]), CAST(:amounts AS bigint[])
    ) AS n (run, request, tenant_id, asked, amount)
""")

_OPEN = text("""
    SELECT run, tenant_id, account_id, state, amount, placed_at FROM holds
    WHERE state IN ('tentative', 'firm') ORDER BY placed_at, run LIMIT :limit
""")

_OPEN_COUNT = text("SELECT count(*) FROM holds WHERE state IN ('tentative', 'firm')")


class Increase(NamedTuple):
    """An increase of a hold: how much was asked for, and how much was set aside."""

    tenant: str
    asked: int
    amount: int


def _hold(row: asyncpg.Record) -> RunHold:
    return RunHold(
        run=row["run"],
        tenant=row["tenant_id"],
        account=row["account_id"],
        epoch=row["epoch"],
        fingerprint=row["fingerprint"],
        state=row["state"],
        currency=row["currency"],
        amount=row["amount"],
        quoted=row["quoted"],
        price_version=row["price_version"],
        basis=row["basis"],
        deployment=row["deployment"],
        quote=_quotes.decode(row["quote"]),
        placed_at=row["placed_at"],
        lapses_at=row["lapses_at"],
        ended_at=row["ended_at"],
        package=row["package"],
        api_key=row["api_key"],
        run_limit=row["run_limit"],
        partial=row["partial"],
        windows=tuple(row["windows"]),
    )


async def read(connection: AsyncConnection, runs: Iterable[str]) -> dict[str, RunHold]:
    """Read the holds of runs without locking them; runs without one are left out."""
    raw = await driver(connection)
    return {row["run"]: _hold(row) for row in await raw.fetch(_READ, sorted(set(runs)))}


async def lock(connection: AsyncConnection, runs: Iterable[str]) -> dict[str, RunHold]:
    """Read the holds of runs and keep them locked until the transaction ends."""
    wanted = sorted(set(runs))
    if not wanted:
        return {}
    raw = await driver(connection)
    return {row["run"]: _hold(row) for row in await raw.fetch(_LOCK, wanted)}


def _columns(holds: Sequence[RunHold]) -> list[list[Any]]:
    return [
        [hold.run for hold in holds],
        [hold.epoch for hold in holds],
        [hold.fingerprint for hold in holds],
        [hold.state for hold in holds],
        [hold.amount for hold in holds],
        [hold.quoted for hold in holds],
        [hold.price_version for hold in holds],
        [hold.basis for hold in holds],
        [hold.deployment for hold in holds],
        [_encoder.encode(hold.quote).decode() for hold in holds],
        [hold.placed_at for hold in holds],
        [hold.lapses_at for hold in holds],
        [hold.ended_at for hold in holds],
        [hold.package for hold in holds],
        [hold.api_key for hold in holds],
        [hold.run_limit for hold in holds],
        [hold.partial for hold in holds],
        [f"{{{','.join(map(str, hold.windows))}}}" for hold in holds],
    ]


async def insert(connection: AsyncConnection, new: Sequence[RunHold]) -> None:
    """Store the first holds of runs; fails when one of the runs has a hold already."""
    if not new:
        return
    raw = await driver(connection)
    await raw.execute(
        _INSERT,
        *_columns(new),
        [hold.tenant for hold in new],
        [hold.account for hold in new],
        [hold.currency for hold in new],
    )


async def save(connection: AsyncConnection, changed: Sequence[RunHold]) -> None:
    """Write holds that this transaction has locked."""
    if changed:
        raw = await driver(connection)
        await raw.execute(_SAVE, *_columns(changed))


async def save_ends(connection: AsyncConnection, ended: Sequence[RunHold]) -> None:
    """Write only state and end of holds that this transaction has locked."""
    if not ended:
        return
    raw = await driver(connection)
    await raw.execute(
        _END,
        [hold.run for hold in ended],
        [hold.state for hold in ended],
        [hold.ended_at for hold in ended],
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


async def lapsed_of(connection: AsyncConnection, accounts: Iterable[str], now: datetime) -> list[str]:
    """Runs of these accounts whose tentative hold is past its time, oldest first, at most a thousand."""
    raw = await driver(connection)
    return [row["run"] for row in await raw.fetch(_LAPSED_OF, now, list(accounts))]


async def known_increases(
    connection: AsyncConnection, requests: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """By how much each (run, request) has asked its hold to be increased before."""
    if not requests:
        return {}
    rows = await connection.execute(
        _KNOWN_INCREASES, {"runs": [run for run, _ in requests], "requests": [one for _, one in requests]}
    )
    return {(row.run, row.request): row.asked for row in rows}


async def insert_increases(
    connection: AsyncConnection, new: Mapping[tuple[str, str], Increase], now: datetime
) -> None:
    """Note increases, by (run, request)."""
    if not new:
        return
    await connection.execute(
        _INSERT_INCREASES,
        {
            "runs": [run for run, _ in new],
            "requests": [request for _, request in new],
            "tenants": [one.tenant for one in new.values()],
            "asked": [one.asked for one in new.values()],
            "amounts": [one.amount for one in new.values()],
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
