"""SQL that writes everything about runs in one statement, which is a transaction by itself: the hot path.

Each writes a run only if its row still stands where the caller says, together with its journal, its events and
its step; it returns the ids of those it wrote. The others are for the statements of `store`, which look first.
"""

from collections.abc import Sequence
from datetime import datetime

from agora_kit import outbox
from agora_kit.outbox import Event
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import json_text
from agora_execution.runs import store
from agora_execution.runs.model import STARTED_SEQ, Ending, LockedRun, NewRun, StepResult
from agora_execution.runs.store import JournalEntry


def _told(written: str) -> str:
    """Journal and outbox, in the order given, of the runs that the statement's part `written` wrote."""
    return f"""
    journalled AS (
        INSERT INTO run_events (run_id, seq, tenant_id, type, at, data)
        SELECT e.run, e.seq, e.tenant, e.type, e.at, e.data
        FROM unnest(CAST(:runs AS text[]), CAST(:seqs AS int[]), CAST(:run_tenants AS text[]),
            CAST(:types AS text[]), CAST(:ats AS timestamptz[]), CAST(:data AS jsonb[]))
            AS e(run, seq, tenant, type, at, data)
        JOIN {written} ON {written}.id = e.run
    ), told AS (
        INSERT INTO outbox (message_id, tenant_id, entity, subject, payload)
        SELECT o.id, o.tenant, o.entity, o.subject, o.payload
        FROM unnest(CAST(:ids AS text[]), CAST(:tenants AS text[]), CAST(:entities AS text[]),
            CAST(:subjects AS text[]), CAST(:payloads AS bytea[]))
            WITH ORDINALITY AS o(id, tenant, entity, subject, payload, place)
        JOIN {written} ON {written}.id = o.entity ORDER BY o.place
    )
    SELECT id FROM {written}
    """


_ACCEPT = text(f"""
    WITH accepted AS (
        INSERT INTO runs (id, tenant_id, account_id, deployment_id, package, version, price_version, basis,
            fingerprint, requested_by, input, config, artifact, status, quoted, currency, hold_epoch,
            timeout_seconds, model_cost, next_seq, accepted_at, max_cost, parent_id, parent_step, title, call_path,
            origin_id, origin_seq, cancel_requested_at)
        SELECT r.id, r.tenant, r.account, r.deployment, r.package, r.version, r.price_version, r.basis,
            r.fingerprint, r.requested_by, r.input, r.config, r.artifact, 'accepted', r.quoted, r.currency,
            r.hold_epoch, r.timeout_seconds, r.model_cost, {STARTED_SEQ}, r.accepted_at,
            r.max_cost, r.parent_id, r.parent_step, r.title, r.call_path, r.origin_id, r.origin_seq,
            p.cancel_requested_at
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id text, tenant text, account text, deployment text,
            package text, version text, price_version text, basis text, fingerprint text, requested_by text,
            input jsonb, config jsonb, artifact text, quoted bigint, currency text, hold_epoch int,
            timeout_seconds int, model_cost bigint, accepted_at timestamptz, max_cost bigint, parent_id text,
            parent_step text, title text, call_path text[], origin_id text, origin_seq int)
            LEFT JOIN runs p ON p.id = r.parent_id
        ON CONFLICT (id) DO NOTHING RETURNING id
    ), {_told("accepted")}
""")

_BEGIN = text(f"""
    WITH ready AS (
        SELECT id FROM runs
        WHERE id = ANY(CAST(:runs AS text[])) AND status = 'accepted' AND next_seq = {STARTED_SEQ}
            AND cancel_requested_at IS NULL
        ORDER BY id FOR UPDATE
    ), begun AS (
        UPDATE runs SET status = 'running', started_at = :at, next_seq = {STARTED_SEQ + 1}
        FROM ready WHERE runs.id = ready.id RETURNING runs.id
    ), {_told("begun")}
""")

_FINISH = text(f"""
    WITH ready AS (
        SELECT id FROM runs
        WHERE id = ANY(CAST(:finished AS text[])) AND status = 'running' AND next_seq = {STARTED_SEQ + 1}
            AND steps = 0 AND cancel_requested_at IS NULL
        ORDER BY id FOR UPDATE
    ), finished AS (
        UPDATE runs SET status = u.status, finished_at = u.finished_at, deliverable = u.deliverable,
            delivered_units = u.delivered_units, output = u.output, error = u.error, next_seq = u.next_seq,
            steps = 1, usage_count = u.usage_count, usage = u.usage
        FROM ready JOIN unnest(CAST(:finished AS text[]), CAST(:statuses AS text[]), CAST(:ends AS timestamptz[]),
            CAST(:deliverables AS text[]), CAST(:units AS bigint[]), CAST(:outputs AS jsonb[]),
            CAST(:errors AS jsonb[]), CAST(:next_seqs AS int[]), CAST(:usage_counts AS int[]),
            CAST(:totals AS jsonb[]))
            AS u(id, status, finished_at, deliverable, delivered_units, output, error, next_seq, usage_count, usage)
            ON u.id = ready.id
        WHERE runs.id = ready.id RETURNING runs.id
    ), stepped AS (
        INSERT INTO steps (run_id, id, tenant_id, seq, node, title, visit, branch, attempt, started_at,
            finished_at, usage, summary, result)
        SELECT s.* FROM {store.STEP_ROWS} AS s(run, id, tenant, seq, node, title, visit, branch, attempt, started,
            finished, usage, summary, result)
        JOIN finished ON finished.id = s.run
    ), {_told("finished")}
""")


async def accept(
    connection: AsyncConnection,
    new: Sequence[NewRun],
    entries: Sequence[JournalEntry],
    events: Sequence[Event],
) -> set[str]:
    """Write accepted runs, each with its first entry; one whose id is taken is left alone."""
    rows = await connection.execute(_ACCEPT, {"rows": json_text(new)} | _telling(entries, events))
    return set(rows.scalars())


async def begin(
    connection: AsyncConnection, at: datetime, entries: Sequence[JournalEntry], events: Sequence[Event]
) -> set[str]:
    """Mark runs as running of which nothing was written yet but that they were accepted."""
    rows = await connection.execute(_BEGIN, {"at": at} | _telling(entries, events))
    return set(rows.scalars())


async def finish(
    connection: AsyncConnection,
    finished: Sequence[tuple[LockedRun, StepResult, Ending]],
    entries: Sequence[JournalEntry],
    events: Sequence[Event],
) -> set[str]:
    """Write the only step of runs that have just begun, and their end with it."""
    runs = [run for run, _, _ in finished]
    endings = [ending for _, _, ending in finished]
    steps = [(result, run, STARTED_SEQ + 1) for run, result, _ in finished]
    values = {
        "finished": [run.id for run in runs],
        **store.ending_columns(endings),
        "next_seqs": [run.next_seq for run in runs],
        "usage_counts": [run.usage_count for run in runs],
        "totals": [json_text(run.usage) for run in runs],
    }
    values |= store.step_columns(steps) | _telling(entries, events)
    return set((await connection.execute(_FINISH, values)).scalars())


def _telling(entries: Sequence[JournalEntry], events: Sequence[Event]) -> dict[str, list[object]]:
    return store.journal_columns(entries) | outbox.parameters(events)
