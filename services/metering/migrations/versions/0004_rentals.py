"""Rentals by the hour and the month, and what was told of their months."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.execute("""
        CREATE TABLE rentals (
            deployment text NOT NULL,
            tenant_id text NOT NULL,
            basis text NOT NULL,
            started_at timestamptz NOT NULL,
            ended_at timestamptz,
            counted_at timestamptz,
            CONSTRAINT pk_rentals PRIMARY KEY (deployment)
        )
    """)
    op.execute("""
        CREATE TABLE rental_months (
            deployment text NOT NULL,
            period_start timestamptz NOT NULL,
            tenant_id text NOT NULL,
            quantity numeric NOT NULL,
            revision integer NOT NULL,
            CONSTRAINT pk_rental_months PRIMARY KEY (deployment, period_start)
        )
    """)
    op.execute(
        "CREATE INDEX ix_rentals_open ON rentals (counted_at) "
        "WHERE ended_at IS NULL OR counted_at IS NULL OR counted_at < ended_at"
    )
    for table in ("rentals", "rental_months"):
        secure_table("metering", table)


def downgrade() -> None:
    """Forget the rentals."""
    op.execute("DROP TABLE rental_months")
    op.execute("DROP TABLE rentals")
