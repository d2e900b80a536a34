"""Keys under which schedules run: when they expire, which were revoked, and who triggered a run."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("ALTER TABLE schedules ADD COLUMN key_expires_at TIMESTAMP WITH TIME ZONE")
    op.execute(
        "CREATE INDEX ix_schedules_fires_at ON schedules (fires_at)"
        " WHERE state = 'active' AND fires_at IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX ix_schedules_key_expires_at ON schedules (key_expires_at)"
        " WHERE state = 'active' AND key_expires_at IS NOT NULL"
    )
    op.execute("ALTER TABLE schedule_fires ADD COLUMN requested_by TEXT DEFAULT '' NOT NULL")
    op.execute("""
        CREATE TABLE revoked_keys (
            id TEXT NOT NULL,
            tenant_id TEXT NOT NULL,
            at TIMESTAMP WITH TIME ZONE NOT NULL,
            CONSTRAINT pk_revoked_keys PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_revoked_keys_at ON revoked_keys (at)")
    secure_table("execution", "revoked_keys")


def downgrade() -> None:
    op.execute("DROP TABLE revoked_keys")
    op.execute("ALTER TABLE schedule_fires DROP COLUMN requested_by")
    op.execute("DROP INDEX ix_schedules_key_expires_at")
    op.execute("DROP INDEX ix_schedules_fires_at")
    op.execute("ALTER TABLE schedules DROP COLUMN key_expires_at")
