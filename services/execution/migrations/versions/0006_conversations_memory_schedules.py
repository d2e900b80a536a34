"""Conversations, what agents keep in memory, and schedules with what came of their times."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = ("conversations", "conversation_exchanges", "memory", "schedules", "schedule_fires")


def upgrade() -> None:
    op.execute("""
        CREATE TABLE conversations (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            account_id TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            requested_by TEXT NOT NULL,
            title TEXT NOT NULL,
            package TEXT NOT NULL,
            version TEXT,
            deployment_id TEXT,
            input JSONB NOT NULL,
            exchanges INTEGER DEFAULT '0' NOT NULL,
            last_run_id TEXT,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_conversations PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_conversations_tenant ON conversations (tenant_id, updated_at, id)")
    op.execute("""
        CREATE TABLE conversation_exchanges (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            conversation_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            content TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            run_id TEXT NOT NULL,
            answer_field TEXT NOT NULL,
            at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_conversation_exchanges PRIMARY KEY (id),
            CONSTRAINT uq_conversation_exchanges_conversation_id_number UNIQUE (conversation_id, number),
            CONSTRAINT uq_conversation_exchanges_run_id UNIQUE (run_id)
        )
    """)
    op.execute("""
        CREATE TABLE memory (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            package TEXT NOT NULL,
            kind TEXT NOT NULL,
            key TEXT,
            value JSONB,
            text TEXT,
            payload JSONB DEFAULT '{}' NOT NULL,
            bytes INTEGER NOT NULL,
            run_id TEXT NOT NULL,
            at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            claimed_at TIMESTAMP WITH TIME ZONE,
            indexed_at TIMESTAMP WITH TIME ZONE,
            deleted_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_memory PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_memory_tenant ON memory (tenant_id, at, id)")
    op.execute("CREATE INDEX ix_memory_package ON memory (tenant_id, package)")
    op.execute("CREATE INDEX ix_memory_at ON memory (at) WHERE deleted_at IS NULL")
    op.execute(
        "CREATE INDEX ix_memory_unsettled ON memory (tenant_id, package, at)"
        " WHERE kind = 'text' AND (indexed_at IS NULL OR deleted_at IS NOT NULL)"
    )
    op.execute("""
        CREATE TABLE schedules (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            account_id TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            requested_by TEXT NOT NULL,
            name TEXT NOT NULL,
            state TEXT NOT NULL,
            package TEXT NOT NULL,
            version TEXT,
            deployment_id TEXT,
            input JSONB NOT NULL,
            cron TEXT,
            fires_at TIMESTAMP WITH TIME ZONE,
            time_zone TEXT NOT NULL,
            overlap TEXT NOT NULL,
            failures_max INTEGER NOT NULL,
            max_cost BIGINT,
            currency TEXT DEFAULT 'USD' NOT NULL,
            paused_for JSONB,
            counted_from TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            next_times JSONB DEFAULT '[]' NOT NULL,
            revision INTEGER DEFAULT '1' NOT NULL,
            synced_revision INTEGER DEFAULT '0' NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_schedules PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_schedules_tenant ON schedules (tenant_id, created_at, id)")
    op.execute(
        "CREATE INDEX ix_schedules_unsynced ON schedules (checked_at) WHERE synced_revision < revision"
    )
    op.execute(
        "CREATE INDEX ix_schedules_checked_at ON schedules (checked_at) WHERE state IN ('active', 'paused')"
    )
    op.execute("CREATE INDEX ix_schedules_deployment_id ON schedules (deployment_id) WHERE state = 'active'")
    op.execute("""
        CREATE TABLE schedule_fires (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            schedule_id TEXT NOT NULL,
            scheduled_for TIMESTAMP WITH TIME ZONE NOT NULL,
            at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            state TEXT NOT NULL,
            manual BOOLEAN NOT NULL,
            run_id TEXT,
            reason JSONB,
            CONSTRAINT pk_schedule_fires PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_schedule_fires_schedule ON schedule_fires (schedule_id, at, id)")
    op.execute(
        "CREATE INDEX ix_schedule_fires_decided ON schedule_fires (schedule_id, at)"
        " WHERE state IN ('starting', 'started', 'refused')"
    )
    op.execute(
        "CREATE INDEX ix_schedule_fires_open ON schedule_fires (checked_at) WHERE state IN ('starting', 'buffered')"
    )
    op.execute("CREATE INDEX ix_schedule_fires_at ON schedule_fires (at)")
    for table in TABLES:
        secure_table("execution", table)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
