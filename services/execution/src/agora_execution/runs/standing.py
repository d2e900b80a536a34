"""A run that waits and goes on: its state in its row, its journal and its events, written in one transaction.

What it waits for is decided elsewhere (an approval's row, the request to pause); this only writes what follows of it.
While it waits its time does not go on: what it has waited is added up in its row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.approvals import ApprovalKind
from agora_contracts.runs import ENDED, WaitingFor
from agora_contracts.steering import RunResumed, RunWaiting
from agora_kit.outbox import Event
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.approvals import store as approvals
from agora_execution.runs import store
from agora_execution.runs.store import JournalEntry

WAITING_FOR: Mapping[ApprovalKind, WaitingFor] = {
    "approval": "approval",
    "input": "input",
    "budget": "budget",
}


@dataclass(slots=True, kw_only=True)
class StandingRun:
    """A locked run, with what waiting needs to know of it."""

    id: str
    tenant: str
    package: str
    status: str
    waiting_for: str | None
    next_seq: int
    currency: str
    model_spent: int
    max_cost: int | None
    pause_requested: bool

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self.status in ENDED


async def lock(connection: AsyncConnection, run: str) -> StandingRun | None:
    """Lock a run's row; None when there is no such run."""
    row = (
        await connection.execute(
            text("""
                SELECT id, tenant_id, package, status, waiting_for, next_seq, currency, model_spent, max_cost,
                    pause_requested_at IS NOT NULL AS pause_requested
                FROM runs WHERE id = :id FOR UPDATE
            """),
            {"id": run},
        )
    ).first()
    if row is None:
        return None
    return StandingRun(
        id=row.id,
        tenant=row.tenant_id,
        package=row.package,
        status=row.status,
        waiting_for=row.waiting_for,
        next_seq=row.next_seq,
        currency=row.currency,
        model_spent=row.model_spent,
        max_cost=row.max_cost,
        pause_requested=row.pause_requested,
    )


async def lock_family(connection: AsyncConnection, run: str) -> list[str]:
    """Lock a run and the unfinished runs that it called, and they in turn, in the order of their ids as everybody does."""
    rows = await connection.execute(
        text("""
            WITH RECURSIVE family AS (
                SELECT id FROM runs WHERE id = :run
                UNION SELECT r.id FROM runs r JOIN family f ON r.parent_id = f.id WHERE r.finished_at IS NULL)
            SELECT id FROM runs WHERE id IN (SELECT id FROM family) ORDER BY id FOR UPDATE
        """),
        {"run": run},
    )
    return list(rows.scalars())


async def tell(connection: AsyncConnection, run: StandingRun, at: datetime, *facts: tuple[str, Any]) -> None:
    """Journal facts of a locked run and emit them; each is made by a function of its sequence number."""
    entries: list[JournalEntry] = []
    events: list[Event] = []
    for kind, make in facts:
        seq = run.next_seq
        run.next_seq += 1
        fact: msgspec.Struct = make(seq)
        entries.append(JournalEntry(run=run.id, seq=seq, tenant=run.tenant, type=kind, at=at, data=fact))
        events.append(
            Event(tenant=run.tenant, entity=run.id, data=fact, id=f"{run.id}.{seq}", sequence=seq, at=at)
        )
    await connection.execute(
        text("UPDATE runs SET next_seq = :next_seq WHERE id = :id"), {"id": run.id, "next_seq": run.next_seq}
    )
    await store.journal(connection, entries, events)


async def wait(connection: AsyncConnection, run: StandingRun, waiting_for: WaitingFor, at: datetime) -> None:
    """Note that a locked run waits; nothing, when it waits for that already."""
    if run.ended or (run.status == "waiting" and run.waiting_for == waiting_for):
        return
    await connection.execute(
        text("""
            UPDATE runs SET status = 'waiting', waiting_for = :waiting_for,
                waiting_since = coalesce(waiting_since, :at), checked_at = now()
            WHERE id = :id
        """),
        {"id": run.id, "waiting_for": waiting_for, "at": at},
    )
    run.status, run.waiting_for = "waiting", waiting_for
    await tell(
        connection,
        run,
        at,
        ("run.waiting", lambda seq: RunWaiting(run=run.id, seq=seq, waiting_for=waiting_for)),
    )


async def let_go(connection: AsyncConnection, run: StandingRun, at: datetime) -> None:
    """Note that what a locked run waited for is over: it waits for what else people are to decide, or goes on."""
    pending = await approvals.pending_of(connection, [run.id])
    if pending:
        await wait(connection, run, WAITING_FOR[pending[0].kind], at)
    else:
        await go_on(connection, run, at)


async def go_on(connection: AsyncConnection, run: StandingRun, at: datetime) -> None:
    """Note that a locked run goes on; nothing, when it does not wait."""
    if run.status != "waiting":
        return
    await connection.execute(
        text("""
            UPDATE runs SET status = 'running', waiting_for = NULL, waiting_since = NULL, checked_at = now(),
                waited_seconds = waited_seconds + greatest(extract(epoch FROM CAST(:at AS timestamptz)
                    - coalesce(waiting_since, :at)), 0)
            WHERE id = :id
        """),
        {"id": run.id, "at": at},
    )
    run.status, run.waiting_for = "running", None
    await tell(connection, run, at, ("run.resumed", lambda seq: RunResumed(run=run.id, seq=seq)))
