"""Packages as read, deployments, runs with steps and journal, files, model calls, and the kit's tables."""

from agora_kit.migrations import create_kit_tables, secure_table
from alembic import op

revision = "0001"
down_revision = None

TENANT_TABLES = ("deployments", "runs", "steps", "run_events", "platform_costs", "files", "model_calls")
TABLES = ("packages", *TENANT_TABLES)


def upgrade() -> None:
    create_kit_tables("execution")
    op.execute("""
        CREATE TABLE packages (
            package TEXT NOT NULL,
            version TEXT NOT NULL,
            manifest JSONB NOT NULL,
            schemas JSONB NOT NULL,
            price_version TEXT NOT NULL,
            first_party BOOLEAN NOT NULL,
            state TEXT NOT NULL,
            updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_packages PRIMARY KEY (package, version)
        )
    """)
    op.execute("""
        CREATE TABLE deployments (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            account_id TEXT NOT NULL,
            name TEXT NOT NULL,
            status TEXT NOT NULL,
            package TEXT NOT NULL,
            version TEXT NOT NULL,
            basis TEXT NOT NULL,
            price_version TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            requested_by TEXT NOT NULL,
            config JSONB NOT NULL,
            wanted_config JSONB NOT NULL,
            config_revision INTEGER DEFAULT '1' NOT NULL,
            prepared_revision INTEGER DEFAULT '0' NOT NULL,
            artifact TEXT,
            error JSONB,
            started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            ended_at TIMESTAMP WITH TIME ZONE,
            checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_deployments PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_deployments_tenant ON deployments (tenant_id, started_at, id)")
    op.execute("""
        CREATE TABLE runs (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            account_id TEXT NOT NULL,
            deployment_id TEXT,
            package TEXT NOT NULL,
            version TEXT NOT NULL,
            price_version TEXT NOT NULL,
            basis TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            requested_by TEXT NOT NULL,
            input JSONB NOT NULL,
            config JSONB NOT NULL,
            artifact TEXT,
            status TEXT NOT NULL,
            waiting_for TEXT,
            quoted BIGINT NOT NULL,
            currency TEXT NOT NULL,
            hold_epoch INTEGER NOT NULL,
            timeout_seconds INTEGER NOT NULL,
            model_cost BIGINT DEFAULT '0' NOT NULL,
            model_reserved BIGINT DEFAULT '0' NOT NULL,
            model_spent BIGINT DEFAULT '0' NOT NULL,
            next_seq INTEGER DEFAULT '1' NOT NULL,
            steps INTEGER DEFAULT '0' NOT NULL,
            usage_count INTEGER DEFAULT '0' NOT NULL,
            usage JSONB DEFAULT '{}' NOT NULL,
            output JSONB,
            deliverable TEXT,
            delivered_units BIGINT,
            error JSONB,
            cost BIGINT,
            charged BIGINT,
            charge_revision INTEGER DEFAULT '0' NOT NULL,
            refunded BIGINT DEFAULT '0' NOT NULL,
            refund_number INTEGER DEFAULT '0' NOT NULL,
            accepted_at TIMESTAMP WITH TIME ZONE NOT NULL,
            started_at TIMESTAMP WITH TIME ZONE,
            finished_at TIMESTAMP WITH TIME ZONE,
            cancel_requested_at TIMESTAMP WITH TIME ZONE,
            checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_runs PRIMARY KEY (id)
        )
    """)
    op.execute(
        "CREATE INDEX ix_runs_package_finished ON runs (package, finished_at) WHERE finished_at IS NOT NULL"
    )
    op.execute("CREATE INDEX ix_runs_tenant ON runs (tenant_id, accepted_at, id)")
    op.execute("CREATE INDEX ix_runs_unfinished ON runs (checked_at) WHERE finished_at IS NULL")
    op.execute("""
        CREATE TABLE steps (
            run_id TEXT NOT NULL,
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            node TEXT NOT NULL,
            title TEXT NOT NULL,
            visit INTEGER NOT NULL,
            branch TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            started_at TIMESTAMP WITH TIME ZONE NOT NULL,
            finished_at TIMESTAMP WITH TIME ZONE NOT NULL,
            usage JSONB NOT NULL,
            summary TEXT NOT NULL,
            result BYTEA NOT NULL,
            CONSTRAINT pk_steps PRIMARY KEY (run_id, id)
        )
    """)
    op.execute("""
        CREATE TABLE run_events (
            run_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            tenant_id TEXT NOT NULL,
            type TEXT NOT NULL,
            at TIMESTAMP WITH TIME ZONE NOT NULL,
            data JSONB NOT NULL,
            CONSTRAINT pk_run_events PRIMARY KEY (run_id, seq)
        )
    """)
    op.execute("""
        CREATE TABLE platform_costs (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            run_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            meter TEXT NOT NULL,
            quantity TEXT NOT NULL,
            at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_platform_costs PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_platform_costs_run_id ON platform_costs (run_id)")
    op.execute("""
        CREATE TABLE files (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            run_id TEXT,
            name TEXT NOT NULL,
            size BIGINT NOT NULL,
            sha256 TEXT NOT NULL,
            content_type TEXT NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
            deleted_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_files PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_files_expires_at ON files (expires_at) WHERE deleted_at IS NULL")
    op.execute("CREATE INDEX ix_files_tenant ON files (tenant_id, created_at, id) WHERE deleted_at IS NULL")
    op.execute("""
        CREATE TABLE model_calls (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            run_id TEXT NOT NULL,
            step_id TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            model TEXT NOT NULL,
            reserved BIGINT NOT NULL,
            spent BIGINT,
            input_tokens BIGINT,
            output_tokens BIGINT,
            reconciled BOOLEAN,
            failure TEXT,
            at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_model_calls PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_model_calls_run_id ON model_calls (run_id)")
    for table in TENANT_TABLES:
        secure_table("execution", table)


def downgrade() -> None:
    for table in (*TABLES, "outbox", "inbox", "dead_letters"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION notify_outbox")
