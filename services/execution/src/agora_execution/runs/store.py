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
from agora_execution.runs.model import Ending, LockedRun, NewRun, StepResult


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry for a run's journal."""

    run: str
    seq: int
    tenant: str
    type: str
    at: datetime
    data: dict[str, Any]


def _statement(sql: str) -> TextClause:
    return text(sql)


_INSERT_RUNS = _statement("""
    INSERT INTO runs (id, tenant_id, account_id, deployment_id, package, version, price_version, basis, fingerprint,
        requested_by, input, config, artifact, status, quoted, currency, hold_epoch, timeout_seconds, model_cost,
        next_seq, accepted_at)
    SELECT r.id, r.tenant, r.account, r.deployment, r.package, r.version, r.price_version, r.basis, r.fingerprint,
        r.requested_by, r.input, r.config, r.artifact, 'accepted', r.quoted, r.currency, r.hold_epoch,
        r.timeout_seconds, r.model_cost, 2, r.accepted_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id text, tenant text, account text, deployment text,
        package text, version text, price_version text, basis text, fingerprint text, requested_by text, input jsonb,
        config jsonb, artifact text, quoted bigint, currency text, hold_epoch int, timeout_seconds int,
        model_cost bigint, accepted_at timestamptz)
    ON CONFLICT (id) DO NOTHING RETURNING id
""")

_LOCK = _statement("""
    SELECT id, tenant_id, account_id, status, package, version, deployment_id, next_seq, steps, usage_count, usage,
        cancel_requested_at
    FROM runs WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR UPDATE
""")

_KNOWN_STEPS = _statement("""
    SELECT id, result FROM steps WHERE run_id = ANY(CAST(:runs AS text[])) AND id = ANY(CAST(:ids AS text[]))
""")

_INSERT_STEPS = _statement("""
    INSERT INTO steps (run_id, id, tenant_id, seq, node, title, visit, branch, attempt, started_at, finished_at,
        usage, summary, result)
    SELECT * FROM unnest(CAST(:runs AS text[]), CAST(:ids AS text[]), CAST(:tenants AS text[]), CAST(:seqs AS int[]),
        CAST(:nodes AS text[]), CAST(:titles AS text[]), CAST(:visits AS int[]), CAST(:branches AS text[]),
        CAST(:attempts AS int[]), CAST(:started AS timestamptz[]), CAST(:finished AS timestamptz[]),
        CAST(:usage AS jsonb[]), CAST(:summaries AS text[]), CAST(:results AS bytea[]))
""")

_INSERT_JOURNAL = _statement(f"""
    WITH journalled AS (
        INSERT INTO run_events (run_id, seq, tenant_id, type, at, data)
        SELECT * FROM unnest(CAST(:runs AS text[]), CAST(:seqs AS int[]), CAST(:run_tenants AS text[]),
            CAST(:types AS text[]), CAST(:ats AS timestamptz[]), CAST(:data AS jsonb[])))
    {outbox.INSERT}
""")

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
    FROM unnest(CAST(:ids AS text[]), CAST(:statuses AS text[]), CAST(:finished AS timestamptz[]),
        CAST(:deliverables AS text[]), CAST(:units AS bigint[]), CAST(:outputs AS jsonb[]), CAST(:errors AS jsonb[]),
        CAST(:next_seqs AS int[]))
        AS u(id, status, finished_at, deliverable, delivered_units, output, error, next_seq)
    WHERE runs.id = u.id
""")

_PLATFORM_COST = _statement("""
    INSERT INTO platform_costs (id, tenant_id, run_id, reason, meter, quantity)
    VALUES (:id, :tenant, :run, :reason, :meter, :quantity) ON CONFLICT (id) DO NOTHING
""")


async def insert_runs(connection: AsyncConnection, new: Sequence[NewRun]) -> set[str]:
    """Insert accepted runs; those whose id is taken are left alone. Returns the ids that are new."""
    result = await connection.execute(_INSERT_RUNS, {"rows": json_text(new)})
    return set(result.scalars())


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
        )
        for row in rows
    }


async def known_steps(connection: AsyncConnection, results: Sequence[StepResult]) -> dict[str, bytes]:
    """Which of these steps are recorded already, and with what update."""
    rows = await connection.execute(
        _KNOWN_STEPS, {"runs": list({one.run for one in results}), "ids": [one.step for one in results]}
    )
    return {row.id: row.result for row in rows}


async def step_result(connection: AsyncConnection, run: str, step: str) -> bytes | None:
    """The update of a recorded step, or None."""
    row = (
        await connection.execute(
            text("SELECT result FROM steps WHERE run_id = :run AND id = :step"), {"run": run, "step": step}
        )
    ).first()
    return None if row is None else row.result


async def insert_steps(
    connection: AsyncConnection, recorded: Sequence[tuple[StepResult, LockedRun, int]]
) -> None:
    """Insert steps, each with its run and its place in the run's journal."""
    results = [result for result, _, _ in recorded]
    await connection.execute(
        _INSERT_STEPS,
        {
            "runs": [one.run for one in results],
            "ids": [one.step for one in results],
            "tenants": [run.tenant for _, run, _ in recorded],
            "seqs": [seq for _, _, seq in recorded],
            "nodes": [one.node for one in results],
            "titles": [one.title for one in results],
            "visits": [one.visit for one in results],
            "branches": [one.branch for one in results],
            "attempts": [one.attempt for one in results],
            "started": [one.started_at for one in results],
            "finished": [one.finished_at for one in results],
            "usage": [
                json_text([{"id": u.id, "meter": u.meter, "quantity": u.quantity} for u in one.usage])
                for one in results
            ],
            "summaries": [one.summary for one in results],
            "results": [one.update for one in results],
        },
    )


async def journal(
    connection: AsyncConnection, entries: Sequence[JournalEntry], events: Sequence[Event]
) -> None:
    """Append to runs' journals and emit events, in one statement: every run does it several times."""
    if not entries and not events:
        return
    await connection.execute(
        _INSERT_JOURNAL,
        {
            "runs": [one.run for one in entries],
            "seqs": [one.seq for one in entries],
            "run_tenants": [one.tenant for one in entries],
            "types": [one.type for one in entries],
            "ats": [one.at for one in entries],
            "data": [json_text(one.data) for one in entries],
            **outbox.parameters(events),
        },
    )


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
            "statuses": [ending.outcome for ending in endings],
            "finished": [ending.at for ending in endings],
            "deliverables": [ending.deliverable for ending in endings],
            "units": [ending.delivered_units for ending in endings],
            "outputs": [None if one.output is None else json_text(one.output) for one in endings],
            "errors": [None if one.error is None else json_text(one.error) for one in endings],
            "next_seqs": [run.next_seq for _, run in ended],
        },
    )


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


async def save_charge(connection: AsyncConnection, run: LockedRun, revision: int, amount: int) -> bool:
    """Take a charge up, unless a newer revision stands there. Returns whether it was taken."""
    result = await connection.execute(
        text("""
            UPDATE runs SET cost = :amount, charge_revision = :revision, next_seq = :next_seq
            WHERE id = :id AND charge_revision < :revision
        """),
        {"id": run.id, "revision": revision, "amount": amount, "next_seq": run.next_seq},
    )
    return result.rowcount == 1


async def request_cancel(connection: AsyncConnection, run: str) -> None:
    """Note that the customer wants the run to stop."""
    await connection.execute(
        text("UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, now()) WHERE id = :id"),
        {"id": run},
    )
