"""Packages, their immutable versions, and the kit's tables."""

from agora_kit.migrations import create_kit_tables, secure_table
from alembic import op

revision = "0001"
down_revision = None

TABLES = ("packages", "package_versions")


def upgrade() -> None:
    create_kit_tables("catalog")
    op.execute("""
        CREATE TABLE packages (
            tenant_id text NOT NULL,
            id text NOT NULL,
            shown_version text,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_packages PRIMARY KEY (id)
        )
    """)
    # `manifest` and `schemas` are json and not jsonb: a schema's properties keep the order of their author.
    op.execute("""
        CREATE TABLE package_versions (
            tenant_id text NOT NULL,
            package text NOT NULL,
            version text NOT NULL,
            state text NOT NULL,
            state_revision integer NOT NULL DEFAULT 0,
            first_party boolean NOT NULL,
            category text NOT NULL,
            contents_hash text NOT NULL,
            price_version text NOT NULL,
            manifest json NOT NULL,
            schemas json NOT NULL,
            search tsvector NOT NULL,
            published_at timestamptz NOT NULL,
            CONSTRAINT pk_package_versions PRIMARY KEY (package, version),
            CONSTRAINT fk_package_versions_package FOREIGN KEY (package) REFERENCES packages (id),
            CONSTRAINT ck_package_versions_state
                CHECK (state IN ('announced', 'draft', 'published', 'deprecated', 'retired'))
        )
    """)
    op.execute("CREATE INDEX ix_package_versions_search ON package_versions USING gin (search)")
    for table in TABLES:
        secure_table("catalog", table)
        # The catalogue belongs to the platform and is public: every tenant reads all of it. Policies add up,
        # so the tenant's policy above still lets nobody but the platform's own tenant write.
        op.execute(f"CREATE POLICY everyone_reads ON {table} FOR SELECT TO agora_catalog USING (true)")


def downgrade() -> None:
    for table in (*reversed(TABLES), "outbox", "inbox", "dead_letters"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION notify_outbox()")
