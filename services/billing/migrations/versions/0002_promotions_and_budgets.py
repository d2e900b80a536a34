"""Promotional credit, budgets, accounts that are closed, and holds that cost less."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0002"
down_revision = "0001"

_ACCOUNTS = """
    ALTER TABLE accounts
        ADD COLUMN promotional bigint NOT NULL DEFAULT 0,
        ADD COLUMN promotional_expires_at timestamptz,
        ADD COLUMN closed_at timestamptz,
        DROP CONSTRAINT ck_accounts_held_is_credit,
        ADD CONSTRAINT ck_accounts_held_is_credit CHECK (
            held >= 0 AND credit >= 0 AND promotional >= 0 AND credit + promotional - held >= 0),
        ADD CONSTRAINT ck_accounts_closed_holds_nothing CHECK (closed_at IS NULL OR held = 0)
"""

_PROMOTIONS = """
    CREATE TABLE promotions (
        promotion_id text NOT NULL,
        tenant_id text NOT NULL,
        account_id text NOT NULL,
        currency text NOT NULL,
        amount bigint NOT NULL,
        remaining bigint NOT NULL,
        expired bigint NOT NULL DEFAULT 0,
        reference text NOT NULL,
        reason text NOT NULL,
        granted_at timestamptz NOT NULL,
        expires_at timestamptz,
        CONSTRAINT pk_promotions PRIMARY KEY (promotion_id),
        CONSTRAINT uq_promotions_account_id_reference UNIQUE (account_id, reference),
        CONSTRAINT fk_promotions_account_id FOREIGN KEY (account_id) REFERENCES accounts,
        CONSTRAINT ck_promotions_amount CHECK (
            amount > 0 AND remaining >= 0 AND expired >= 0 AND remaining + expired <= amount)
    ) WITH (fillfactor = 70)
"""

_PROMOTION_USES = """
    CREATE TABLE promotion_uses (
        run text NOT NULL,
        promotion_id text NOT NULL,
        tenant_id text NOT NULL,
        amount bigint NOT NULL,
        CONSTRAINT pk_promotion_uses PRIMARY KEY (run, promotion_id),
        CONSTRAINT fk_promotion_uses_promotion_id FOREIGN KEY (promotion_id) REFERENCES promotions,
        CONSTRAINT ck_promotion_uses_amount CHECK (amount >= 0)
    )
"""

_BUDGETS = """
    CREATE TABLE budgets (
        budget_id text NOT NULL,
        tenant_id text NOT NULL,
        account_id text NOT NULL,
        scope text NOT NULL,
        target text,
        period text NOT NULL,
        kind text NOT NULL,
        currency text NOT NULL,
        amount bigint NOT NULL,
        thresholds smallint[] NOT NULL,
        name text NOT NULL,
        revision integer NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL,
        deleted_at timestamptz,
        CONSTRAINT pk_budgets PRIMARY KEY (budget_id),
        CONSTRAINT fk_budgets_account_id FOREIGN KEY (account_id) REFERENCES accounts,
        CONSTRAINT ck_budgets_scope CHECK (scope IN ('account', 'deployment', 'package', 'api_key', 'run')),
        CONSTRAINT ck_budgets_target CHECK ((target IS NULL) = (scope = 'account')),
        CONSTRAINT ck_budgets_period CHECK (period IN ('day', 'month', 'total')
            AND (scope <> 'run' OR period = 'total')),
        CONSTRAINT ck_budgets_kind CHECK (kind IN ('soft', 'hard')),
        CONSTRAINT ck_budgets_amount CHECK (amount >= 0)
    )
"""

# One row is written for every batch of holds: room in the page keeps its new versions beside the old ones.
_BUDGET_WINDOWS = """
    CREATE TABLE budget_windows (
        window_id bigint GENERATED ALWAYS AS IDENTITY,
        budget_id text NOT NULL,
        tenant_id text NOT NULL,
        starts_at timestamptz NOT NULL,
        ends_at timestamptz,
        reserved bigint NOT NULL DEFAULT 0,
        spent bigint NOT NULL DEFAULT 0,
        told smallint NOT NULL DEFAULT 0,
        refused boolean NOT NULL DEFAULT false,
        CONSTRAINT pk_budget_windows PRIMARY KEY (window_id),
        CONSTRAINT uq_budget_windows_budget_id_starts_at UNIQUE (budget_id, starts_at),
        CONSTRAINT fk_budget_windows_budget_id FOREIGN KEY (budget_id) REFERENCES budgets,
        CONSTRAINT ck_budget_windows_amounts CHECK (reserved >= 0 AND spent >= 0)
    ) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.05)
"""

# Runs of the same work have the same quote: it is stored once under the hash of its contents, and the holds, of which
# there are many more, stay small.
_QUOTES = """
    CREATE TABLE quotes (
        quote_id text NOT NULL,
        tenant_id text NOT NULL,
        quote jsonb NOT NULL,
        CONSTRAINT pk_quotes PRIMARY KEY (quote_id)
    )
"""

_MOVE_QUOTES = (
    "ALTER TABLE holds ADD COLUMN quote_id text",
    "UPDATE holds SET quote_id = 'quote_' || md5(tenant_id || quote::text)",
    "INSERT INTO quotes (quote_id, tenant_id, quote) SELECT quote_id, tenant_id, quote FROM holds "
    "ON CONFLICT DO NOTHING",
    "ALTER TABLE holds ALTER COLUMN quote_id SET NOT NULL, DROP COLUMN quote",
)

# `windows` are the budget windows that the hold counts in: those of the moment at which it was placed.
_HOLDS = """
    ALTER TABLE holds
        ADD COLUMN package text NOT NULL DEFAULT '',
        ADD COLUMN api_key text,
        ADD COLUMN run_limit bigint,
        ADD COLUMN partial boolean NOT NULL DEFAULT false,
        ADD COLUMN windows bigint[] NOT NULL DEFAULT '{}',
        ADD CONSTRAINT ck_holds_run_limit CHECK (run_limit IS NULL OR run_limit >= 0)
"""

_HOLD_INCREASES = (
    "ALTER TABLE hold_increases ADD COLUMN asked bigint",
    "UPDATE hold_increases SET asked = amount",
    "ALTER TABLE hold_increases ALTER COLUMN asked SET NOT NULL",
)

_INDEXES = (
    "CREATE INDEX ix_promotions_left ON promotions (account_id) WHERE remaining > 0",
    "CREATE INDEX ix_accounts_promotional_expires_at ON accounts (promotional_expires_at) "
    "WHERE promotional_expires_at IS NOT NULL",
    "CREATE INDEX ix_promotion_uses_promotion_id ON promotion_uses (promotion_id)",
    "CREATE INDEX ix_budgets_account_id ON budgets (account_id) WHERE deleted_at IS NULL",
)

# A hold is placed with its account locked and its price version pinned, and neither is ever removed: checking that
# row by row again took a fifth of what a hold costs. The audit looks at all of them together.
_CHEAPER_HOLDS = (
    "ALTER TABLE holds DROP CONSTRAINT fk_holds_account_id",
    "ALTER TABLE holds DROP CONSTRAINT fk_holds_price_version",
)


def upgrade() -> None:
    """Widen accounts and holds; make grants and budgets."""
    op.execute(_ACCOUNTS)
    tables = {
        "promotions": _PROMOTIONS,
        "promotion_uses": _PROMOTION_USES,
        "budgets": _BUDGETS,
        "budget_windows": _BUDGET_WINDOWS,
        "quotes": _QUOTES,
    }
    for name, definition in tables.items():
        op.execute(definition)
        secure_table("billing", name)
    op.execute(_HOLDS)
    for statement in (*_MOVE_QUOTES, *_HOLD_INCREASES, *_INDEXES, *_CHEAPER_HOLDS):
        op.execute(statement)


def downgrade() -> None:
    """Not offered: credit that was given could not be kept."""
    raise NotImplementedError("promotional credit and budgets cannot be taken away again")
