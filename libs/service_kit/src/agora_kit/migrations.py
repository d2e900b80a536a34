"""What every service's Alembic set-up shares: the environment, the kit's tables, row-level security.

A service's `migrations/env.py` is two lines: `from agora_kit.migrations import run` and
`run(metadata)`. Revision ids are `0001`, `0002`, … and stand first in the file's name.
"""

import asyncio
import json
from pathlib import Path

from alembic import context, op
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine

from agora_kit.database import digests

_LOCK = 7_203_011


def run(metadata: MetaData) -> None:
    """Run the migrations that Alembic was asked for, on the url in its config's attributes."""
    existing = context.config.attributes.get("connection")
    if existing is not None:
        _run_on(existing, metadata)
        return
    asyncio.run(_run_async(context.config.attributes["url"], metadata))


async def _run_async(url: str, metadata: MetaData) -> None:
    engine = create_async_engine(url, connect_args={"timeout": 5})
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run_on, metadata)
    finally:
        await engine.dispose()


def _run_on(connection: Connection, metadata: MetaData) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, compare_type=True, transaction_per_migration=False
    )
    with context.begin_transaction():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        context.run_migrations()
        _remember(connection)


def _remember(connection: Connection) -> None:
    """Write down which files made the database, so that a start can tell when they are not the same any more."""
    script = context.script
    known = digests(Path(script.dir) / "versions")
    at = context.get_context().get_current_revision()
    applied = {revision: digest for revision, digest in known.items() if at is not None and revision <= at}
    if applied:
        connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{json.dumps(applied)}'"))


def secure_table(service: str, table: str) -> None:
    """Turn row-level security on: the service's role sees one tenant's rows, its system role all."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY tenant ON {table} TO agora_{service} "
        "USING (tenant_id = current_setting('agora.tenant_id', true)) "
        "WITH CHECK (tenant_id = current_setting('agora.tenant_id', true))"
    )
    op.execute(f"CREATE POLICY system ON {table} TO agora_{service}_system USING (true) WITH CHECK (true)")


def create_kit_tables(service: str) -> None:
    """Create outbox, inbox and dead letters as `agora_kit.tables.add_kit_tables` describes them."""
    op.execute("""
        CREATE TABLE outbox (
            seq bigint GENERATED ALWAYS AS IDENTITY,
            message_id text NOT NULL,
            tenant_id text NOT NULL,
            entity text NOT NULL,
            subject text NOT NULL,
            payload bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            published_at timestamptz,
            CONSTRAINT pk_outbox PRIMARY KEY (seq)
        ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)
    """)
    op.execute("CREATE INDEX ix_outbox_unpublished ON outbox (seq) WHERE published_at IS NULL")
    op.execute("CREATE INDEX ix_outbox_entity ON outbox (entity)")
    op.execute("""
        CREATE FUNCTION notify_outbox() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('outbox', ''); RETURN NULL; END $$
    """)
    op.execute(
        "CREATE TRIGGER outbox_written AFTER INSERT ON outbox "
        "FOR EACH STATEMENT EXECUTE FUNCTION notify_outbox()"
    )
    op.execute("""
        CREATE TABLE inbox (
            consumer text NOT NULL,
            message_id text NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_inbox PRIMARY KEY (consumer, message_id)
        )
    """)
    op.execute("CREATE INDEX ix_inbox_received_at ON inbox USING brin (received_at)")
    op.execute("""
        CREATE TABLE dead_letters (
            id bigint GENERATED ALWAYS AS IDENTITY,
            consumer text NOT NULL,
            subject text NOT NULL,
            message_id text NOT NULL,
            tenant_id text NOT NULL,
            reason text NOT NULL,
            payload bytea NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now(),
            replayed_at timestamptz,
            CONSTRAINT pk_dead_letters PRIMARY KEY (id),
            CONSTRAINT uq_dead_letters_consumer_message_id UNIQUE (consumer, message_id)
        )
    """)
    for table in ("outbox", "dead_letters"):
        secure_table(service, table)
