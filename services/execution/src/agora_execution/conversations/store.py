"""SQL for conversations. Never commits."""

from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.conversations import (
    CONTENT_CHARACTERS_MAX,
    Conversation,
    ConversationPage,
    ListConversations,
    PostMessage,
    StartConversation,
)
from agora_contracts.runs import RunError
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy import Column, DateTime, Index, Integer, Row, Table, Text, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.conversations.model import Exchange
from agora_execution.database import json_text, metadata
from agora_execution.deployments.model import Named

conversations = Table(
    "conversations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("version", Text),
    Column("deployment_id", Text),
    Column("input", JSONB, nullable=False),
    Column("exchanges", Integer, nullable=False, server_default="0"),
    Column("last_run_id", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
Index("ix_conversations_tenant", conversations.c.tenant_id, conversations.c.updated_at, conversations.c.id)

exchanges = Table(
    "conversation_exchanges",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("conversation_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("content", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("answer_field", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("conversation_id", "number"),
    UniqueConstraint("run_id"),
)

_PAGE_BYTES_MAX = 500_000
"""Of what the items of one page hold: it has to fit into a message, whatever was asked for."""


class ConversationRow(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation with what only execution needs to know."""

    public: Conversation
    account: str
    fingerprint: str
    requested_by: str
    exchanges: int
    last_run: str | None

    @property
    def named(self) -> Named:
        """What its runs run on."""
        public = self.public
        if public.deployment is not None:
            return Named(tenant=public.tenant, deployment=public.deployment)
        return Named(tenant=public.tenant, package=public.package, version=public.version)


_COLUMNS = """
    c.id, c.tenant_id, c.account_id, c.fingerprint, c.requested_by, c.title, c.package, c.version, c.deployment_id,
    c.input, c.exchanges, c.last_run_id, c.created_at, c.updated_at, r.finished_at AS last_finished_at
"""
_FROM = "FROM conversations c LEFT JOIN runs r ON r.id = c.last_run_id"


def _read(row: Row[Any]) -> ConversationRow:
    running = row.last_run_id if row.last_run_id and row.last_finished_at is None else None
    return ConversationRow(
        public=Conversation(
            id=row.id,
            tenant=row.tenant_id,
            title=row.title,
            package=row.package,
            version=row.version,
            deployment=row.deployment_id,
            input=row.input,
            messages=2 * row.exchanges - (running is not None),
            running=running,
            created_at=row.created_at,
            updated_at=row.updated_at,
        ),
        account=row.account_id,
        fingerprint=row.fingerprint,
        requested_by=row.requested_by,
        exchanges=row.exchanges,
        last_run=row.last_run_id,
    )


async def insert(connection: AsyncConnection, command: StartConversation, package: str) -> None:
    """Insert a conversation, unless its id is taken."""
    await connection.execute(
        text("""
            INSERT INTO conversations (id, tenant_id, account_id, fingerprint, requested_by, title, package, version,
                deployment_id, input)
            VALUES (:id, :tenant, :account, :fingerprint, :requested_by, :title, :package, :version, :deployment,
                CAST(:input AS jsonb))
            ON CONFLICT (id) DO NOTHING
        """),
        {
            "id": command.conversation,
            "tenant": command.tenant,
            "account": command.account,
            "fingerprint": command.fingerprint,
            "requested_by": command.requested_by,
            "title": command.title,
            "package": package,
            "version": command.version,
            "deployment": command.deployment,
            "input": json_text(command.input),
        },
    )


async def read(
    connection: AsyncConnection, conversation: str, *, lock: bool = False
) -> ConversationRow | None:
    """One conversation that this transaction may see."""
    if lock:
        # First, and alone: what is read afterwards is what stands once the row is ours.
        locked = text("SELECT 1 FROM conversations WHERE id = :id FOR UPDATE")
        if (await connection.execute(locked, {"id": conversation})).first() is None:
            return None
    query = text(f"SELECT {_COLUMNS} {_FROM} WHERE c.id = :id")
    row = (await connection.execute(query, {"id": conversation})).first()
    return None if row is None else _read(row)


async def page(connection: AsyncConnection, query: ListConversations) -> ConversationPage:
    """A tenant's conversations, the one with the newest message first."""
    before = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else None
    rows = (
        await connection.execute(
            text(f"""
                SELECT {_COLUMNS} {_FROM}
                WHERE c.tenant_id = :tenant
                  AND (CAST(:package AS text) IS NULL OR c.package = :package)
                  AND (CAST(:deployment AS text) IS NULL OR c.deployment_id = :deployment)
                  AND (CAST(:before_at AS timestamptz) IS NULL OR (c.updated_at, c.id) < (:before_at, :before_id))
                ORDER BY c.updated_at DESC, c.id DESC LIMIT :limit
            """),
            {
                "tenant": query.tenant,
                "package": query.package,
                "deployment": query.deployment,
                "before_at": before[0] if before else None,
                "before_id": before[1] if before else "",
                "limit": query.limit + 1,
            },
        )
    ).all()
    shown: list[Conversation] = []
    size = 0
    for row in rows[: query.limit]:
        size += len(msgspec.json.encode(row.input))
        if shown and size > _PAGE_BYTES_MAX:
            break
        shown.append(_read(row).public)
    more = len(rows) > len(shown)
    return ConversationPage(
        items=shown,
        next_cursor=encode_cursor(shown[-1].updated_at.isoformat(), shown[-1].id) if more else None,
    )


async def delete(connection: AsyncConnection, conversation: str) -> None:
    """Remove a conversation and its exchanges; their runs stay."""
    for table, column in (("conversation_exchanges", "conversation_id"), ("conversations", "id")):
        await connection.execute(text(f"DELETE FROM {table} WHERE {column} = :id"), {"id": conversation})


async def add(
    connection: AsyncConnection,
    command: PostMessage,
    conversation: ConversationRow,
    run: str,
    answer_field: str,
) -> None:
    """Add the next exchange to a conversation whose row is locked."""
    await connection.execute(
        text("""
            INSERT INTO conversation_exchanges (id, tenant_id, conversation_id, number, content, fingerprint, run_id,
                answer_field)
            VALUES (:id, :tenant, :conversation, :number, :content, :fingerprint, :run, :answer_field)
        """),
        {
            "id": command.message,
            "tenant": command.tenant,
            "conversation": command.conversation,
            "number": conversation.exchanges + 1,
            "content": command.content,
            "fingerprint": command.fingerprint,
            "run": run,
            "answer_field": answer_field,
        },
    )
    await connection.execute(
        text("""
            UPDATE conversations SET exchanges = exchanges + 1, last_run_id = :run, updated_at = now() WHERE id = :id
        """),
        {"id": command.conversation, "run": run},
    )


# An answer is read from its run: the field of the output as text, at most as long as a message.
_EXCHANGE = f"""
    e.conversation_id, e.number, e.id, e.content, e.at, e.run_id, e.fingerprint, r.status, r.finished_at, r.error,
    CASE WHEN r.status = 'succeeded' THEN left(r.output ->> e.answer_field, {CONTENT_CHARACTERS_MAX}) END AS answer
    FROM conversation_exchanges e JOIN runs r ON r.id = e.run_id
"""


def _exchange(row: Row[Any]) -> Exchange:
    return Exchange(
        conversation=row.conversation_id,
        number=row.number,
        message=row.id,
        content=row.content,
        at=row.at,
        run=row.run_id,
        status=row.status,
        finished_at=row.finished_at,
        answer=row.answer,
        error=None if row.error is None else msgspec.convert(row.error, RunError),
    )


async def exchange(connection: AsyncConnection, message: str) -> tuple[Exchange, str] | None:
    """The exchange that a message began, and the fingerprint it was posted with."""
    row = (await connection.execute(text(f"SELECT {_EXCHANGE} WHERE e.id = :id"), {"id": message})).first()
    return None if row is None else (_exchange(row), row.fingerprint)


async def exchanges_from(
    connection: AsyncConnection, conversation: str, number: int, limit: int
) -> tuple[list[Exchange], bool]:
    """Exchanges from a number on, oldest first, as many as fit into a page; and whether there are more."""
    rows = (
        await connection.execute(
            text(f"""
                SELECT {_EXCHANGE} WHERE e.conversation_id = :id AND e.number >= :number
                ORDER BY e.number LIMIT :limit
            """),
            {"id": conversation, "number": number, "limit": limit + 1},
        )
    ).all()
    shown: list[Exchange] = []
    size = 0
    for row in rows[:limit]:
        size += len(row.content.encode()) + len((row.answer or "").encode())
        if shown and size > _PAGE_BYTES_MAX:
            break
        shown.append(_exchange(row))
    return shown, len(rows) > len(shown)


async def before_run(connection: AsyncConnection, run: str, limit: int) -> list[Exchange]:
    """The newest exchanges before the one that a run answers, newest first; none for a run outside a conversation."""
    rows = await connection.execute(
        text(f"""
            SELECT {_EXCHANGE}
            JOIN conversation_exchanges own ON own.conversation_id = e.conversation_id AND own.run_id = :run
            WHERE e.number < own.number ORDER BY e.number DESC LIMIT :limit
        """),
        {"run": run, "limit": limit},
    )
    return [_exchange(row) for row in rows]
