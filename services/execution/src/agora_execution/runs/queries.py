"""SQL that reads runs for their tenants and for the sweeps."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from agora_contracts.billing import Quantity
from agora_contracts.money import Money
from agora_contracts.runs import ListRuns, ListSteps, Run, RunError, RunEvent, RunPage, Step, StepList
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.paging import that_fit

_COLUMNS = """
    id, tenant_id, status, waiting_for, package, version, basis, deployment_id, accepted_at, started_at, finished_at,
    output, deliverable, error, usage, steps, quoted, currency, cost, requested_by, fingerprint
"""


def _quantities(usage: dict[str, str]) -> list[Quantity]:
    return [Quantity(meter=meter, quantity=Decimal(quantity)) for meter, quantity in sorted(usage.items())]


def _run(row: Row[Any], *, listed: bool = False) -> Run:
    # What a customer has not paid for is not shown: only a run that succeeded has an output.
    # In a list none has: a page of outputs would not fit into a message.
    output = row.output if row.status == "succeeded" and not listed else None
    return Run(
        id=row.id,
        tenant=row.tenant_id,
        status=row.status,
        package=row.package,
        version=row.version,
        basis=row.basis,
        accepted_at=row.accepted_at,
        quoted=Money(amount=row.quoted, currency=row.currency),
        deployment=row.deployment_id,
        waiting_for=row.waiting_for,
        started_at=row.started_at,
        finished_at=row.finished_at,
        output=output,
        deliverable=row.deliverable,
        error=None if row.error is None else msgspec.convert(row.error, RunError),
        usage=_quantities(row.usage),
        steps=row.steps,
        cost=None if row.cost is None else Money(amount=row.cost, currency=row.currency),
        requested_by=row.requested_by,
    )


async def run_with_fingerprint(connection: AsyncConnection, run: str) -> tuple[Run, str] | None:
    """A run and the fingerprint it was asked for with."""
    row = (await connection.execute(text(f"SELECT {_COLUMNS} FROM runs WHERE id = :id"), {"id": run})).first()
    return None if row is None else (_run(row), row.fingerprint)


async def runs_with_fingerprints(connection: AsyncConnection, ids: list[str]) -> dict[str, tuple[Run, str]]:
    """Several runs and their fingerprints."""
    rows = await connection.execute(
        text(f"SELECT {_COLUMNS} FROM runs WHERE id = ANY(CAST(:ids AS text[]))"), {"ids": ids}
    )
    return {row.id: (_run(row), row.fingerprint) for row in rows}


async def page(connection: AsyncConnection, query: ListRuns) -> RunPage:
    """A tenant's runs, newest first; the caller's transaction is the tenant's."""
    before = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else None
    rows = (
        await connection.execute(
            text(f"""
                SELECT {_COLUMNS} FROM runs
                WHERE tenant_id = :tenant
                  AND (CAST(:status AS text) IS NULL OR status = :status)
                  AND (CAST(:package AS text) IS NULL OR package = :package)
                  AND (CAST(:deployment AS text) IS NULL OR deployment_id = :deployment)
                  AND (CAST(:before_at AS timestamptz) IS NULL OR (accepted_at, id) < (:before_at, :before_id))
                ORDER BY accepted_at DESC, id DESC LIMIT :limit
            """),
            {
                "tenant": query.tenant,
                "status": query.status,
                "package": query.package,
                "deployment": query.deployment,
                "before_at": before[0] if before else None,
                "before_id": before[1] if before else "",
                "limit": query.limit + 1,
            },
        )
    ).all()
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return RunPage(
        items=[_run(row, listed=True) for row in shown],
        next_cursor=encode_cursor(shown[-1].accepted_at.isoformat(), shown[-1].id) if more else None,
    )


async def steps_page(connection: AsyncConnection, query: ListSteps) -> StepList:
    """A run's steps in the order of its journal; fewer than asked for where they are large."""
    after = decode_cursor(query.cursor, tuple[int])[0] if query.cursor else 0
    rows = (
        await connection.execute(
            text("""
                SELECT id, node, title, visit, branch, seq, attempt, started_at, finished_at, usage, summary
                FROM steps WHERE run_id = :run AND seq > :after ORDER BY seq LIMIT :limit
            """),
            {"run": query.run, "after": after, "limit": query.limit + 1},
        )
    ).all()
    shown = that_fit(_step(row) for row in rows[: query.limit])
    more = len(rows) > len(shown)
    return StepList(items=shown, next_cursor=encode_cursor(shown[-1].seq) if more else None)


def _step(row: Row[Any]) -> Step:
    return Step(
        id=row.id,
        node=row.node,
        title=row.title,
        visit=row.visit,
        branch=row.branch,
        seq=row.seq,
        attempt=row.attempt,
        started_at=row.started_at,
        finished_at=row.finished_at,
        usage=[Quantity(meter=one["meter"], quantity=Decimal(one["quantity"])) for one in row.usage],
        summary=row.summary,
    )


async def events_after(
    connection: AsyncConnection, run: str, after: int, limit: int
) -> tuple[list[RunEvent], bool]:
    """A run's journal after a sequence number, as much as fits into a page; and whether more comes after that."""
    rows = (
        await connection.execute(
            text("""
                SELECT seq, type, at, data FROM run_events
                WHERE run_id = :run AND seq > :after ORDER BY seq LIMIT :limit
            """),
            {"run": run, "after": after, "limit": limit + 1},
        )
    ).all()
    shown = that_fit(RunEvent(seq=row.seq, type=row.type, time=row.at, data=row.data) for row in rows[:limit])
    return shown, len(rows) > len(shown)


async def usage_ids(connection: AsyncConnection, run: str) -> list[str]:
    """Ids of every usage event a run recorded."""
    rows = await connection.execute(
        text("""
            SELECT item->>'id' AS id FROM steps, jsonb_array_elements(usage) AS item
            WHERE run_id = :run ORDER BY seq
        """),
        {"run": run},
    )
    return [row.id for row in rows]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """A run from which another one begins; its steps with a smaller number than `before_seq` are taken over."""

    status: str
    package: str
    version: str
    deployment: str | None
    input: dict[str, Any]
    config: dict[str, Any]
    artifact: str | None
    before_seq: int
    has_step: bool


async def origin(connection: AsyncConnection, run: str, before: str | None) -> Origin | None:
    """A run of the transaction's tenant, and the number of the step before which it is left, if it has that."""
    row = (
        await connection.execute(
            text("""
                SELECT r.status, r.package, r.version, r.deployment_id, r.input, r.config, r.artifact, r.next_seq, s.seq
                FROM runs r LEFT JOIN steps s ON s.run_id = r.id AND s.id = :before WHERE r.id = :run
            """),
            {"run": run, "before": before},
        )
    ).first()
    if row is None:
        return None
    return Origin(
        status=row.status,
        package=row.package,
        version=row.version,
        deployment=row.deployment_id,
        input=row.input,
        config=row.config,
        artifact=row.artifact,
        before_seq=row.seq if row.seq is not None else row.next_seq,
        has_step=row.seq is not None,
    )


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """A run that the sweep looks after.

    `orphaned`: the run that called it has ended. `overdue`: its time is long up and nothing has ended it.
    `decided`: what it waited for was decided a short while ago, which it may not have heard.
    """

    id: str
    tenant: str
    status: str
    cancel_requested: bool
    orphaned: bool = False
    overdue: bool = False
    decided: bool = False


async def unfinished(
    connection: AsyncConnection, older_than_seconds: float, limit: int, *, margin_seconds: float = 300.0
) -> list[Unfinished]:
    """Unfinished runs that nobody has looked at lately, and mark them as looked at."""
    rows = await connection.execute(
        text("""
            WITH quiet AS (
                SELECT id FROM runs WHERE finished_at IS NULL
                    AND checked_at < now() - make_interval(secs => :seconds)
                ORDER BY checked_at LIMIT :limit FOR UPDATE SKIP LOCKED),
            -- The time of the runs that a run called is none of its own, however many went on at once.
            calls AS (
                SELECT q.id, coalesce((
                    SELECT sum(upper(went_on) - lower(went_on)) FROM unnest((
                        SELECT range_agg(tstzrange(c.accepted_at, greatest(coalesce(c.finished_at, now()), c.accepted_at)))
                        FROM runs c WHERE c.parent_id = q.id)) went_on), interval '0') AS calls_took
                FROM quiet q)
            UPDATE runs SET checked_at = now() FROM calls WHERE runs.id = calls.id
            RETURNING runs.id, tenant_id, status, cancel_requested_at IS NOT NULL AS cancel_requested,
                parent_id IS NOT NULL AND EXISTS (
                    SELECT 1 FROM runs p WHERE p.id = runs.parent_id AND p.finished_at IS NOT NULL) AS orphaned,
                status <> 'waiting' AND coalesce(started_at, accepted_at)
                    + make_interval(secs => timeout_seconds + waited_seconds + :margin) + calls_took < now()
                    AS overdue,
                EXISTS (SELECT 1 FROM approvals a WHERE a.run_id = runs.id AND a.decided_at
                    > now() - make_interval(mins => 5)) AS decided
        """),
        {"seconds": older_than_seconds, "limit": limit, "margin": margin_seconds},
    )
    return [
        Unfinished(
            id=row.id,
            tenant=row.tenant_id,
            status=row.status,
            cancel_requested=row.cancel_requested,
            orphaned=row.orphaned,
            overdue=row.overdue,
            decided=row.decided,
        )
        for row in rows
    ]
