"""Which runs of schedules have ended and were counted: a schedule that only fails pauses when its run has ended."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    # What was started before counts when the next time comes, as it did.
    op.execute("ALTER TABLE schedule_fires ADD COLUMN judged BOOLEAN DEFAULT true NOT NULL")
    op.execute("ALTER TABLE schedule_fires ALTER COLUMN judged SET DEFAULT false")
    op.execute(
        "CREATE INDEX ix_schedule_fires_unjudged ON schedule_fires (at) WHERE state = 'started' AND NOT judged"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE schedule_fires DROP COLUMN judged")
