"""Replies of model calls, the retries of a run, the response cache, vendors' keys and prices of models."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("ALTER TABLE runs ADD COLUMN model_retries INTEGER DEFAULT '0' NOT NULL")
    op.execute("""
        ALTER TABLE model_calls
            ADD COLUMN number INTEGER DEFAULT '1' NOT NULL,
            ADD COLUMN digest TEXT,
            ADD COLUMN reply JSONB,
            ADD COLUMN own_key BOOLEAN DEFAULT 'false' NOT NULL,
            ADD COLUMN cost BIGINT,
            ADD COLUMN cached BOOLEAN DEFAULT 'false' NOT NULL,
            ADD COLUMN settled_at TIMESTAMP WITH TIME ZONE
    """)
    op.execute(
        "CREATE INDEX ix_model_calls_replies ON model_calls (run_id, step_id, digest, number)"
        " WHERE reply IS NOT NULL"
    )
    op.execute("CREATE INDEX ix_model_calls_open ON model_calls (at) WHERE spent IS NULL")
    op.execute("""
        CREATE TABLE model_cache (
            tenant_id TEXT NOT NULL,
            digest TEXT NOT NULL,
            claimed_by TEXT NOT NULL,
            claimed_until TIMESTAMP WITH TIME ZONE NOT NULL,
            reply JSONB,
            expires_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_model_cache PRIMARY KEY (tenant_id, digest)
        )
    """)
    op.execute("CREATE INDEX ix_model_cache_claimed_until ON model_cache (claimed_until)")
    op.execute("""
        CREATE TABLE provider_keys (
            tenant_id TEXT NOT NULL,
            vendor TEXT NOT NULL,
            sealed_under TEXT NOT NULL,
            nonce BYTEA NOT NULL,
            ciphertext BYTEA NOT NULL,
            last_characters TEXT NOT NULL,
            stored_by TEXT NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_provider_keys PRIMARY KEY (tenant_id, vendor)
        )
    """)
    op.execute("""
        CREATE TABLE model_prices (
            model TEXT NOT NULL,
            effective_at TIMESTAMP WITH TIME ZONE NOT NULL,
            prices JSONB NOT NULL,
            set_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_model_prices PRIMARY KEY (model, effective_at)
        )
    """)
    for table in ("model_cache", "provider_keys"):
        secure_table("execution", table)


def downgrade() -> None:
    for table in ("model_prices", "provider_keys", "model_cache"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX ix_model_calls_open")
    op.execute("DROP INDEX ix_model_calls_replies")
    for column in ("number", "digest", "reply", "own_key", "cost", "cached", "settled_at"):
        op.execute(f"ALTER TABLE model_calls DROP COLUMN {column}")
    op.execute("ALTER TABLE runs DROP COLUMN model_retries")
