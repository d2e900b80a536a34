"""Usage events, their hourly totals, ended runs, and the kit's tables."""

from agora_kit.migrations import create_kit_tables, secure_table
from alembic import op

revision = "0001"
down_revision = None

TABLES = ("usage_events", "usage_hourly", "runs")


def upgrade() -> None:
    create_kit_tables("metering")
    op.execute("""
        CREATE TABLE usage_events (
            tenant_id text NOT NULL,
            source text NOT NULL,
            id text NOT NULL,
            run text,
            deployment text,
            package text,
            meter text NOT NULL,
            quantity numeric NOT NULL,
            at timestamptz NOT NULL,
            CONSTRAINT pk_usage_events PRIMARY KEY (id, source, tenant_id)
        )
    """)
    op.execute("CREATE INDEX ix_usage_events_run ON usage_events (run) WHERE run IS NOT NULL")
    # A few rows take every batch's sums. Room in their pages lets updates stay in the page and leave the index
    # alone; the empty string stands for "none", so that the key has no nulls.
    op.execute("""
        CREATE TABLE usage_hourly (
            tenant_id text NOT NULL,
            hour timestamptz NOT NULL,
            meter text NOT NULL,
            package text NOT NULL,
            deployment text NOT NULL,
            quantity numeric NOT NULL,
            events bigint NOT NULL,
            CONSTRAINT pk_usage_hourly PRIMARY KEY (tenant_id, hour, meter, package, deployment)
        ) WITH (fillfactor = 50)
    """)
    op.execute("""
        CREATE TABLE runs (
            tenant_id text NOT NULL,
            run text NOT NULL,
            expected integer NOT NULL,
            closed_count integer,
            revision integer NOT NULL DEFAULT 0,
            outcome text NOT NULL,
            deliverable text NOT NULL,
            delivered_units integer,
            error_code text,
            finished_at timestamptz NOT NULL,
            check_after timestamptz NOT NULL,
            alarm text,
            CONSTRAINT pk_runs PRIMARY KEY (tenant_id, run),
            CONSTRAINT ck_runs_expected CHECK (expected >= 0)
        )
    """)
    op.execute(
        "CREATE INDEX ix_runs_open ON runs (check_after) WHERE closed_count IS NULL OR closed_count < expected"
    )
    for table in TABLES:
        secure_table("metering", table)


def downgrade() -> None:
    for table in (*TABLES, "outbox", "inbox", "dead_letters"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION notify_outbox()")
