"""Accounts, pinned prices, holds, the ledger and the charges."""

from agora_kit.migrations import create_kit_tables, secure_table
from alembic import op

revision = "0001"
down_revision = None

_ACCOUNTS = """
    CREATE TABLE accounts (
        account_id text NOT NULL,
        tenant_id text NOT NULL,
        currency text NOT NULL,
        credit bigint NOT NULL DEFAULT 0,
        held bigint NOT NULL DEFAULT 0,
        receivable bigint NOT NULL DEFAULT 0,
        receivable_limit bigint NOT NULL DEFAULT 0,
        postings bigint NOT NULL DEFAULT 0,
        opened_at timestamptz NOT NULL,
        CONSTRAINT pk_accounts PRIMARY KEY (account_id),
        CONSTRAINT ck_accounts_held_is_credit CHECK (held >= 0 AND credit - held >= 0),
        CONSTRAINT ck_accounts_receivable_is_limited
            CHECK (receivable >= 0 AND receivable <= receivable_limit)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)
"""

_PRICE_VERSIONS = """
    CREATE TABLE price_versions (
        price_version text NOT NULL,
        tenant_id text NOT NULL,
        package text NOT NULL,
        version text NOT NULL,
        currency text NOT NULL,
        prices jsonb NOT NULL,
        charges jsonb NOT NULL,
        model_cost_limit numeric NOT NULL,
        published_at timestamptz NOT NULL,
        CONSTRAINT pk_price_versions PRIMARY KEY (price_version)
    )
"""

_HOLDS = """
    CREATE TABLE holds (
        run text NOT NULL,
        tenant_id text NOT NULL,
        account_id text NOT NULL,
        epoch integer NOT NULL,
        fingerprint text NOT NULL,
        state text NOT NULL,
        currency text NOT NULL,
        amount bigint NOT NULL,
        quoted bigint NOT NULL,
        price_version text NOT NULL,
        basis text NOT NULL,
        deployment text,
        quote jsonb NOT NULL,
        placed_at timestamptz NOT NULL,
        lapses_at timestamptz NOT NULL,
        ended_at timestamptz,
        CONSTRAINT pk_holds PRIMARY KEY (run),
        CONSTRAINT fk_holds_account_id FOREIGN KEY (account_id) REFERENCES accounts,
        CONSTRAINT fk_holds_price_version FOREIGN KEY (price_version) REFERENCES price_versions,
        CONSTRAINT ck_holds_state CHECK (state IN ('tentative', 'firm', 'lapsed', 'settled')),
        CONSTRAINT ck_holds_ended CHECK ((ended_at IS NULL) = (state IN ('tentative', 'firm'))),
        CONSTRAINT ck_holds_amount CHECK (amount >= 0 AND quoted >= 0 AND epoch >= 1)
    ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)
"""

_HOLD_INCREASES = """
    CREATE TABLE hold_increases (
        run text NOT NULL,
        request text NOT NULL,
        tenant_id text NOT NULL,
        amount bigint NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT pk_hold_increases PRIMARY KEY (run, request),
        CONSTRAINT fk_hold_increases_run FOREIGN KEY (run) REFERENCES holds,
        CONSTRAINT ck_hold_increases_amount CHECK (amount > 0)
    )
"""

_POSTINGS = """
    CREATE TABLE postings (
        posting_id text NOT NULL,
        tenant_id text NOT NULL,
        account_id text NOT NULL,
        number bigint NOT NULL,
        currency text NOT NULL,
        kind text NOT NULL,
        cause text NOT NULL,
        description text NOT NULL,
        run text,
        credit_after bigint NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT pk_postings PRIMARY KEY (posting_id),
        CONSTRAINT uq_postings_kind_cause UNIQUE (kind, cause),
        CONSTRAINT uq_postings_account_id_number UNIQUE (account_id, number),
        CONSTRAINT fk_postings_account_id FOREIGN KEY (account_id) REFERENCES accounts,
        CONSTRAINT ck_postings_kind
            CHECK (kind IN ('top_up', 'receivable_paid', 'charge', 'adjustment'))
    )
"""

_ENTRIES = """
    CREATE TABLE entries (
        posting_id text NOT NULL,
        ledger text NOT NULL,
        tenant_id text NOT NULL,
        account_id text NOT NULL,
        currency text NOT NULL,
        amount bigint NOT NULL,
        CONSTRAINT pk_entries PRIMARY KEY (posting_id, ledger),
        CONSTRAINT fk_entries_posting_id FOREIGN KEY (posting_id) REFERENCES postings,
        CONSTRAINT ck_entries_ledger CHECK (ledger IN
            ('customer_credit', 'receivable', 'cash_clearing', 'revenue', 'platform_cost')),
        CONSTRAINT ck_entries_amount CHECK (amount <> 0)
    )
"""

_CHARGES = """
    CREATE TABLE charges (
        run text NOT NULL,
        revision integer NOT NULL,
        tenant_id text NOT NULL,
        account_id text NOT NULL,
        kind text NOT NULL,
        currency text NOT NULL,
        amount bigint NOT NULL,
        difference bigint NOT NULL,
        credit_part bigint NOT NULL,
        receivable_part bigint NOT NULL,
        platform_part bigint NOT NULL,
        released bigint NOT NULL,
        lines jsonb NOT NULL,
        explanation text NOT NULL,
        outcome text NOT NULL,
        deliverable text NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT pk_charges PRIMARY KEY (run, revision),
        CONSTRAINT fk_charges_run FOREIGN KEY (run) REFERENCES holds,
        CONSTRAINT ck_charges_kind CHECK (kind IN ('settled', 'adjusted')),
        CONSTRAINT ck_charges_amount CHECK (amount >= 0 AND released >= 0),
        CONSTRAINT ck_charges_parts CHECK (
            receivable_part >= 0 AND platform_part >= 0
            AND credit_part + receivable_part + platform_part = amount)
    )
"""

_INDEXES = (
    "CREATE INDEX ix_holds_lapses_at ON holds (lapses_at) WHERE state = 'tentative'",
    "CREATE INDEX ix_holds_open ON holds (placed_at, run) WHERE state IN ('tentative', 'firm')",
    "CREATE INDEX ix_entries_account ON entries (account_id, ledger) INCLUDE (amount)",
    # A run is settled once, whatever its revisions: the database says so, too.
    "CREATE UNIQUE INDEX uq_charges_settled ON charges (run) WHERE kind = 'settled'",
)

_APPEND_ONLY = ("postings", "entries", "charges")

_REFUSE_CHANGE = """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only: write a new posting that corrects the old one', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END $$
"""

# Entries of one statement must balance and belong to their posting. Checked per statement and not per row,
# so that a batch of hundreds of postings costs one query.
_CHECK_ENTRIES = """
    CREATE FUNCTION check_entries() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        fault text;
    BEGIN
        SELECT n.posting_id INTO fault
        FROM new_entries n JOIN postings p USING (posting_id)
        WHERE (n.tenant_id, n.account_id, n.currency) <> (p.tenant_id, p.account_id, p.currency)
        LIMIT 1;
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION 'an entry of posting % names another account, tenant or currency', fault
                USING ERRCODE = 'check_violation';
        END IF;
        SELECT n.posting_id INTO fault
        FROM new_entries n GROUP BY n.posting_id, n.currency HAVING sum(n.amount) <> 0
        LIMIT 1;
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION 'the entries of posting % do not sum to zero', fault
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
"""

# At commit every new posting must have its entries: at least two, sum zero in each currency.
_CHECK_POSTING = """
    CREATE FUNCTION check_posting() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        entries_count integer;
        unbalanced boolean;
    BEGIN
        SELECT coalesce(sum(s.entries), 0), coalesce(bool_or(s.total <> 0), false)
        INTO entries_count, unbalanced
        FROM (SELECT count(*) AS entries, sum(e.amount) AS total
              FROM entries e WHERE e.posting_id = NEW.posting_id GROUP BY e.currency) s;
        IF entries_count < 2 OR unbalanced THEN
            RAISE EXCEPTION 'posting % has % entries that must be two or more and sum to zero',
                NEW.posting_id, entries_count USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
"""


def upgrade() -> None:
    """Create everything, the ledger's guards included."""
    create_kit_tables("billing")
    tables = {
        "accounts": _ACCOUNTS,
        "price_versions": _PRICE_VERSIONS,
        "holds": _HOLDS,
        "hold_increases": _HOLD_INCREASES,
        "postings": _POSTINGS,
        "entries": _ENTRIES,
        "charges": _CHARGES,
    }
    for name, definition in tables.items():
        op.execute(definition)
        secure_table("billing", name)
    for index in _INDEXES:
        op.execute(index)
    _guard_ledger()


def _guard_ledger() -> None:
    for function in (_REFUSE_CHANGE, _CHECK_ENTRIES, _CHECK_POSTING):
        op.execute(function)
    for table in _APPEND_ONLY:
        op.execute(f"REVOKE UPDATE, DELETE ON {table} FROM agora_billing, agora_billing_system")
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(
        "CREATE TRIGGER entries_balance AFTER INSERT ON entries REFERENCING NEW TABLE AS new_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION check_entries()"
    )
    op.execute(
        "CREATE CONSTRAINT TRIGGER postings_balance AFTER INSERT ON postings "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_posting()"
    )
