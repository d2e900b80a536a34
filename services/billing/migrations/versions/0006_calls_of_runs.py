"""Holds that are carved out of the hold of the run that calls; windows whose end was told; postings by their time."""

from alembic import op

revision = "0006"
down_revision = "0005"

# Plans are kept per connection and made while tables are small: each lookup must go by the index all the same.
_BY_INDEX = "SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off"

_HOLDS = """
    ALTER TABLE holds
        ADD COLUMN parent text,
        ADD COLUMN calls_max bigint NOT NULL DEFAULT 0,
        ADD COLUMN calls_taken bigint NOT NULL DEFAULT 0,
        ADD COLUMN from_parent bigint NOT NULL DEFAULT 0,
        ADD COLUMN models_more bigint NOT NULL DEFAULT 0,
        ADD CONSTRAINT ck_holds_calls CHECK (
            calls_taken BETWEEN 0 AND calls_max AND models_more >= 0 AND from_parent >= 0
            AND (parent IS NOT NULL OR from_parent = 0) AND parent <> run)
"""

_CHECK_CALLED = f"""
    CREATE FUNCTION check_called_holds() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE
        fault text;
    BEGIN
        SELECT n.parent INTO fault
        FROM (SELECT DISTINCT tenant_id, account_id, parent FROM new_holds WHERE parent IS NOT NULL) n
        WHERE NOT EXISTS (
            SELECT FROM holds h
            WHERE h.run = n.parent AND h.tenant_id = n.tenant_id AND h.account_id = n.account_id)
        LIMIT 1;
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION 'a hold names the calling run %, which has none on its account', fault
                USING ERRCODE = 'foreign_key_violation';
        END IF;
        RETURN NULL;
    END $$
"""

_STATEMENTS = (
    _HOLDS,
    "CREATE INDEX ix_holds_parent ON holds (parent) WHERE parent IS NOT NULL",
    _CHECK_CALLED,
    "CREATE TRIGGER called_holds_belong AFTER INSERT ON holds REFERENCING NEW TABLE AS new_holds "
    "FOR EACH STATEMENT EXECUTE FUNCTION check_called_holds()",
    # Sealers find new postings by their time, which costs those who book next to nothing.
    "CREATE INDEX ix_postings_at ON postings USING brin (at) WITH (pages_per_range = 16)",
    # Whoever waits is told once when a window is over in which something was refused.
    "ALTER TABLE budget_windows ADD COLUMN end_told boolean NOT NULL DEFAULT false",
    "CREATE INDEX ix_budget_windows_refused ON budget_windows (ends_at) "
    "WHERE refused AND NOT end_told AND ends_at IS NOT NULL",
)


def upgrade() -> None:
    """Widen holds and windows."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Not offered: what called runs have taken of holds could not be kept."""
    raise NotImplementedError("what called runs hold cannot be taken away again")
