"""What deployments have used outside of runs, found by month: where a tenant defines a meter, its month is told from it."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Index the events that are rated by the month, and no others."""
    op.execute(
        "CREATE INDEX ix_usage_events_standing ON usage_events (tenant_id, deployment, meter, at) "
        "WHERE run IS NULL AND deployment IS NOT NULL"
    )


def downgrade() -> None:
    """Take the index away."""
    op.execute("DROP INDEX ix_usage_events_standing")
