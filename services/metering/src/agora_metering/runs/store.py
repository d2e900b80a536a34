"""SQL for ended runs and their counts. Never commits."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from agora_contracts.billing import TRANSACTIONS_MAX, Quantity, TransactionGroup
from sqlalchemy import (
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
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata
from agora_metering.runs.model import NOTHING, Counted, EndedRun

type RunKey = tuple[str, str]
"""A run's tenant and id: an id alone may be anybody's."""

runs = Table(
    "runs",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("expected", Integer, nullable=False),
    Column("closed_count", Integer),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("outcome", Text, nullable=False),
    Column("deliverable", Text, nullable=False),
    Column("delivered_units", Integer),
    Column("error_code", Text),
    Column("finished_at", DateTime(timezone=True), nullable=False),
    Column("check_after", DateTime(timezone=True), nullable=False),
    Column("alarm", Text),
    PrimaryKeyConstraint("tenant_id", "run"),
    CheckConstraint("expected >= 0", name="expected"),
)
_OPEN = "closed_count IS NULL OR closed_count < expected"
Index("ix_runs_open", runs.c.check_after, postgresql_where=text(_OPEN))

_LOCK_CLASS = 7_203_101

_COLUMNS = """
    r.tenant_id AS tenant, r.run, r.expected, r.outcome, r.deliverable, r.finished_at, r.delivered_units,
    r.error_code, r.closed_count, r.revision, r.alarm
"""


def _ended_run(row: Row[Any]) -> EndedRun:
    return EndedRun(**row._mapping)


def _keys(runs: Collection[RunKey]) -> dict[str, Any]:
    ordered = sorted(runs)
    return {"tenants": [tenant for tenant, _ in ordered], "runs": [run for _, run in ordered]}


async def lock_tenants(connection: AsyncConnection, tenants: Collection[str], *, shared: bool) -> None:
    """Keep usage and ends of runs of these tenants apart until the transaction ends.

    Usage shares the lock; an end of a run takes it alone. Without it, the last usage of a run and its end,
    each in a transaction that does not see the other's yet, would both leave the run open.
    """
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    await connection.execute(
        text(f"""
            SELECT {function}({_LOCK_CLASS}, key)
            FROM (SELECT DISTINCT hashtext(tenant) AS key FROM unnest(CAST(:tenants AS text[])) AS tenant
                  ORDER BY key) AS keys
        """),
        {"tenants": list(tenants)},
    )


async def record_ends(
    connection: AsyncConnection, ended: Sequence[EndedRun], *, check_after: datetime
) -> None:
    """Store ends of runs. An end that was heard before changes nothing; one with a higher count replaces it."""
    by_key = {(run.tenant, run.run): run for run in sorted(ended, key=lambda run: run.expected)}
    await connection.execute(
        text("""
            INSERT INTO runs (tenant_id, run, expected, outcome, deliverable, delivered_units, error_code,
                              finished_at, check_after)
            SELECT i.tenant_id, i.run, i.expected, i.outcome, i.deliverable, i.delivered_units, i.error_code,
                   i.finished_at, :check_after
            FROM unnest(
                CAST(:tenants AS text[]), CAST(:runs AS text[]), CAST(:expected AS int[]),
                CAST(:outcomes AS text[]), CAST(:deliverables AS text[]), CAST(:units AS int[]),
                CAST(:errors AS text[]), CAST(:times AS timestamptz[])
            ) AS i (tenant_id, run, expected, outcome, deliverable, delivered_units, error_code, finished_at)
            ON CONFLICT (tenant_id, run) DO UPDATE
            SET expected = excluded.expected, outcome = excluded.outcome, deliverable = excluded.deliverable,
                delivered_units = excluded.delivered_units, error_code = excluded.error_code,
                finished_at = excluded.finished_at, check_after = excluded.check_after
            WHERE runs.expected < excluded.expected
        """),
        {
            "tenants": [tenant for tenant, _ in sorted(by_key)],
            "runs": [run for _, run in sorted(by_key)],
            "expected": [by_key[key].expected for key in sorted(by_key)],
            "outcomes": [by_key[key].outcome for key in sorted(by_key)],
            "deliverables": [by_key[key].deliverable for key in sorted(by_key)],
            "units": [by_key[key].delivered_units for key in sorted(by_key)],
            "errors": [by_key[key].error_code for key in sorted(by_key)],
            "times": [by_key[key].finished_at for key in sorted(by_key)],
            "check_after": check_after,
        },
    )


async def lock_ended(connection: AsyncConnection, keys: Collection[RunKey]) -> list[EndedRun]:
    """Those of the runs that have ended, locked, in the order of their keys."""
    if not keys:
        return []
    rows = await connection.execute(
        text(f"""
            SELECT {_COLUMNS} FROM runs r
            JOIN unnest(CAST(:tenants AS text[]), CAST(:runs AS text[])) AS i (tenant_id, run)
                ON r.tenant_id = i.tenant_id AND r.run = i.run
            ORDER BY r.tenant_id, r.run FOR UPDATE OF r
        """),
        _keys(keys),
    )
    return [_ended_run(row) for row in rows]


async def count_usage(connection: AsyncConnection, keys: Collection[RunKey]) -> dict[RunKey, Counted]:
    """Count the usage of runs, meter by meter; a run without usage is counted as nothing."""
    counted = dict.fromkeys(keys, NOTHING)
    if not keys:
        return counted
    # The subquery is evaluated run by run, by index, whatever the planner believes about the table's size.
    # A voided event was recorded, as the run said at its end; it only counts for nothing.
    rows = await connection.execute(
        text("""
            SELECT i.tenant_id, i.run, u.meter, u.quantity, u.recorded, u.events, u.transactions
            FROM unnest(CAST(:tenants AS text[]), CAST(:runs AS text[])) AS i (tenant_id, run),
            LATERAL (
                SELECT meter, count(*) AS recorded, coalesce(sum(quantity) FILTER (WHERE NOT voided), 0) AS quantity,
                       count(*) FILTER (WHERE NOT voided) AS events,
                       CASE WHEN count(*) <= :listed
                            THEN array_agg(quantity ORDER BY at, id, source) FILTER (WHERE NOT voided) END
                           AS transactions
                FROM usage_effective WHERE run = i.run AND tenant_id = i.tenant_id GROUP BY meter
            ) AS u
            ORDER BY 1, 2, 3
        """),
        _keys(keys) | {"listed": TRANSACTIONS_MAX},
    )
    found = rows.all()
    groups = await _grouped(connection, [one for one in found if one.recorded > TRANSACTIONS_MAX])
    for tenant, run, meter, quantity, recorded, events, transactions in found:
        before = counted[tenant, run]
        total = Quantity(
            meter=meter,
            quantity=quantity,
            events=events,
            transactions=transactions or [],
            groups=groups.get((tenant, run, meter), []),
        )
        counted[tenant, run] = Counted(events=before.events + recorded, totals=(*before.totals, total))
    return counted


async def _grouped(
    connection: AsyncConnection, many: Sequence[Row[Any]]
) -> dict[tuple[str, str, str], list[TransactionGroup]]:
    """How many events have which quantity, of runs' meters that have more than are listed; none where these are too many."""
    if not many:
        return {}
    rows = await connection.execute(
        text("""
            SELECT i.tenant_id, i.run, i.meter, g.quantity, g.count
            FROM unnest(CAST(:tenants AS text[]), CAST(:runs AS text[]), CAST(:meters AS text[]))
                AS i (tenant_id, run, meter),
            LATERAL (
                SELECT quantity, count(*) AS count FROM usage_effective
                WHERE run = i.run AND tenant_id = i.tenant_id AND meter = i.meter AND NOT voided
                GROUP BY quantity ORDER BY quantity LIMIT :most
            ) AS g
            ORDER BY 1, 2, 3, 4
        """),
        {
            "tenants": [one.tenant_id for one in many],
            "runs": [one.run for one in many],
            "meters": [one.meter for one in many],
            "most": TRANSACTIONS_MAX + 1,
        },
    )
    found: dict[tuple[str, str, str], list[TransactionGroup]] = {}
    for tenant, run, meter, quantity, count in rows:
        found.setdefault((tenant, run, meter), []).append(TransactionGroup(quantity=quantity, count=count))
    return {key: groups for key, groups in found.items() if len(groups) <= TRANSACTIONS_MAX}


async def mark_closed(connection: AsyncConnection, keys: Collection[RunKey]) -> None:
    """Note that these runs were closed with all they expected, under the next revision."""
    await connection.execute(
        text("""
            UPDATE runs r SET closed_count = expected, revision = revision + 1, alarm = NULL
            FROM unnest(CAST(:tenants AS text[]), CAST(:runs AS text[])) AS i (tenant_id, run)
            WHERE r.tenant_id = i.tenant_id AND r.run = i.run
        """),
        _keys(keys),
    )


async def find_run(connection: AsyncConnection, key: RunKey) -> EndedRun | None:
    """Read one ended run; None when it has not ended."""
    statement = text(f"SELECT {_COLUMNS} FROM runs r WHERE r.tenant_id = :tenant AND r.run = :run")
    row = (await connection.execute(statement, {"tenant": key[0], "run": key[1]})).one_or_none()
    return None if row is None else _ended_run(row)


# --- what does not become complete ---------------------------------------------------------------


async def claim_open(connection: AsyncConnection, *, check_again_after: datetime, limit: int) -> list[RunKey]:
    """Runs whose deadline is past and whose usage is not complete; nobody else gets them before the next."""
    rows = await connection.execute(
        text(f"""
            UPDATE runs SET check_after = :again WHERE (tenant_id, run) IN (
                SELECT tenant_id, run FROM runs WHERE check_after <= now() AND ({_OPEN})
                ORDER BY check_after LIMIT :limit FOR UPDATE SKIP LOCKED
            ) RETURNING tenant_id, run
        """),
        {"again": check_again_after, "limit": limit},
    )
    return [(tenant, run) for tenant, run in rows]


async def usage_ids(connection: AsyncConnection, key: RunKey) -> set[str]:
    """The ids of the usage events that were counted for a run."""
    rows = await connection.execute(
        text("SELECT id FROM usage_events WHERE run = :run AND tenant_id = :tenant"),
        {"tenant": key[0], "run": key[1]},
    )
    return set(rows.scalars())


async def note_alarm(connection: AsyncConnection, key: RunKey, alarm: str) -> None:
    """Remember what the last alarm about a run said."""
    await connection.execute(
        text("UPDATE runs SET alarm = :alarm WHERE tenant_id = :tenant AND run = :run"),
        {"tenant": key[0], "run": key[1], "alarm": alarm},
    )
