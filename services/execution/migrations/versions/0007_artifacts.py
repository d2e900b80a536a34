"""Records of prepared artifacts, so that those that nothing needs can be removed."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE artifacts (
            tenant_id TEXT NOT NULL,
            name TEXT NOT NULL,
            ready BOOLEAN DEFAULT false NOT NULL,
            removing BOOLEAN DEFAULT false NOT NULL,
            needed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_artifacts PRIMARY KEY (tenant_id, name)
        )
    """)
    op.execute("CREATE INDEX ix_artifacts_needed_at ON artifacts (needed_at)")
    op.execute("""
        INSERT INTO artifacts (tenant_id, name, ready)
        SELECT DISTINCT tenant_id, artifact, true FROM deployments WHERE artifact IS NOT NULL
    """)
    secure_table("execution", "artifacts")


def downgrade() -> None:
    op.execute("DROP TABLE artifacts")
