"""Room in the pages of runs: a run's row is updated a few times soon after it was written."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # What updates no indexed column then needs no new entry in any index.
    op.execute("ALTER TABLE runs SET (fillfactor = 60)")


def downgrade() -> None:
    op.execute("ALTER TABLE runs RESET (fillfactor)")
