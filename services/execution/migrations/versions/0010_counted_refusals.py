"""How many decisions of an approval were refused."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("ALTER TABLE approvals ADD COLUMN refused INTEGER DEFAULT '0' NOT NULL")
    op.execute("""
        UPDATE approvals SET refused = t.count FROM (
            SELECT approval_id, count(*) FROM approval_trail WHERE what = 'refused' GROUP BY approval_id) t
        WHERE id = t.approval_id
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE approvals DROP COLUMN refused")
