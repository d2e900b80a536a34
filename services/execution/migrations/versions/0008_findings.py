"""Findings on the blackboards of runs."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE findings (
            position BIGINT GENERATED ALWAYS AS IDENTITY NOT NULL,
            tenant_id TEXT NOT NULL,
            root_id TEXT NOT NULL,
            run_id TEXT NOT NULL,
            step_id TEXT NOT NULL,
            topic TEXT NOT NULL,
            number INTEGER NOT NULL,
            body JSONB NOT NULL,
            posted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_findings PRIMARY KEY (position)
        )
    """)
    op.execute("CREATE UNIQUE INDEX uq_findings_place ON findings (root_id, topic, run_id, step_id, number)")
    op.execute("CREATE INDEX ix_findings_posted_at ON findings (posted_at)")
    secure_table("execution", "findings")


def downgrade() -> None:
    op.execute("DROP TABLE findings")
