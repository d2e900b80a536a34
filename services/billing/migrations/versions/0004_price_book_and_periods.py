"""The price book, periods and rentals; what a charge was rated from is kept with it."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Keep the inputs of each charge. Charges from before have none, and an audit says so."""
    op.execute("ALTER TABLE charges ADD COLUMN inputs jsonb NOT NULL DEFAULT '{}'")
    op.execute("ALTER TABLE charges ALTER COLUMN inputs DROP DEFAULT")


def downgrade() -> None:
    """Forget the inputs."""
    op.execute("ALTER TABLE charges DROP COLUMN inputs")
