"""SQL that writes runs: whole batches, each statement once per batch. Never commits."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from agora_kit import outbox
from agora_kit.outbox import Event
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import json_text
from agora_execution.runs.model import Ending, LockedRun, StepResult, carried_usage, step_id
from agora_execution.runs.tasks import StepTask


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry for a run's journal."""

    run: str
    seq: int
    tenant: str
    type: str
    at: datetime
    data: msgspec.Struct


def _statement(sql: str) -> TextClause:
    return text(sql)


_LOCK = _statement("""
    SELECT id, tenant_id, account_id, status, package, version, deployment_id, next_seq, steps, usage_count, usage,
        cancel_requested_at, pause_requested_at, charged, charge_revision, refunded, refund_number
    FROM runs WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR UPDATE
""")

_KNOWN_STEPS = _statement("""
    SELECT id, result, attempt, started_at FROM steps WHERE run_id = ANY(CAST(:runs AS text[])) AND id = ANY(CAST(:ids AS text[]))
""")

STEP_ROWS = """unnest(CAST(:step_runs AS text[]), CAST(:step_ids AS text[]), CAST(:step_tenants AS text[]),
        CAST(:step_seqs AS int[]), CAST(:nodes AS text[]), CAST(:titles AS text[]), CAST(:visits AS int[]),
        CAST(:branches AS text[]), CAST(:attempts AS int[]), CAST(:step_starts AS timestamptz[]),
        CAST(:step_ends AS timestamptz[]), CAST(:step_usage AS jsonb[]), CAST(:summaries AS text[]),
        CAST(:results AS bytea[]))"""
"""Rows of steps in the order of the columns that are written, from `step_columns`."""

_INSERT_STEPS = _statement(f"""
    INSERT INTO steps (run_id, id, tenant_id, seq, node, title, visit, branch, attempt, started_at, finished_at,
        usage, summary, result)
    SELECT * FROM {STEP_ROWS}
""")

_JOURNAL = f"""journalled AS (
        INSERT INTO run_events (run_id, seq, tenant_id, type, at, data)
        SELECT * FROM unnest(CAST(:runs AS text[]), CAST(:seqs AS int[]), CAST(:run_tenants AS text[]),
            CAST(:types AS text[]), CAST(:ats AS timestamptz[]), CAST(:data AS jsonb[])))
    {outbox.INSERT}"""

_INSERT_JOURNAL = _statement(f"WITH {_JOURNAL}")

_SAVE_PROGRESS = _statement("""
    UPDATE runs SET next_seq = u.next_seq, steps = u.steps, usage_count = u.usage_count, usage = u.usage,
        checked_at = now()
    FROM unnest(CAST(:ids AS text[]), CAST(:next_seqs AS int[]), CAST(:steps AS int[]),
        CAST(:usage_counts AS int[]), CAST(:usage AS jsonb[])) AS u(id, next_seq, steps, usage_count, usage)
    WHERE runs.id = u.id
""")

_SAVE_STARTED = _statement("""
    UPDATE runs SET status = 'running', started_at = coalesce(started_at, :at), next_seq = u.next_seq,
        checked_at = now()
    FROM unnest(CAST(:ids AS text[]), CAST(:next_seqs AS int[])) AS u(id, next_seq) WHERE runs.id = u.id
""")

_SAVE_ENDED = _statement("""
    UPDATE runs SET status = u.status, waiting_for = NULL, finished_at = u.finished_at, deliverable = u.deliverable,
        delivered_units = u.delivered_units, output = u.output, error = u.error, next_seq = u.next_seq
    FROM unnest(CAST(:ids AS text[]), CAST(:statuses AS text[]), CAST(:ends AS timestamptz[]),
        CAST(:deliverables AS text[]), CAST(:units AS bigint[]), CAST(:outputs AS jsonb[]), CAST(:errors AS jsonb[]),
        CAST(:next_seqs AS int[]))
        AS u(id, status, finished_at, deliverable, delivered_units, output, error, next_seq)
    WHERE runs.id = u.id
""")

_SAVE_CHARGES = _statement(f"""
    WITH charged AS (
        UPDATE runs SET cost = u.cost, charged = u.charged, charge_revision = u.revision, refunded = u.refunded,
            refund_number = u.refund_number, next_seq = u.next_seq
        FROM unnest(CAST(:charged AS text[]), CAST(:costs AS bigint[]), CAST(:charges AS bigint[]),
            CAST(:revisions AS int[]), CAST(:refunds AS bigint[]), CAST(:refund_numbers AS int[]),
            CAST(:next_seqs AS int[])) AS u(id, cost, charged, revision, refunded, refund_number, next_seq)
        WHERE runs.id = u.id),
    {_JOURNAL}
""")

_PLATFORM_COST = _statement("""
    INSERT INTO platform_costs (id, tenant_id, run_id, reason, meter, quantity)
    VALUES (:id, :tenant, :run, :reason, :meter, :quantity) ON CONFLICT (id) DO NOTHING
""")


async def lock_runs(connection: AsyncConnection, ids: Iterable[str]) -> dict[str, LockedRun]:
    """Lock runs in the order of their ids; ids that are unknown are left out."""
    rows = await connection.execute(_LOCK, {"ids": sorted(set(ids))})
    return {
        row.id: LockedRun(
            id=row.id,
            tenant=row.tenant_id,
            account=row.account_id,
            status=row.status,
            package=row.package,
            version=row.version,
            deployment=row.deployment_id,
            next_seq=row.next_seq,
            steps=row.steps,
            usage_count=row.usage_count,
            usage={meter: Decimal(quantity) for meter, quantity in row.usage.items()},
            cancel_requested=row.cancel_requested_at is not None,
            pause_requested=row.pause_requested_at is not None,
            charged=row.charged,
            charge_revision=row.charge_revision,
            refunded=row.refunded,
            refund_number=row.refund_number,
        )
        for row in rows
    }


async def known_steps(
    connection: AsyncConnection, results: Sequence[StepResult]
) -> dict[str, tuple[bytes, int, datetime]]:
    """Which of these steps are recorded already: with what update, by which attempt, and when that began."""
    rows = await connection.execute(
        _KNOWN_STEPS, {"runs": list({one.run for one in results}), "ids": [one.step for one in results]}
    )
    return {row.id: (row.result, row.attempt, row.started_at) for row in rows}


async def step_result(connection: AsyncConnection, run: str, step: str) -> tuple[bytes | None, bool]:
    """The update of a recorded step, or None, and whether its run is to stop."""
    row = (
        await connection.execute(
            text("""
                SELECT s.result, r.cancel_requested_at IS NOT NULL AS cancel_requested
                FROM runs r LEFT JOIN steps s ON s.run_id = r.id AND s.id = :step WHERE r.id = :run
            """),
            {"run": run, "step": step},
        )
    ).first()
    return (None, False) if row is None else (row.result, row.cancel_requested)


async def carried_step(connection: AsyncConnection, task: StepTask) -> StepResult | None:
    """A step that a run's origin recorded early enough, as a step of the run itself."""
    row = (
        await connection.execute(
            text("""
                SELECT title, attempt, started_at, finished_at, usage, summary, result FROM steps
                WHERE run_id = :origin AND tenant_id = :tenant AND id = :step AND seq < :before
            """),
            {
                "origin": task.task.origin,
                "tenant": task.task.tenant,
                "step": step_id(task.task.origin or "", task.node, task.visit, task.branch),
                "before": task.task.origin_seq,
            },
        )
    ).first()
    if row is None:
        return None
    recorded = [(one["id"], one["meter"], Decimal(one["quantity"])) for one in row.usage]
    return StepResult(
        run=task.task.run,
        step=task.step,
        node=task.node,
        title=row.title,
        visit=task.visit,
        branch=task.branch,
        attempt=row.attempt,
        started_at=row.started_at,
        finished_at=row.finished_at,
        update=row.result,
        usage=carried_usage(task.step, recorded),
        summary=row.summary,
    )


async def insert_steps(
    connection: AsyncConnection, recorded: Sequence[tuple[StepResult, LockedRun, int]]
) -> None:
    """Insert steps, each with its run and its place in the run's journal."""
    await connection.execute(_INSERT_STEPS, step_columns(recorded))


def step_columns(recorded: Sequence[tuple[StepResult, LockedRun, int]]) -> dict[str, list[Any]]:
    """What `STEP_ROWS` is made of."""
    results = [result for result, _, _ in recorded]
    return {
        "step_runs": [one.run for one in results],
        "step_ids": [one.step for one in results],
        "step_tenants": [run.tenant for _, run, _ in recorded],
        "step_seqs": [seq for _, _, seq in recorded],
        "nodes": [one.node for one in results],
        "titles": [one.title for one in results],
        "visits": [one.visit for one in results],
        "branches": [one.branch for one in results],
        "attempts": [one.attempt for one in results],
        "step_starts": [one.started_at for one in results],
        "step_ends": [one.finished_at for one in results],
        "step_usage": [
            json_text([{"id": u.id, "meter": u.meter, "quantity": u.quantity} for u in one.usage])
            for one in results
        ],
        "summaries": [one.summary for one in results],
        "results": [one.update for one in results],
    }


async def journal(
    connection: AsyncConnection, entries: Sequence[JournalEntry], events: Sequence[Event]
) -> None:
    """Append to runs' journals and emit events, in one statement: every run does it several times."""
    if not entries and not events:
        return
    await connection.execute(_INSERT_JOURNAL, {**journal_columns(entries), **outbox.parameters(events)})


def journal_columns(entries: Sequence[JournalEntry]) -> dict[str, list[Any]]:
    """The journal's rows, column by column."""
    return {
        "runs": [one.run for one in entries],
        "seqs": [one.seq for one in entries],
        "run_tenants": [one.tenant for one in entries],
        "types": [one.type for one in entries],
        "ats": [one.at for one in entries],
        "data": [json_text(one.data) for one in entries],
    }


async def save_progress(connection: AsyncConnection, runs: Sequence[LockedRun]) -> None:
    """Save the counters of locked runs."""
    await connection.execute(
        _SAVE_PROGRESS,
        {
            "ids": [run.id for run in runs],
            "next_seqs": [run.next_seq for run in runs],
            "steps": [run.steps for run in runs],
            "usage_counts": [run.usage_count for run in runs],
            "usage": [json_text(run.usage) for run in runs],
        },
    )


async def save_started(connection: AsyncConnection, runs: Sequence[LockedRun], at: datetime) -> None:
    """Mark runs as running."""
    await connection.execute(
        _SAVE_STARTED,
        {"ids": [run.id for run in runs], "next_seqs": [run.next_seq for run in runs], "at": at},
    )


async def save_ended(connection: AsyncConnection, ended: Sequence[tuple[Ending, LockedRun]]) -> None:
    """Mark runs as ended, with what came of them."""
    endings = [ending for ending, _ in ended]
    await connection.execute(
        _SAVE_ENDED,
        {
            "ids": [ending.run for ending in endings],
            **ending_columns(endings),
            "next_seqs": [run.next_seq for _, run in ended],
        },
    )


def ending_columns(endings: Sequence[Ending]) -> dict[str, list[Any]]:
    """What is written of ends of runs, column by column."""
    return {
        "statuses": [ending.outcome for ending in endings],
        "ends": [ending.at for ending in endings],
        "deliverables": [ending.deliverable for ending in endings],
        "units": [ending.delivered_units for ending in endings],
        "outputs": [None if one.output is None else json_text(one.output) for one in endings],
        "errors": [None if one.error is None else json_text(one.error) for one in endings],
    }


async def record_platform_cost(
    connection: AsyncConnection, result: StepResult, run: LockedRun, reason: str
) -> None:
    """Keep what an attempt used that nobody is billed for. The same attempt is kept once."""
    if not result.usage:
        return
    await connection.execute(
        _PLATFORM_COST,
        [
            {
                "id": f"{item.id}@{result.attempt}:{reason}",
                "tenant": run.tenant,
                "run": run.id,
                "reason": reason,
                "meter": item.meter,
                "quantity": str(item.quantity),
            }
            for item in result.usage
        ],
    )


async def save_charges(
    connection: AsyncConnection,
    charged: Sequence[LockedRun],
    entries: Sequence[JournalEntry],
    events: Sequence[Event],
) -> None:
    """Save what locked runs were charged and got back, with their journal entries and events."""
    await connection.execute(
        _SAVE_CHARGES,
        {
            "charged": [run.id for run in charged],
            "costs": [run.cost for run in charged],
            "charges": [run.charged for run in charged],
            "revisions": [run.charge_revision for run in charged],
            "refunds": [run.refunded for run in charged],
            "refund_numbers": [run.refund_number for run in charged],
            "next_seqs": [run.next_seq for run in charged],
            **journal_columns(entries),
            **outbox.parameters(events),
        },
    )


async def request_cancel(connection: AsyncConnection, runs: Sequence[str]) -> None:
    """Note that the customer wants locked runs to stop; one that has ended meanwhile stays as it is."""
    await connection.execute(
        text(
            "UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, now()) "
            "WHERE id = ANY(CAST(:ids AS text[])) AND finished_at IS NULL"
        ),
        {"ids": list(runs)},
    )
