"""Tenants, their API keys, and the kit's tables."""

from agora_kit.migrations import create_kit_tables, secure_table
from alembic import op

revision = "0001"
down_revision = None

TABLES = ("tenants", "api_keys")


def upgrade() -> None:
    create_kit_tables("gateway")
    op.execute("""
        CREATE TABLE tenants (
            tenant_id text NOT NULL,
            name text NOT NULL,
            account text NOT NULL,
            settings jsonb NOT NULL DEFAULT '{}'::jsonb,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_tenants PRIMARY KEY (tenant_id)
        )
    """)
    op.execute("CREATE INDEX ix_tenants_created_at_tenant_id ON tenants (created_at, tenant_id)")
    op.execute("""
        CREATE TABLE api_keys (
            id text NOT NULL,
            tenant_id text NOT NULL,
            name text NOT NULL,
            prefix text NOT NULL,
            hash bytea NOT NULL,
            scopes text[] NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz,
            revoked_at timestamptz,
            CONSTRAINT pk_api_keys PRIMARY KEY (id),
            CONSTRAINT uq_api_keys_hash UNIQUE (hash),
            CONSTRAINT fk_api_keys_tenant_id FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id)
        )
    """)
    op.execute("CREATE INDEX ix_api_keys_tenant_id_created_at_id ON api_keys (tenant_id, created_at, id)")
    for table in TABLES:
        secure_table("gateway", table)


def downgrade() -> None:
    for table in ("api_keys", "tenants", "outbox", "inbox", "dead_letters"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION notify_outbox()")
