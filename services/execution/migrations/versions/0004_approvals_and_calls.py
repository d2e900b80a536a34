"""Approvals with their trail; what a run waits for, who called it, and what it may cost."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = ("approvals", "approval_trail")


def upgrade() -> None:
    op.execute("""
        ALTER TABLE runs
            ADD COLUMN parent_id TEXT,
            ADD COLUMN parent_step TEXT,
            ADD COLUMN title TEXT DEFAULT '' NOT NULL,
            ADD COLUMN call_path TEXT[] DEFAULT '{}' NOT NULL,
            ADD COLUMN max_cost BIGINT,
            ADD COLUMN origin_id TEXT,
            ADD COLUMN origin_seq INTEGER,
            ADD COLUMN pause_requested_at TIMESTAMP WITH TIME ZONE,
            ADD COLUMN waiting_since TIMESTAMP WITH TIME ZONE,
            ADD COLUMN waited_seconds DOUBLE PRECISION DEFAULT '0' NOT NULL
    """)
    op.execute("CREATE INDEX ix_runs_parent ON runs (parent_id, accepted_at, id) WHERE parent_id IS NOT NULL")
    op.execute("""
        CREATE TABLE approvals (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            run_id TEXT NOT NULL,
            step_id TEXT NOT NULL,
            package TEXT NOT NULL,
            kind TEXT NOT NULL,
            action TEXT NOT NULL,
            arguments JSONB NOT NULL,
            reason TEXT NOT NULL,
            decider TEXT NOT NULL,
            state TEXT NOT NULL,
            requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
            deadline TIMESTAMP WITH TIME ZONE NOT NULL,
            on_deadline TEXT NOT NULL,
            cost_so_far BIGINT NOT NULL,
            currency TEXT NOT NULL,
            schema JSONB,
            needed BIGINT,
            value JSONB,
            decided_at TIMESTAMP WITH TIME ZONE,
            decided_by TEXT DEFAULT '' NOT NULL,
            comment TEXT DEFAULT '' NOT NULL,
            CONSTRAINT pk_approvals PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_approvals_tenant ON approvals (tenant_id, requested_at, id)")
    op.execute("CREATE INDEX ix_approvals_run ON approvals (run_id)")
    op.execute(
        "CREATE INDEX ix_approvals_pending ON approvals (decider, requested_at) WHERE state = 'pending'"
    )
    op.execute("""
        CREATE TABLE approval_trail (
            id BIGINT GENERATED ALWAYS AS IDENTITY NOT NULL,
            approval_id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            at TIMESTAMP WITH TIME ZONE NOT NULL,
            what TEXT NOT NULL,
            who TEXT NOT NULL,
            detail TEXT NOT NULL,
            CONSTRAINT pk_approval_trail PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_approval_trail_approval ON approval_trail (approval_id, id)")
    op.execute("""
        CREATE FUNCTION refuse_changed_trail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the trail of approvals is only added to'; END $$
    """)
    op.execute("""
        CREATE TRIGGER approval_trail_is_append_only BEFORE UPDATE OR DELETE ON approval_trail
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_changed_trail()
    """)
    for table in TABLES:
        secure_table("execution", table)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION refuse_changed_trail()")
    op.execute("DROP INDEX ix_runs_parent")
    op.execute("""
        ALTER TABLE runs DROP COLUMN parent_id, DROP COLUMN parent_step, DROP COLUMN title, DROP COLUMN call_path,
            DROP COLUMN max_cost, DROP COLUMN origin_id, DROP COLUMN origin_seq, DROP COLUMN pause_requested_at, DROP COLUMN waiting_since,
            DROP COLUMN waited_seconds
    """)
