"""The price book: every price that a package has had."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the book, and write the prices into it that came with the versions until now."""
    op.execute("""
        CREATE TABLE price_book (
            tenant_id text NOT NULL,
            package text NOT NULL,
            number integer NOT NULL,
            price_version text NOT NULL,
            version text,
            prices jsonb NOT NULL,
            charges jsonb NOT NULL,
            published_at timestamptz NOT NULL,
            effective_at timestamptz NOT NULL,
            notice_days integer NOT NULL,
            CONSTRAINT pk_price_book PRIMARY KEY (package, number),
            CONSTRAINT uq_price_book_price_version UNIQUE (price_version),
            CONSTRAINT fk_price_book_package FOREIGN KEY (package) REFERENCES packages (id)
        )
    """)
    op.execute("""
        INSERT INTO price_book
        SELECT tenant_id, package, row_number() OVER (PARTITION BY package ORDER BY published_at, version),
               price_version, version, (manifest->'prices')::jsonb, coalesce((manifest->'charges')::jsonb, '{}'),
               published_at, published_at, 30
        FROM package_versions
    """)
    op.execute("CREATE INDEX ix_price_book_revisions ON price_book (package) WHERE version IS NULL")
    secure_table("catalog", "price_book")
    # As for the packages: every tenant reads all of it, and only the platform's own tenant writes.
    op.execute("CREATE POLICY everyone_reads ON price_book FOR SELECT TO agora_catalog USING (true)")


def downgrade() -> None:
    """Forget revised prices."""
    op.execute("DROP TABLE price_book")
