"""SQL for holds and nothing else: rows in, `RunHold` out. Never commits.

Whoever changes what is set aside locks the account first (accounts, then holds, each in order of id).
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
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
from agora_billing.holds.quote_book import book_of

holds = Table(
    "holds",
    metadata,
    Column("run", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("quoted", BigInteger, nullable=False),
    Column("price_version", Text, nullable=False),
    Column("basis", Text, nullable=False),
    Column("deployment", Text),
    Column("quote_id", Text, nullable=False),
    Column("placed_at", DateTime(timezone=True), nullable=False),
    Column("lapses_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("package", Text, nullable=False, server_default=""),
    Column("api_key", Text),
    Column("run_limit", BigInteger),
    Column("partial", Boolean, nullable=False, server_default=text("false")),
    Column("windows", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("parent", Text),
    Column("calls_max", BigInteger, nullable=False, server_default="0"),
    Column("calls_taken", BigInteger, nullable=False, server_default="0"),
    Column("from_parent", BigInteger, nullable=False, server_default="0"),
    Column("models_more", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("state IN ('tentative', 'firm', 'lapsed', 'settled')", name="state"),
    CheckConstraint("(ended_at IS NULL) = (state IN ('tentative', 'firm'))", name="ended"),
    CheckConstraint("amount >= 0 AND quoted >= 0 AND epoch >= 1", name="amount"),
    CheckConstraint("run_limit IS NULL OR run_limit >= 0", name="run_limit"),
    CheckConstraint(
        "calls_taken BETWEEN 0 AND calls_max AND models_more >= 0 AND from_parent >= 0 "
        "AND (parent IS NOT NULL OR from_parent = 0) AND parent <> run",
        name="calls",
    ),
)
Index("ix_holds_parent", holds.c.parent, postgresql_where=text("parent IS NOT NULL"))
Index("ix_holds_lapses_at", holds.c.lapses_at, postgresql_where=text("state = 'tentative'"))
Index(
    "ix_holds_open", holds.c.placed_at, holds.c.run, postgresql_where=text("state IN ('tentative', 'firm')")
)

quotes = Table(
    "quotes",
    metadata,
    Column("quote_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("quote", JSONB, nullable=False),
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

_COLUMNS = (
    "run, tenant_id, account_id, epoch, fingerprint, state, currency, amount, quoted, price_version, basis, "
    "deployment, quote_id, placed_at, lapses_at, ended_at, package, api_key, run_limit, partial, windows, "
    "parent, calls_max, calls_taken, from_parent, models_more"
)

_READ = f"SELECT {_COLUMNS} FROM holds WHERE run = ANY($1)"

_LOCK = f"SELECT {_COLUMNS} FROM holds WHERE run = ANY($1) ORDER BY run FOR UPDATE"

# What many holds of a batch have in common comes once, as a kind; budget windows come as text, since an array of
# arrays would be taken apart.
_KINDS = """
    WITH k AS MATERIALIZED (
        SELECT u.*, u.window_ids::bigint[] AS windows FROM unnest(
            $3::integer[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[],
            $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::text[], $15::text[], $16::bigint[],
            $17::boolean[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::bigint[],
            $24::bigint[], $25::bigint[], $26::bigint[]
        ) WITH ORDINALITY AS u (
            epoch, state, amount, quoted, price_version, basis, deployment, quote_id, placed_at, lapses_at, ended_at,
            package, api_key, run_limit, partial, window_ids, tenant_id, account_id, currency, parent, calls_max,
            calls_taken, from_parent, models_more, number)
    )
"""

_INSERT = f"""{_KINDS}
    INSERT INTO holds ({_COLUMNS})
    SELECT n.run, k.tenant_id, k.account_id, k.epoch, n.fingerprint, k.state, k.currency, k.amount, k.quoted,
           k.price_version, k.basis, k.deployment, k.quote_id, k.placed_at, k.lapses_at, k.ended_at, k.package,
           k.api_key, k.run_limit, k.partial, k.windows, k.parent, k.calls_max, k.calls_taken, k.from_parent,
           k.models_more
    FROM unnest($1::text[], $2::text[], $27::integer[]) AS n (run, fingerprint, kind)
    JOIN k ON k.number = n.kind
"""

# What never changes once a hold is placed (tenant, account, currency, parent) is not written again.
_SAVE = f"""{_KINDS}
    UPDATE holds AS h
    SET epoch = k.epoch, fingerprint = n.fingerprint, state = k.state, amount = k.amount, quoted = k.quoted,
        price_version = k.price_version, basis = k.basis, deployment = k.deployment, quote_id = k.quote_id,
        placed_at = k.placed_at, lapses_at = k.lapses_at, ended_at = k.ended_at, package = k.package,
        api_key = k.api_key, run_limit = k.run_limit, partial = k.partial, windows = k.windows,
        calls_max = k.calls_max, calls_taken = k.calls_taken, from_parent = k.from_parent,
        models_more = k.models_more
    FROM unnest($1::text[], $2::text[], $27::integer[]) AS n (run, fingerprint, kind)
    JOIN k ON k.number = n.kind
    WHERE h.run = n.run
"""

_CALLED = "SELECT run FROM holds WHERE parent = $1 ORDER BY placed_at, run"

_END = "UPDATE holds SET state = $2, ended_at = $3 WHERE run = ANY($1)"

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
    SELECT i.run, i.request, i.tenant_id, i.asked, i.amount FROM hold_increases i
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


def _hold(row: asyncpg.Record, quote: Quote) -> RunHold:
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
        quote=quote,
        placed_at=row["placed_at"],
        lapses_at=row["lapses_at"],
        ended_at=row["ended_at"],
        package=row["package"],
        api_key=row["api_key"],
        run_limit=row["run_limit"],
        partial=row["partial"],
        windows=tuple(row["windows"]),
        parent=row["parent"],
        calls_max=row["calls_max"],
        calls_taken=row["calls_taken"],
        from_parent=row["from_parent"],
        models_more=row["models_more"],
    )


async def read(connection: AsyncConnection, runs: Iterable[str]) -> dict[str, RunHold]:
    """Read the holds of runs without locking them; runs without one are left out."""
    return await _fetch(connection, _READ, runs)


async def lock(connection: AsyncConnection, runs: Iterable[str]) -> dict[str, RunHold]:
    """Read the holds of runs and keep them locked until the transaction ends."""
    return await _fetch(connection, _LOCK, runs)


async def lock_with_parents(
    connection: AsyncConnection, runs: Iterable[str], locked: Container[str] = ()
) -> dict[str, RunHold]:
    """Read and lock the holds of runs, and then those of the runs that called them, which are not `locked` yet.

    A hold that others were carved out of is firm, so whoever confirms holds without their account waits for none of
    them: taking them second cannot end in a deadlock.
    """
    found = await lock(connection, runs)
    parents = {hold.parent for hold in found.values() if hold.parent is not None}
    if missing := [one for one in parents if one not in found and one not in locked]:
        found |= await lock(connection, missing)
    return found


async def called_by(connection: AsyncConnection, run: str) -> list[RunHold]:
    """The holds of the runs that a run has called, in the order in which they were placed."""
    raw = await driver(connection)
    runs = [row["run"] for row in await raw.fetch(_CALLED, run)]
    found = await read(connection, runs)
    return [found[one] for one in runs]


async def _fetch(connection: AsyncConnection, query: str, runs: Iterable[str]) -> dict[str, RunHold]:
    wanted = sorted(set(runs))
    if not wanted:
        return {}
    raw = await driver(connection)
    rows = await raw.fetch(query, wanted)
    found = await book_of(connection).read(raw, {row["quote_id"] for row in rows})
    return {row["run"]: _hold(row, found[row["quote_id"]]) for row in rows}


def _kind(hold: RunHold, quote_id: str) -> tuple[Any, ...]:
    return (
        hold.epoch,
        hold.state,
        hold.amount,
        hold.quoted,
        hold.price_version,
        hold.basis,
        hold.deployment,
        quote_id,
        hold.placed_at,
        hold.lapses_at,
        hold.ended_at,
        hold.package,
        hold.api_key,
        hold.run_limit,
        hold.partial,
        f"{{{','.join(map(str, hold.windows))}}}",
        hold.tenant,
        hold.account,
        hold.currency,
        hold.parent,
        hold.calls_max,
        hold.calls_taken,
        hold.from_parent,
        hold.models_more,
    )


async def _write(connection: AsyncConnection, statement: str, holds: Sequence[RunHold]) -> None:
    raw = await driver(connection)
    ids = await book_of(connection).write(raw, [(hold.tenant, hold.quote) for hold in holds])
    kinds: dict[tuple[Any, ...], int] = {}
    numbers = [
        kinds.setdefault(_kind(hold, quote_id), len(kinds) + 1)
        for hold, quote_id in zip(holds, ids, strict=True)
    ]
    await raw.execute(
        statement,
        [hold.run for hold in holds],
        [hold.fingerprint for hold in holds],
        *(list(column) for column in zip(*kinds, strict=True)),
        numbers,
    )


async def insert(connection: AsyncConnection, new: Sequence[RunHold]) -> None:
    """Store the first holds of runs; fails when one of the runs has a hold already."""
    if new:
        await _write(connection, _INSERT, new)


async def save(connection: AsyncConnection, changed: Sequence[RunHold]) -> None:
    """Write holds that this transaction has locked."""
    if changed:
        await _write(connection, _SAVE, changed)


async def save_ends(connection: AsyncConnection, ended: Sequence[RunHold]) -> None:
    """Write only state and end of holds that this transaction has locked."""
    raw = await driver(connection)
    by_end: dict[tuple[str, datetime | None], list[str]] = {}
    for hold in ended:
        by_end.setdefault((hold.state, hold.ended_at), []).append(hold.run)
    for (state, ended_at), runs in by_end.items():
        await raw.execute(_END, runs, state, ended_at)


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
) -> dict[tuple[str, str], Increase]:
    """By how much each (run, request) has increased its hold before."""
    if not requests:
        return {}
    rows = await connection.execute(
        _KNOWN_INCREASES, {"runs": [run for run, _ in requests], "requests": [one for _, one in requests]}
    )
    return {(row.run, row.request): Increase(row.tenant_id, row.asked, row.amount) for row in rows}


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
