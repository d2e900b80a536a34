"""Which move of a listing's state stands, and an index for the sweep over deployments that wait to be prepared."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE packages ADD COLUMN state_revision INTEGER DEFAULT '0' NOT NULL")
    op.execute(
        "CREATE INDEX ix_deployments_unprepared ON deployments (checked_at)"
        " WHERE prepared_revision < config_revision AND error IS NULL AND ended_at IS NULL"
    )


def downgrade() -> None:
    op.execute("DROP INDEX ix_deployments_unprepared")
    op.execute("ALTER TABLE packages DROP COLUMN state_revision")
