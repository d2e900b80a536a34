"""The price book, periods and rentals; what a charge was rated from is kept with it."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0004"
down_revision = "0003"

_RENTALS = """
    CREATE TABLE rentals (
        deployment text NOT NULL,
        tenant_id text NOT NULL,
        account_id text NOT NULL,
        package text NOT NULL,
        version text NOT NULL,
        price_version text NOT NULL,
        basis text NOT NULL,
        started_at timestamptz NOT NULL,
        ended_at timestamptz,
        CONSTRAINT pk_rentals PRIMARY KEY (deployment)
    )
"""

_PERIODS = """
    CREATE TABLE periods (
        period_id text NOT NULL,
        tenant_id text NOT NULL,
        account_id text NOT NULL,
        currency text NOT NULL,
        package text NOT NULL,
        deployment text,
        basis text NOT NULL,
        meter text NOT NULL,
        starts_at timestamptz NOT NULL,
        price_version text NOT NULL,
        runs integer NOT NULL,
        run_quantity numeric NOT NULL,
        run_events bigint NOT NULL,
        run_amount bigint NOT NULL,
        reported_quantity numeric NOT NULL,
        reported_events bigint NOT NULL,
        revision integer NOT NULL,
        own_amount bigint NOT NULL,
        postings integer NOT NULL,
        CONSTRAINT pk_periods PRIMARY KEY (period_id),
        CONSTRAINT fk_periods_account_id FOREIGN KEY (account_id) REFERENCES accounts,
        CONSTRAINT fk_periods_price_version FOREIGN KEY (price_version) REFERENCES price_versions,
        CONSTRAINT ck_periods_amounts CHECK (
            runs >= 0 AND run_quantity >= 0 AND run_amount >= 0 AND reported_quantity >= 0)
    ) WITH (fillfactor = 50)
"""

_PERIOD_RUNS = """
    CREATE TABLE period_runs (
        period_id text NOT NULL,
        run text NOT NULL,
        tenant_id text NOT NULL,
        quantity numeric NOT NULL,
        events bigint NOT NULL,
        amount bigint NOT NULL,
        CONSTRAINT pk_period_runs PRIMARY KEY (period_id, run),
        CONSTRAINT fk_period_runs_period_id FOREIGN KEY (period_id) REFERENCES periods,
        CONSTRAINT ck_period_runs_amounts CHECK (quantity >= 0 AND events >= 0 AND amount >= 0)
    )
"""

_PERIOD_CHARGES = """
    CREATE TABLE period_charges (
        period_id text NOT NULL,
        number integer NOT NULL,
        tenant_id text NOT NULL,
        account_id text NOT NULL,
        currency text NOT NULL,
        amount bigint NOT NULL,
        promotional_part bigint NOT NULL,
        credit_part bigint NOT NULL,
        receivable_part bigint NOT NULL,
        platform_part bigint NOT NULL,
        budgets jsonb NOT NULL,
        lines jsonb NOT NULL,
        explanation text NOT NULL,
        revision integer NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT pk_period_charges PRIMARY KEY (period_id, number),
        CONSTRAINT fk_period_charges_period_id FOREIGN KEY (period_id) REFERENCES periods,
        CONSTRAINT ck_period_charges_amount CHECK (amount <> 0 AND number >= 1),
        CONSTRAINT ck_period_charges_parts CHECK (
            promotional_part + credit_part + receivable_part + platform_part = amount)
    )
"""


def upgrade() -> None:
    """Keep the inputs of each charge; know deployments; make periods. Charges from before have no inputs."""
    op.execute("ALTER TABLE charges ADD COLUMN inputs jsonb NOT NULL DEFAULT '{}'")
    op.execute("ALTER TABLE charges ALTER COLUMN inputs DROP DEFAULT")
    op.execute("""
        ALTER TABLE price_versions
            ADD COLUMN number integer NOT NULL DEFAULT 0,
            ADD COLUMN revises boolean NOT NULL DEFAULT false,
            ADD COLUMN effective_at timestamptz,
            ADD COLUMN notice_days integer NOT NULL DEFAULT 30,
            ADD COLUMN own_key_fee jsonb NOT NULL DEFAULT '{}'
    """)
    op.execute("UPDATE price_versions SET effective_at = published_at")
    op.execute("ALTER TABLE price_versions ALTER COLUMN effective_at SET NOT NULL")
    op.execute("CREATE INDEX ix_price_versions_revises ON price_versions (package) WHERE revises")
    # A month gives back to the grants that its runs have spent of: its own use of them is negative then.
    op.execute("ALTER TABLE promotion_uses DROP CONSTRAINT ck_promotion_uses_amount")
    tables = {
        "rentals": _RENTALS,
        "periods": _PERIODS,
        "period_runs": _PERIOD_RUNS,
        "period_charges": _PERIOD_CHARGES,
    }
    for name, definition in tables.items():
        op.execute(definition)
        secure_table("billing", name)
    op.execute("CREATE INDEX ix_rentals_package ON rentals (package) WHERE ended_at IS NULL")
    op.execute("CREATE INDEX ix_periods_account_id ON periods (account_id, starts_at, period_id)")
    # One price version rates a month: a total cannot be taken up twice.
    op.execute(
        "CREATE UNIQUE INDEX ix_periods_reported ON periods (deployment, starts_at, meter) WHERE revision > 0"
    )
    op.execute("CREATE INDEX ix_period_runs_run ON period_runs (run)")
    op.execute("REVOKE UPDATE, DELETE ON period_charges FROM agora_billing, agora_billing_system")
    op.execute(
        "CREATE TRIGGER period_charges_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON period_charges "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    """Not offered: what months were charged could not be kept."""
    raise NotImplementedError("the months that were charged cannot be taken away again")
