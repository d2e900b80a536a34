"""Which windows were reconciled, and with how many differences."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the list of windows. It is the platform's: the ordinary role has no business with it."""
    op.execute("""
        CREATE TABLE reconciliations (
            until timestamptz NOT NULL,
            since timestamptz NOT NULL,
            events integer NOT NULL,
            runs integer NOT NULL,
            differences integer NOT NULL,
            CONSTRAINT pk_reconciliations PRIMARY KEY (until)
        )
    """)
    op.execute("REVOKE ALL ON reconciliations FROM agora_metering")


def downgrade() -> None:
    """Drop the list."""
    op.execute("DROP TABLE reconciliations")
