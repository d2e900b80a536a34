"""SQL for approvals and their trail. Never commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.approvals import (
    Approval,
    ApprovalPage,
    ApprovalTrail,
    ListApprovals,
    ListApprovalTrail,
    TrailEntry,
)
from agora_contracts.money import Money
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    Row,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import json_text, metadata
from agora_execution.paging import that_fit

REFUSED_NOTED_MAX = 100
"""So many refused decisions of an approval are noted one by one; further ones are counted."""

approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("arguments", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decider", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("deadline", DateTime(timezone=True), nullable=False),
    Column("on_deadline", Text, nullable=False),
    Column("cost_so_far", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("schema", JSONB),
    Column("needed", BigInteger),
    Column("needed_for", Text),
    Column("value", JSONB),
    Column("decided_at", DateTime(timezone=True)),
    Column("decided_by", Text, nullable=False, server_default=""),
    Column("comment", Text, nullable=False, server_default=""),
    Column("decided_arguments", JSONB),
    Column("refused", Integer, nullable=False, server_default="0"),
)
Index("ix_approvals_tenant", approvals.c.tenant_id, approvals.c.requested_at, approvals.c.id)
Index("ix_approvals_run", approvals.c.run_id)
Index(
    "ix_approvals_pending",
    approvals.c.decider,
    approvals.c.requested_at,
    postgresql_where=approvals.c.state == "pending",
)

approval_trail = Table(
    "approval_trail",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("approval_id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("what", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
Index("ix_approval_trail_approval", approval_trail.c.approval_id, approval_trail.c.id)

_COLUMNS = """id, tenant_id, run_id, step_id, package, kind, action, arguments, reason, decider, state, requested_at,
    deadline, on_deadline, cost_so_far, currency, schema, needed, needed_for, value, decided_at, decided_by, comment,
    decided_arguments"""


async def insert(connection: AsyncConnection, approval: Approval) -> None:
    """Write a new approval."""
    await connection.execute(
        text(f"""
            INSERT INTO approvals ({_COLUMNS})
            VALUES (:id, :tenant, :run, :step, :package, :kind, :action, CAST(:arguments AS jsonb), :reason, :decider,
                :state, :requested_at, :deadline, :on_deadline, :cost_so_far, :currency, CAST(:schema AS jsonb),
                :needed, :needed_for, NULL, NULL, '', '', NULL)
        """),
        {
            "id": approval.id,
            "tenant": approval.tenant,
            "run": approval.run,
            "step": approval.step,
            "package": approval.package,
            "kind": approval.kind,
            "action": approval.action,
            "arguments": json_text(approval.arguments),
            "reason": approval.reason,
            "decider": approval.decider,
            "state": approval.state,
            "requested_at": approval.requested_at,
            "deadline": approval.deadline,
            "on_deadline": approval.on_deadline,
            "cost_so_far": approval.cost_so_far.amount,
            "currency": approval.cost_so_far.currency,
            "schema": None if approval.schema is None else json_text(approval.schema),
            "needed": None if approval.needed is None else approval.needed.amount,
            "needed_for": approval.needed_for,
        },
    )


async def save_decision(connection: AsyncConnection, approval: Approval) -> None:
    """Write what was decided of an approval whose run is locked."""
    await connection.execute(
        text("""
            UPDATE approvals SET state = :state, decided_arguments = CAST(:arguments AS jsonb), value = CAST(:value AS jsonb),
                decided_at = :decided_at, decided_by = :decided_by, comment = :comment
            WHERE id = :id AND state = 'pending'
        """),
        {
            "id": approval.id,
            "state": approval.state,
            "arguments": None
            if approval.decided_arguments is None
            else json_text(approval.decided_arguments),
            "value": None if approval.value is None else json_text(approval.value),
            "decided_at": approval.decided_at,
            "decided_by": approval.decided_by,
            "comment": approval.comment,
        },
    )


async def cancel_pending(connection: AsyncConnection, runs: Sequence[str], at: datetime, by: str) -> None:
    """Cancel what ended runs, which are locked, were waiting for."""
    await connection.execute(
        text("""
            WITH cancelled AS (
                UPDATE approvals SET state = 'cancelled', decided_at = :at, decided_by = :by
                WHERE run_id = ANY(CAST(:runs AS text[])) AND state = 'pending' RETURNING id, tenant_id)
            INSERT INTO approval_trail (approval_id, tenant_id, at, what, who, detail)
            SELECT id, tenant_id, :at, 'cancelled', :by, 'the run has ended' FROM cancelled
        """),
        {"runs": list(runs), "at": at, "by": by},
    )


async def find(connection: AsyncConnection, approval: str) -> Approval | None:
    """An approval by its id."""
    row = (
        await connection.execute(text(f"SELECT {_COLUMNS} FROM approvals WHERE id = :id"), {"id": approval})
    ).first()
    return None if row is None else _approval(row)


async def pending_of(connection: AsyncConnection, runs: Sequence[str]) -> list[Approval]:
    """What runs wait for, oldest first."""
    rows = await connection.execute(
        text(f"""
            SELECT {_COLUMNS} FROM approvals WHERE run_id = ANY(CAST(:runs AS text[])) AND state = 'pending'
            ORDER BY requested_at, id
        """),
        {"runs": list(runs)},
    )
    return [_approval(row) for row in rows]


async def waiting_for_room(connection: AsyncConnection, accounts: Sequence[str]) -> list[str]:
    """Approvals of more money for runs of these accounts that may take it without being asked, oldest first."""
    rows = await connection.execute(
        text("""
            SELECT a.id FROM approvals a JOIN runs r ON r.id = a.run_id
            WHERE a.state = 'pending' AND a.kind = 'budget' AND r.max_cost IS NOT NULL
                AND r.account_id = ANY(CAST(:accounts AS text[]))
            ORDER BY a.requested_at, a.id
        """),
        {"accounts": list(accounts)},
    )
    return list(rows.scalars())


async def callers_of(connection: AsyncConnection, run: str) -> list[str]:
    """The runs that called a run, innermost first."""
    rows = await connection.execute(
        text("""
            WITH RECURSIVE line AS (
                SELECT parent_id, 1 AS depth FROM runs WHERE id = :run AND parent_id IS NOT NULL
                UNION ALL
                SELECT r.parent_id, line.depth + 1 FROM runs r JOIN line ON r.id = line.parent_id
                WHERE r.parent_id IS NOT NULL)
            SELECT parent_id FROM line ORDER BY depth
        """),
        {"run": run},
    )
    return list(rows.scalars())


async def page(connection: AsyncConnection, query: ListApprovals) -> ApprovalPage:
    """Approvals, newest first: a tenant's, or those that wait for the operator; fewer where their arguments are large."""
    before = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else None
    rows = (
        await connection.execute(
            text(f"""
                SELECT {_COLUMNS} FROM approvals
                WHERE (CASE WHEN CAST(:tenant AS text) IS NULL THEN decider = 'operator' ELSE tenant_id = :tenant END)
                  AND (CAST(:run AS text) IS NULL OR run_id = :run)
                  AND (CAST(:state AS text) IS NULL OR state = :state)
                  AND (CAST(:before_at AS timestamptz) IS NULL OR (requested_at, id) < (:before_at, :before_id))
                ORDER BY requested_at DESC, id DESC LIMIT :limit
            """),
            {
                "tenant": query.tenant,
                "run": query.run,
                "state": query.state,
                "before_at": before[0] if before else None,
                "before_id": before[1] if before else "",
                "limit": query.limit + 1,
            },
        )
    ).all()
    shown = that_fit(_approval(row) for row in rows[: query.limit])
    more = len(rows) > len(shown)
    return ApprovalPage(
        items=shown,
        next_cursor=encode_cursor(shown[-1].requested_at.isoformat(), shown[-1].id) if more else None,
    )


async def add_to_trail(
    connection: AsyncConnection, approval: Approval, at: datetime, what: str, who: str, detail: str = ""
) -> None:
    """Note what happened to an approval, for good."""
    await connection.execute(
        text("""
            INSERT INTO approval_trail (approval_id, tenant_id, at, what, who, detail)
            VALUES (:approval, :tenant, :at, :what, :who, :detail)
        """),
        {
            "approval": approval.id,
            "tenant": approval.tenant,
            "at": at,
            "what": what,
            "who": who,
            "detail": detail[:2000],
        },
    )


async def add_refused(
    connection: AsyncConnection, approval: Approval, at: datetime, who: str, detail: str
) -> None:
    """Count a decision that was refused, and note it unless there are many of them already."""
    query = text("UPDATE approvals SET refused = refused + 1 WHERE id = :id RETURNING refused")
    refused = (await connection.execute(query, {"id": approval.id})).scalar_one()
    if refused <= REFUSED_NOTED_MAX:
        await add_to_trail(connection, approval, at, "refused", who, detail)


async def trail(connection: AsyncConnection, query: ListApprovalTrail) -> ApprovalTrail:
    """What happened to an approval, in order; fewer entries than asked for where they are large."""
    after = decode_cursor(query.cursor, tuple[int])[0] if query.cursor else 0
    rows = (
        await connection.execute(
            text("""
                SELECT id, at, what, who, detail, (SELECT refused FROM approvals a WHERE a.id = :approval) AS refused
                FROM approval_trail
                WHERE approval_id = :approval AND id > :after ORDER BY id LIMIT :limit
            """),
            {"approval": query.approval, "after": after, "limit": query.limit + 1},
        )
    ).all()
    shown = that_fit(
        TrailEntry(at=row.at, what=row.what, who=row.who, detail=row.detail) for row in rows[: query.limit]
    )
    more = len(rows) > len(shown)
    return ApprovalTrail(
        items=shown,
        refused=rows[0].refused if rows else 0,
        next_cursor=encode_cursor(rows[len(shown) - 1].id) if more else None,
    )


def _approval(row: Row[Any]) -> Approval:
    return msgspec.convert(
        {
            "id": row.id,
            "tenant": row.tenant_id,
            "run": row.run_id,
            "step": row.step_id,
            "package": row.package,
            "kind": row.kind,
            "action": row.action,
            "arguments": row.arguments,
            "decided_arguments": row.decided_arguments,
            "reason": row.reason,
            "decider": row.decider,
            "state": row.state,
            "requested_at": row.requested_at,
            "deadline": row.deadline,
            "on_deadline": row.on_deadline,
            "cost_so_far": Money(amount=row.cost_so_far, currency=row.currency),
            "schema": row.schema,
            "needed": None if row.needed is None else Money(amount=row.needed, currency=row.currency),
            "needed_for": row.needed_for,
            "value": row.value,
            "decided_at": row.decided_at,
            "decided_by": row.decided_by,
            "comment": row.comment,
        },
        Approval,
    )
