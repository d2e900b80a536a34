"""Model calls are found by their age, so that old ones can be deleted."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_model_calls_at ON model_calls USING brin (at) WITH (pages_per_range = 16)")


def downgrade() -> None:
    op.execute("DROP INDEX ix_model_calls_at")
