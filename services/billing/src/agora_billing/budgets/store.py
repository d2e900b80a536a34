"""SQL for budgets and their windows. Never commits.

Whoever changes a budget or a window has locked its account before; they need no locks of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agora_kit.database import driver
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.budgets.model import Rule, Window, window_of
from agora_billing.database import metadata

budgets = Table(
    "budgets",
    metadata,
    Column("budget_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, ForeignKey("accounts.account_id"), nullable=False),
    Column("scope", Text, nullable=False),
    Column("target", Text),
    Column("period", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("thresholds", ARRAY(SmallInteger), nullable=False),
    Column("name", Text, nullable=False),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("deleted_at", DateTime(timezone=True)),
    CheckConstraint("scope IN ('account', 'deployment', 'package', 'api_key', 'run')", name="scope"),
    CheckConstraint("(target IS NULL) = (scope = 'account')", name="target"),
    CheckConstraint(
        "period IN ('day', 'month', 'total') AND (scope <> 'run' OR period = 'total')", name="period"
    ),
    CheckConstraint("kind IN ('soft', 'hard')", name="kind"),
    CheckConstraint("amount >= 0", name="amount"),
)
Index("ix_budgets_account_id", budgets.c.account_id, postgresql_where=text("deleted_at IS NULL"))

budget_windows = Table(
    "budget_windows",
    metadata,
    Column("window_id", BigInteger, Identity(always=True), primary_key=True),
    Column("budget_id", Text, ForeignKey("budgets.budget_id"), nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True)),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("spent", BigInteger, nullable=False, server_default="0"),
    Column("told", SmallInteger, nullable=False, server_default="0"),
    Column("refused", Boolean, nullable=False, server_default=text("false")),
    Column("end_told", Boolean, nullable=False, server_default=text("false")),
    UniqueConstraint("budget_id", "starts_at"),
    CheckConstraint("reserved >= 0 AND spent >= 0", name="amounts"),
)

Index(
    "ix_budget_windows_refused",
    budget_windows.c.ends_at,
    postgresql_where=text("refused AND NOT end_told AND ends_at IS NOT NULL"),
)

_RULE = (
    "b.budget_id, b.tenant_id, b.account_id, b.scope, b.target, b.period, b.kind, b.currency, b.amount, "
    "b.thresholds, b.name, b.revision, b.created_at, b.deleted_at"
)
_WINDOW = "w.window_id, w.starts_at, w.ends_at, w.reserved, w.spent, w.told, w.refused"

# The newest window that has not ended: a process whose clock is behind goes on with the one that another opened,
# and never goes back to one that is over. $1 and $2 are the starts of this day and month.
_CURRENT = f"""
    SELECT {_RULE}, {_WINDOW} FROM budgets b
    LEFT JOIN LATERAL (
        SELECT * FROM budget_windows v
        WHERE v.budget_id = b.budget_id
          AND v.starts_at >= CASE b.period WHEN 'day' THEN $1 WHEN 'month' THEN $2 ELSE b.created_at END
        ORDER BY v.starts_at DESC LIMIT 1
    ) w ON true
"""

_LIVE = f"{_CURRENT} WHERE b.account_id = ANY($3) AND b.deleted_at IS NULL AND b.scope <> 'run'"

_ONE = f"{_CURRENT} WHERE b.budget_id = $3"

_LIST = f"{_CURRENT} WHERE b.account_id = $3 AND b.deleted_at IS NULL ORDER BY b.created_at, b.budget_id"

_BY_ID = f"""
    SELECT {_RULE}, {_WINDOW} FROM budget_windows w JOIN budgets b USING (budget_id)
    WHERE w.window_id = ANY($1)
"""

_OPEN = """
    INSERT INTO budget_windows (budget_id, tenant_id, starts_at, ends_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])
    RETURNING budget_id, window_id
"""

_SAVE_WINDOWS = """
    UPDATE budget_windows AS w
    SET reserved = n.reserved, spent = n.spent, told = n.told, refused = n.refused
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::boolean[])
        AS n (window_id, reserved, spent, told, refused)
    WHERE w.window_id = n.window_id
"""

_INSERT = text("""
    INSERT INTO budgets (budget_id, tenant_id, account_id, scope, target, period, kind, currency, amount,
                         thresholds, name, created_at)
    VALUES (:id, :tenant, :account, :scope, :target, :period, :kind, :currency, :amount,
            CAST(:thresholds AS smallint[]), :name, :created_at)
""")

_SAVE = text("""
    UPDATE budgets SET kind = :kind, amount = :amount, thresholds = CAST(:thresholds AS smallint[]),
                       name = :name, revision = :revision, deleted_at = :deleted_at
    WHERE budget_id = :id
""")

_COUNT = text("SELECT count(*) FROM budgets WHERE account_id = :account AND deleted_at IS NULL")

_WITH_CALLED = """
    WITH RECURSIVE tree AS (
        SELECT run FROM holds WHERE run = :run
        UNION SELECT h.run FROM holds h JOIN tree ON h.parent = tree.run
    )
"""
"""A run with those that it called, those that they called, and so on."""

_STANDING = text(f"""{_WITH_CALLED}
    SELECT h.run, h.account_id, CASE WHEN h.state IN ('tentative', 'firm') THEN h.amount ELSE 0 END AS reserved,
           coalesce((
               SELECT c.amount - c.platform_part FROM charges c WHERE c.run = h.run
               ORDER BY c.revision DESC LIMIT 1
           ), 0) - coalesce((
               SELECT sum(r.amount - r.platform_part)::bigint FROM refunds r WHERE r.run = h.run
           ), 0) AS spent
    FROM holds h JOIN tree ON tree.run = h.run
""")

_ATTACH = text(f"""{_WITH_CALLED}
    UPDATE holds h SET windows = array_append(windows, CAST(:window AS bigint)) FROM tree WHERE h.run = tree.run
""")

# A window that is over and in which something was refused: whoever waits may have another one now.
_OVER = text("""
    SELECT b.account_id, b.tenant_id, b.budget_id, w.window_id FROM budget_windows w JOIN budgets b USING (budget_id)
    WHERE w.refused AND NOT w.end_told AND w.ends_at <= :now
    ORDER BY w.ends_at, w.window_id LIMIT :limit FOR UPDATE OF w SKIP LOCKED
""")

_TELL_END = text("UPDATE budget_windows SET end_told = true WHERE window_id = ANY(CAST(:ids AS bigint[]))")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a run and those that it called have set aside now, and what was charged for them and not given back."""

    account: str
    reserved: int
    spent: int


def _rule(row: Mapping[str, Any]) -> Rule:
    return Rule(
        id=row["budget_id"],
        tenant=row["tenant_id"],
        account=row["account_id"],
        scope=row["scope"],
        target=row["target"],
        period=row["period"],
        kind=row["kind"],
        currency=row["currency"],
        amount=row["amount"],
        thresholds=tuple(row["thresholds"]),
        name=row["name"],
        revision=row["revision"],
        created_at=row["created_at"],
        deleted_at=row["deleted_at"],
    )


def _window(row: Mapping[str, Any], now: datetime) -> Window:
    rule = _rule(row)
    if row["window_id"] is None:  # not opened yet
        starts_at, ends_at = window_of(rule.period, rule.created_at, now)
        return Window(id=0, rule=rule, starts_at=starts_at, ends_at=ends_at)
    return Window(
        id=row["window_id"],
        rule=rule,
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        reserved=row["reserved"],
        spent=row["spent"],
        told=row["told"],
        refused=row["refused"],
    )


def _starts(now: datetime) -> tuple[datetime, datetime]:
    return window_of("day", now, now)[0], window_of("month", now, now)[0]


async def live(connection: AsyncConnection, accounts: Iterable[str], now: datetime) -> list[Window]:
    """The current windows of the accounts' budgets, those of single runs left out; id 0 where none is open yet."""
    raw = await driver(connection)
    rows = await raw.fetch(_LIVE, *_starts(now), sorted(set(accounts)))
    return [_window(row, now) for row in rows]


async def windows(connection: AsyncConnection, ids: Iterable[int], now: datetime) -> list[Window]:
    """Windows by their ids, past ones and those of deleted budgets too."""
    raw = await driver(connection)
    return [_window(row, now) for row in await raw.fetch(_BY_ID, sorted(set(ids)))]


async def current(connection: AsyncConnection, budget: str, now: datetime) -> Window | None:
    """A budget in its current window; id 0 when that is not open yet."""
    raw = await driver(connection)
    row = await raw.fetchrow(_ONE, *_starts(now), budget)
    return None if row is None else _window(row, now)


async def listed(connection: AsyncConnection, account: str, now: datetime) -> list[Window]:
    """An account's budgets in their current windows, the oldest budget first."""
    raw = await driver(connection)
    return [_window(row, now) for row in await raw.fetch(_LIST, *_starts(now), account)]


async def open_windows(connection: AsyncConnection, new: Sequence[Window]) -> None:
    """Store windows that are not open yet, and give them their ids."""
    if not new:
        return
    raw = await driver(connection)
    rows = await raw.fetch(
        _OPEN,
        [one.rule.id for one in new],
        [one.rule.tenant for one in new],
        [one.starts_at for one in new],
        [one.ends_at for one in new],
    )
    ids = {row["budget_id"]: row["window_id"] for row in rows}
    for one in new:
        one.id = ids[one.rule.id]


async def save_windows(connection: AsyncConnection, changed: Sequence[Window]) -> None:
    """Write the counters of windows whose accounts this transaction has locked."""
    if not changed:
        return
    raw = await driver(connection)
    await raw.execute(
        _SAVE_WINDOWS,
        [one.id for one in changed],
        [one.reserved for one in changed],
        [one.spent for one in changed],
        [one.told for one in changed],
        [one.refused for one in changed],
    )


async def count(connection: AsyncConnection, account: str) -> int:
    """How many budgets an account has, deleted ones left out."""
    return int((await connection.execute(_COUNT, {"account": account})).scalar_one())


async def insert(connection: AsyncConnection, rule: Rule) -> None:
    """Store a new budget."""
    await connection.execute(
        _INSERT,
        {
            "id": rule.id,
            "tenant": rule.tenant,
            "account": rule.account,
            "scope": rule.scope,
            "target": rule.target,
            "period": rule.period,
            "kind": rule.kind,
            "currency": rule.currency,
            "amount": rule.amount,
            "thresholds": list(rule.thresholds),
            "name": rule.name,
            "created_at": rule.created_at,
        },
    )


async def save(connection: AsyncConnection, rule: Rule) -> None:
    """Write what may change of a budget whose account this transaction has locked."""
    await connection.execute(
        _SAVE,
        {
            "id": rule.id,
            "kind": rule.kind,
            "amount": rule.amount,
            "thresholds": list(rule.thresholds),
            "name": rule.name,
            "revision": rule.revision,
            "deleted_at": rule.deleted_at,
        },
    )


async def run_standing(connection: AsyncConnection, run: str) -> Standing | None:
    """What a run, with those that it called, has reserved and spent; None for a run that has no hold."""
    rows = (await connection.execute(_STANDING, {"run": run})).all()
    if not rows:
        return None
    return Standing(rows[0].account_id, sum(row.reserved for row in rows), sum(row.spent for row in rows))


async def attach(connection: AsyncConnection, run: str, window: int) -> None:
    """Let the hold of a run, and those of the runs that it called, count in one more window; their account is locked."""
    await connection.execute(_ATTACH, {"run": run, "window": window})


@dataclass(frozen=True, slots=True)
class EndedWindow:
    """A window that is over, of a budget of an account."""

    account: str
    tenant: str
    budget: str
    window: int


async def tell_ends(connection: AsyncConnection, now: datetime, limit: int) -> list[EndedWindow]:
    """Windows that are over and in which something was refused, each once; other processes have others."""
    rows = (await connection.execute(_OVER, {"now": now, "limit": limit})).all()
    if rows:
        await connection.execute(_TELL_END, {"ids": [row.window_id for row in rows]})
    return [EndedWindow(row.account_id, row.tenant_id, row.budget_id, row.window_id) for row in rows]
