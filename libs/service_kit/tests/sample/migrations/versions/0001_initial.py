"""The kit's tables, and notes of tenants."""

from agora_kit.migrations import create_kit_tables, secure_table
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_kit_tables("sample")
    op.execute("""
        CREATE TABLE notes (
            tenant_id text NOT NULL,
            id text NOT NULL,
            body text NOT NULL,
            CONSTRAINT pk_notes PRIMARY KEY (id)
        )
    """)
    secure_table("sample", "notes")


def downgrade() -> None:
    for table in ("notes", "outbox", "inbox", "dead_letters"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION notify_outbox()")
