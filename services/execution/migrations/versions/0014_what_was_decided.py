"""The arguments of an approval as they were decided, beside those that were asked for."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute("ALTER TABLE approvals ADD COLUMN decided_arguments JSONB")


def downgrade() -> None:
    op.execute("ALTER TABLE approvals DROP COLUMN decided_arguments")
