"""What more money is needed for: a run's models, or the agents that it calls."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("ALTER TABLE approvals ADD COLUMN needed_for TEXT")
    op.execute("UPDATE approvals SET needed_for = 'model.cost' WHERE kind = 'budget'")


def downgrade() -> None:
    op.execute("ALTER TABLE approvals DROP COLUMN needed_for")
