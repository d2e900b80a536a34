"""The whole chart of accounts, refunds, sealed postings."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0003"
down_revision = "0002"

_KINDS = (
    "top_up",
    "receivable_paid",
    "promotion_granted",
    "promotion_expired",
    "charge",
    "adjustment",
    "period_charge",
    "period_adjustment",
    "refund",
)
_LEDGERS = (
    "customer_credit",
    "promotional_credit",
    "receivable",
    "cash_clearing",
    "promotion_cost",
    "revenue",
    "author_earnings",
    "platform_fee",
    "model_cost",
    "tax",
    "refunds",
    "rounding",
    "platform_cost",
)

_REFUNDS = """
    CREATE TABLE refunds (
        run text NOT NULL,
        number integer NOT NULL,
        tenant_id text NOT NULL,
        account_id text NOT NULL,
        currency text NOT NULL,
        amount bigint NOT NULL,
        whole boolean NOT NULL,
        promotional_part bigint NOT NULL,
        credit_part bigint NOT NULL,
        receivable_part bigint NOT NULL,
        platform_part bigint NOT NULL,
        expired_part bigint NOT NULL,
        author_part bigint NOT NULL,
        reference text NOT NULL,
        reason text NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT pk_refunds PRIMARY KEY (run, number),
        CONSTRAINT uq_refunds_run_reference UNIQUE (run, reference),
        CONSTRAINT fk_refunds_run FOREIGN KEY (run) REFERENCES holds,
        CONSTRAINT ck_refunds_amount CHECK (amount > 0 AND number >= 1),
        CONSTRAINT ck_refunds_parts CHECK (
            promotional_part >= 0 AND credit_part >= 0 AND receivable_part >= 0 AND platform_part >= 0
            AND expired_part BETWEEN 0 AND promotional_part
            AND promotional_part + credit_part + receivable_part + platform_part = amount)
    )
"""

_POSTING_SEALS = """
    CREATE TABLE posting_seals (
        account_id text NOT NULL,
        number bigint NOT NULL,
        tenant_id text NOT NULL,
        posting_id text NOT NULL,
        hash bytea NOT NULL,
        sealed_at timestamptz NOT NULL,
        CONSTRAINT pk_posting_seals PRIMARY KEY (account_id, number),
        CONSTRAINT fk_posting_seals_posting_id FOREIGN KEY (posting_id) REFERENCES postings,
        CONSTRAINT ck_posting_seals_hash CHECK (octet_length(hash) = 32)
    )
"""

# Beside the accounts and not in them: whoever seals must not wait for whoever charges, nor the other way.
_SEAL_HEADS = """
    CREATE TABLE seal_heads (
        account_id text NOT NULL,
        tenant_id text NOT NULL,
        number bigint NOT NULL,
        hash bytea NOT NULL,
        CONSTRAINT pk_seal_heads PRIMARY KEY (account_id),
        CONSTRAINT fk_seal_heads_account_id FOREIGN KEY (account_id) REFERENCES accounts
    ) WITH (fillfactor = 50)
"""


def upgrade() -> None:
    """Widen postings, entries and charges; make refunds and seals."""
    op.execute(f"""
        ALTER TABLE postings
            ADD COLUMN author text,
            ADD COLUMN promotional_after bigint NOT NULL DEFAULT 0,
            DROP CONSTRAINT ck_postings_kind,
            ADD CONSTRAINT ck_postings_kind CHECK (kind IN ({_listed(_KINDS)}))
    """)
    op.execute(f"""
        ALTER TABLE entries
            DROP CONSTRAINT ck_entries_ledger,
            ADD CONSTRAINT ck_entries_ledger CHECK (ledger IN ({_listed(_LEDGERS)}))
    """)
    op.execute("""
        ALTER TABLE charges
            ADD COLUMN promotional_part bigint NOT NULL DEFAULT 0,
            DROP CONSTRAINT ck_charges_parts,
            ADD CONSTRAINT ck_charges_parts CHECK (
                promotional_part >= 0 AND receivable_part >= 0 AND platform_part >= 0
                AND promotional_part + credit_part + receivable_part + platform_part = amount)
    """)
    op.execute("""
        ALTER TABLE price_versions
            ADD COLUMN author text,
            ADD COLUMN author_share numeric,
            ADD CONSTRAINT ck_price_versions_author CHECK (
                (author IS NULL) = (author_share IS NULL) AND author_share BETWEEN 0 AND 1)
    """)
    for name, definition in (
        ("refunds", _REFUNDS),
        ("posting_seals", _POSTING_SEALS),
        ("seal_heads", _SEAL_HEADS),
    ):
        op.execute(definition)
        secure_table("billing", name)
    for table in ("refunds", "posting_seals"):
        op.execute(f"REVOKE UPDATE, DELETE ON {table} FROM agora_billing, agora_billing_system")
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def downgrade() -> None:
    """Not offered: what is booked on the new accounts could not be kept."""
    raise NotImplementedError("the ledger's accounts cannot be taken away again")
