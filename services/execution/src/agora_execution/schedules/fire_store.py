"""SQL for what came of schedules' times. Never commits."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.runs import RunError
from agora_contracts.schedules import Fire, FirePage, ListFires
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import json_text
from agora_execution.schedules.model import PAUSES, Before, Outcome

_RECENT = 20
"""How many of the newest fires that started a run, by the clock and by hand, are looked at for one that goes on: where
more are under way the schedule allows it."""

_OUTCOMES_MAX = 120
"""How far back failures are counted: more than a schedule may bear, with room for runs that go on."""

_COLUMNS = "id, tenant_id, schedule_id, scheduled_for, at, state, manual, run_id, reason, requested_by"


class FireRow(msgspec.Struct, frozen=True, kw_only=True):
    """A fire, whose it is, and the key that triggered it, if one did."""

    public: Fire
    tenant: str
    requested_by: str = ""


def _read(row: Row[Any]) -> FireRow:
    return FireRow(
        public=Fire(
            id=row.id,
            schedule=row.schedule_id,
            scheduled_for=row.scheduled_for,
            at=row.at,
            state=row.state,
            manual=row.manual,
            run=row.run_id,
            reason=None if row.reason is None else msgspec.convert(row.reason, RunError),
        ),
        tenant=row.tenant_id,
        requested_by=row.requested_by,
    )


async def insert(connection: AsyncConnection, row: FireRow) -> None:
    """Write down that a time has come, and what is to be done."""
    fire = row.public
    await connection.execute(
        text("""
            INSERT INTO schedule_fires (id, tenant_id, schedule_id, scheduled_for, at, state, manual, run_id, reason,
                requested_by)
            VALUES (:id, :tenant, :schedule, :scheduled_for, :at, :state, :manual, :run, CAST(:reason AS jsonb),
                :requested_by)
        """),
        {
            "id": fire.id,
            "tenant": row.tenant,
            "requested_by": row.requested_by,
            "schedule": fire.schedule,
            "scheduled_for": fire.scheduled_for,
            "at": fire.at,
            "state": fire.state,
            "manual": fire.manual,
            "run": fire.run,
            "reason": None if fire.reason is None else json_text(fire.reason),
        },
    )


async def read(connection: AsyncConnection, fire: str) -> FireRow | None:
    """One fire that this transaction may see."""
    query = text(f"SELECT {_COLUMNS} FROM schedule_fires WHERE id = :id")
    row = (await connection.execute(query, {"id": fire})).first()
    return None if row is None else _read(row)


async def settle(
    connection: AsyncConnection, fire: str, state: str, *, run: str | None, reason: RunError | None
) -> bool:
    """Write down what came of a fire that was being started. Returns whether nobody was faster.

    A run that was started is told also where a pause, which came meanwhile, had the fire left out.
    """
    result = await connection.execute(
        text("""
            UPDATE schedule_fires SET state = :state, run_id = :run, reason = CAST(:reason AS jsonb)
            WHERE id = :id AND (state = 'starting' OR (state = 'skipped' AND :state = 'started'))
        """),
        {
            "id": fire,
            "state": state,
            "run": run,
            "reason": None if reason is None else json_text(reason),
        },
    )
    return result.rowcount == 1


async def has_run(connection: AsyncConnection, run: str) -> bool:
    """Whether a run is there."""
    query = text("SELECT EXISTS (SELECT FROM runs WHERE id = :run)")
    return bool((await connection.execute(query, {"run": run})).scalar_one())


async def before(connection: AsyncConnection, schedule: str) -> Before:
    """How the fires of a locked schedule stand."""
    row = (
        await connection.execute(
            text("""
                SELECT EXISTS (SELECT FROM (VALUES (true), (false)) AS kind(manual)
                    CROSS JOIN LATERAL (
                        SELECT state, run_id FROM schedule_fires
                        WHERE schedule_id = :id AND state IN ('starting', 'started') AND manual = kind.manual
                        ORDER BY at DESC LIMIT :recent) f
                    LEFT JOIN runs r ON r.id = f.run_id
                    WHERE f.state = 'starting' OR (f.state = 'started' AND r.finished_at IS NULL)) AS unfinished,
                    EXISTS (SELECT FROM schedule_fires WHERE schedule_id = :id AND state = 'buffered') AS buffered
            """),
            {"id": schedule, "recent": _RECENT},
        )
    ).one()
    return Before(unfinished=row.unfinished, buffered=row.buffered)


async def outcomes(
    connection: AsyncConnection, counted_from: Mapping[str, datetime]
) -> dict[str, list[tuple[Outcome, RunError | None]]]:
    """What came of the newest fires of schedules, each since its moment, newest first; and why the bad ones were."""
    rows = await connection.execute(
        text("""
            SELECT s.id, f.state, f.reason, r.status, r.error
            FROM unnest(CAST(:ids AS text[]), CAST(:moments AS timestamptz[])) AS s(id, counted_from)
            CROSS JOIN LATERAL (
                SELECT state, reason, run_id, at FROM schedule_fires
                WHERE schedule_id = s.id AND state IN ('starting', 'started', 'refused') AND at >= s.counted_from
                ORDER BY at DESC LIMIT :limit) f
            LEFT JOIN runs r ON r.id = f.run_id
            ORDER BY f.at DESC
        """),
        {"ids": list(counted_from), "moments": list(counted_from.values()), "limit": _OUTCOMES_MAX},
    )
    found: dict[str, list[tuple[Outcome, RunError | None]]] = {}
    for row in rows:
        found.setdefault(row.id, []).append(_outcome(row))
    return found


def _outcome(row: Row[Any]) -> tuple[Outcome, RunError | None]:
    if row.state == "refused":
        reason = msgspec.convert(row.reason, RunError | None)
        # What a pause refused is no further failure.
        return ("open" if reason is not None and reason.code in PAUSES else "bad"), reason
    if row.state == "started" and row.status in ("failed", "timed_out"):
        return "bad", msgspec.convert(row.error, RunError | None)
    # A run that was cancelled says nothing about the schedule.
    return ("good" if row.status == "succeeded" else "open"), None


async def page(connection: AsyncConnection, query: ListFires) -> FirePage:
    """A schedule's fires, newest first."""
    start = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else None
    rows = (
        await connection.execute(
            text(f"""
                SELECT {_COLUMNS} FROM schedule_fires
                WHERE schedule_id = :schedule
                  AND (CAST(:before_at AS timestamptz) IS NULL OR (at, id) < (:before_at, :before_id))
                ORDER BY at DESC, id DESC LIMIT :limit
            """),
            {
                "schedule": query.schedule,
                "before_at": start[0] if start else None,
                "before_id": start[1] if start else "",
                "limit": query.limit + 1,
            },
        )
    ).all()
    shown = [_read(row).public for row in rows[: query.limit]]
    more = len(rows) > query.limit
    return FirePage(
        items=shown,
        next_cursor=encode_cursor(shown[-1].at.isoformat(), shown[-1].id) if more else None,
    )


async def open_ones(
    connection: AsyncConnection, state: str, older_than_seconds: float, limit: int
) -> list[FireRow]:
    """Fires in a state that does not last, at which nobody has looked lately; marked as looked at."""
    rows = await connection.execute(
        text(f"""
            UPDATE schedule_fires SET checked_at = now() WHERE id IN (
                SELECT id FROM schedule_fires WHERE state IN ('starting', 'buffered') AND state = :state
                    AND checked_at < now() - make_interval(secs => :seconds)
                ORDER BY checked_at LIMIT :limit FOR UPDATE SKIP LOCKED)
            RETURNING {_COLUMNS}
        """),
        {"state": state, "seconds": older_than_seconds, "limit": limit},
    )
    return [_read(row) for row in rows]


async def with_ended_runs(connection: AsyncConnection, limit: int) -> list[FireRow]:
    """Fires whose run has ended since anybody looked whether their schedule pauses, oldest first."""
    rows = await connection.execute(
        text(f"""
            SELECT {", ".join(f"f.{name}" for name in _COLUMNS.split(", "))}
            FROM schedule_fires f JOIN runs r ON r.id = f.run_id
            WHERE f.state = 'started' AND NOT f.judged AND r.finished_at IS NOT NULL
            ORDER BY f.at LIMIT :limit
        """),
        {"limit": limit},
    )
    return [_read(row) for row in rows]


async def judge(connection: AsyncConnection, fire: str) -> None:
    """Note that a fire whose run has ended was counted."""
    await connection.execute(text("UPDATE schedule_fires SET judged = true WHERE id = :id"), {"id": fire})


async def release(connection: AsyncConnection, fire: str) -> bool:
    """Let a buffered fire of a locked schedule be started. Returns whether it was still buffered."""
    result = await connection.execute(
        text(
            "UPDATE schedule_fires SET state = 'starting', checked_at = now() WHERE id = :id AND state = 'buffered'"
        ),
        {"id": fire},
    )
    return result.rowcount == 1


async def drop_buffered(connection: AsyncConnection, schedule: str, reason: RunError) -> None:
    """Leave out what waits, of a schedule that is paused or deleted."""
    await connection.execute(
        text("""
            UPDATE schedule_fires SET state = 'skipped', reason = CAST(:reason AS jsonb)
            WHERE schedule_id = :id AND state = 'buffered'
        """),
        {"id": schedule, "reason": json_text(reason)},
    )


async def expire(connection: AsyncConnection, retention_days: int) -> None:
    """Forget what came of times long ago."""
    await connection.execute(
        text("""
            DELETE FROM schedule_fires WHERE at < now() - make_interval(days => :days)
                AND state NOT IN ('starting', 'buffered')
        """),
        {"days": retention_days},
    )
