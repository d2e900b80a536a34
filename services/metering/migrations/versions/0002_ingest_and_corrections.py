"""Usage reported from outside, what was refused, corrections, exports."""

from agora_kit.migrations import secure_table
from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = ("priced_meters", "known_deployments", "refused_usage", "usage_corrections", "usage_exports")


def upgrade() -> None:
    """Create what reports from outside need, and let corrections count."""
    _known()
    _refused()
    _corrections()
    _exports()
    for table in TABLES:
        secure_table("metering", table)


def _known() -> None:
    # Of the platform: prices are published for all.
    op.execute("""
        CREATE TABLE priced_meters (
            tenant_id text NOT NULL,
            meter text NOT NULL,
            by_run boolean NOT NULL,
            CONSTRAINT pk_priced_meters PRIMARY KEY (tenant_id, meter, by_run)
        )
    """)
    op.execute("""
        CREATE TABLE known_deployments (
            tenant_id text NOT NULL,
            deployment text NOT NULL,
            package text NOT NULL,
            started_at timestamptz NOT NULL,
            CONSTRAINT pk_known_deployments PRIMARY KEY (tenant_id, deployment)
        )
    """)


def _refused() -> None:
    op.execute("""
        CREATE TABLE refused_usage (
            tenant_id text NOT NULL,
            id text NOT NULL,
            seq bigint GENERATED ALWAYS AS IDENTITY,
            sender text NOT NULL,
            source text NOT NULL,
            event_id text NOT NULL,
            reason text NOT NULL,
            detail text NOT NULL,
            payload bytea NOT NULL,
            received_at timestamptz NOT NULL,
            refused_at timestamptz NOT NULL DEFAULT now(),
            times integer NOT NULL DEFAULT 1,
            replayed_at timestamptz,
            replayed_payload bytea,
            CONSTRAINT pk_refused_usage PRIMARY KEY (tenant_id, id)
        )
    """)
    op.execute("CREATE INDEX ix_refused_usage_seq ON refused_usage (seq)")
    op.execute("CREATE INDEX ix_refused_usage_tenant_id_seq ON refused_usage (tenant_id, seq)")
    op.execute("CREATE INDEX ix_refused_usage_refused_at ON refused_usage (refused_at)")


def _corrections() -> None:
    # Append-only: what an event counts for is its latest correction's. `number` counts an event's corrections, and
    # the key on it is also what two that come at once cannot both get.
    op.execute("""
        CREATE TABLE usage_corrections (
            tenant_id text NOT NULL,
            source text NOT NULL,
            id text NOT NULL,
            accepted_month date NOT NULL,
            corrects_source text NOT NULL,
            corrects_id text NOT NULL,
            number integer NOT NULL,
            kind text NOT NULL,
            quantity numeric NOT NULL,
            difference numeric NOT NULL,
            reason text NOT NULL,
            meter text NOT NULL,
            run text,
            deployment text,
            used_at timestamptz NOT NULL,
            at timestamptz NOT NULL,
            CONSTRAINT pk_usage_corrections PRIMARY KEY (tenant_id, source, id),
            CONSTRAINT uq_usage_corrections_corrected
                UNIQUE (corrects_id, corrects_source, tenant_id, accepted_month, number),
            CONSTRAINT ck_usage_corrections_kind CHECK (kind IN ('void', 'amend'))
        )
    """)
    op.execute("""
        CREATE FUNCTION keep_usage_corrections() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'corrections are never changed or removed'; END $$
    """)
    op.execute(
        "CREATE TRIGGER usage_corrections_stay BEFORE UPDATE OR DELETE ON usage_corrections "
        "FOR EACH ROW EXECUTE FUNCTION keep_usage_corrections()"
    )
    op.execute("""
        CREATE OR REPLACE VIEW usage_effective WITH (security_invoker = true) AS
        SELECT e.accepted_month, e.ctid AS place, e.tenant_id, e.source, e.id, e.run, e.deployment, e.package, e.meter,
               coalesce(c.quantity, e.quantity) AS quantity, e.at, e.dimensions,
               coalesce(c.kind = 'void', false) AS voided
        FROM usage_events e LEFT JOIN LATERAL (
            SELECT kind, quantity FROM usage_corrections c
            WHERE c.corrects_id = e.id AND c.corrects_source = e.source AND c.tenant_id = e.tenant_id
                AND c.accepted_month = e.accepted_month
            ORDER BY number DESC LIMIT 1
        ) AS c ON true
    """)


def _exports() -> None:
    op.execute("""
        CREATE TABLE usage_exports (
            tenant_id text NOT NULL,
            id text NOT NULL,
            what text NOT NULL,
            format text NOT NULL,
            starts_at timestamptz NOT NULL,
            ends_at timestamptz NOT NULL,
            meter text,
            package text,
            deployment text,
            state text NOT NULL,
            attempts integer NOT NULL DEFAULT 0,
            lease uuid,
            leased_until timestamptz,
            rows_done bigint NOT NULL DEFAULT 0,
            rows_total bigint,
            file text,
            error text,
            created_at timestamptz NOT NULL,
            finished_at timestamptz,
            expires_at timestamptz,
            CONSTRAINT pk_usage_exports PRIMARY KEY (tenant_id, id),
            CONSTRAINT ck_usage_exports_state
                CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired'))
        )
    """)
    op.execute("CREATE INDEX ix_usage_exports_created_at ON usage_exports (tenant_id, created_at, id)")
    op.execute(
        "CREATE INDEX ix_usage_exports_open ON usage_exports (created_at) WHERE state IN ('queued', 'running')"
    )
    op.execute(
        "CREATE INDEX ix_usage_exports_expires_at ON usage_exports (expires_at) WHERE state = 'succeeded'"
    )


def downgrade() -> None:
    """Drop it again; events count for what they said."""
    op.execute("""
        CREATE OR REPLACE VIEW usage_effective WITH (security_invoker = true) AS
        SELECT accepted_month, ctid AS place, tenant_id, source, id, run, deployment, package, meter, quantity, at,
               dimensions, false AS voided
        FROM usage_events
    """)
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION keep_usage_corrections()")
