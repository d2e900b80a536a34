"""Usage events by month, their totals by minute, hour and day, meters, ended runs, and the kit's tables."""

from agora_kit.migrations import create_kit_tables, secure_table
from alembic import op

revision = "0001"
down_revision = None

SYSTEM_ROLE = "agora_metering_system"
TABLES = (
    "usage_events",
    "usage_deltas",
    "usage_series",
    "usage_minute",
    "usage_hour",
    "usage_day",
    "period_totals",
    "meters",
    "meter_builds",
    "runs",
)


def upgrade() -> None:
    create_kit_tables("metering")
    _events()
    _totals()
    _periods()
    _meters()
    _runs()
    for table in TABLES:
        secure_table("metering", table)
    op.execute("CREATE POLICY platform ON meters FOR SELECT TO agora_metering USING (tenant_id = 'platform')")
    _partitions()


def _events() -> None:
    # The month is that of acceptance, not of the usage: so a duplicate is looked for in three months at most,
    # and what is old enough to be dropped lies together. The id first, because it tells rows apart soonest.
    op.execute("""
        CREATE TABLE usage_events (
            accepted_month date NOT NULL,
            tenant_id text NOT NULL,
            source text NOT NULL,
            id text NOT NULL,
            run text,
            deployment text,
            package text,
            meter text NOT NULL,
            quantity numeric NOT NULL,
            at timestamptz NOT NULL,
            dimensions jsonb,
            CONSTRAINT pk_usage_events PRIMARY KEY (id, source, tenant_id, accepted_month)
        ) PARTITION BY RANGE (accepted_month)
    """)
    op.execute("CREATE INDEX ix_usage_events_run ON usage_events (run) WHERE run IS NOT NULL")
    # One row: the month that is accepted into. Ingest locks it to read; moving on waits for all who did.
    op.execute("""
        CREATE TABLE usage_period (
            single boolean NOT NULL DEFAULT true,
            current date NOT NULL,
            CONSTRAINT pk_usage_period PRIMARY KEY (single),
            CONSTRAINT ck_usage_period_single CHECK (single)
        )
    """)
    # No row, or one: the month before which nothing is kept by event and by minute.
    op.execute("""
        CREATE TABLE usage_kept (
            single boolean NOT NULL DEFAULT true,
            since date NOT NULL,
            CONSTRAINT pk_usage_kept PRIMARY KEY (single),
            CONSTRAINT ck_usage_kept_single CHECK (single)
        )
    """)
    op.execute("INSERT INTO usage_period (current) VALUES (date_trunc('month', now() AT TIME ZONE 'UTC'))")
    # What each stored event counts for now. `place` is where its row lies, to be read piece by piece.
    op.execute("""
        CREATE VIEW usage_effective WITH (security_invoker = true) AS
        SELECT accepted_month, ctid AS place, tenant_id, source, id, run, deployment, package, meter, quantity, at,
               dimensions, false AS voided
        FROM usage_events
    """)


def _totals() -> None:
    # Compared by its fields in their order: the greatest of several is the latest.
    op.execute("CREATE TYPE usage_latest AS (at timestamptz, id text, quantity numeric)")
    # A series is what is totalled by itself. Its id follows from what it is, so that nobody has to look it up, and
    # begins with the tenant's: a tenant's series lie side by side, in indexes and, as the roller writes them, in tables.
    # Not declared IMMUTABLE, which a row's text is not: so the planner can write it into the statement.
    op.execute("""
        CREATE FUNCTION usage_series_id(
            tenant_id text, meter text, package text, deployment text, standing boolean, dimensions jsonb, value text
        ) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
            SELECT encode(
                substring(sha256(convert_to(tenant_id, 'UTF8')) FOR 5)
                || substring(sha256(convert_to(
                    ROW(tenant_id, meter, package, deployment, standing, dimensions, value)::text, 'UTF8')) FOR 11),
                'hex')::uuid
        $$
    """)
    op.execute("""
        CREATE TABLE usage_series (
            id uuid NOT NULL,
            tenant_id text NOT NULL,
            meter text NOT NULL,
            package text,
            deployment text,
            standing boolean NOT NULL,
            dimensions jsonb,
            value text,
            merge smallint NOT NULL,
            CONSTRAINT pk_usage_series PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_usage_series_tenant_id_meter ON usage_series (tenant_id, meter)")
    # Only appended to by ingest, and moved into the totals by one roller: no hot row has two writers.
    op.execute("""
        CREATE TABLE usage_deltas (
            seq bigint GENERATED ALWAYS AS IDENTITY,
            series uuid NOT NULL,
            start timestamptz NOT NULL,
            events bigint NOT NULL,
            latest_at timestamptz,
            merge smallint NOT NULL,
            standing boolean NOT NULL,
            tenant_id text NOT NULL,
            meter text NOT NULL,
            package text,
            deployment text,
            quantity numeric NOT NULL,
            latest_id text,
            value text,
            dimensions jsonb,
            CONSTRAINT pk_usage_deltas PRIMARY KEY (seq)
        ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000)
    """)
    op.execute("CREATE INDEX ix_usage_deltas_tenant_id ON usage_deltas (tenant_id)")
    for grain in ("minute", "hour", "day"):
        op.execute(f"""
            CREATE TABLE usage_{grain} (
                series uuid NOT NULL,
                start timestamptz NOT NULL,
                events bigint NOT NULL,
                latest_at timestamptz,
                merge smallint NOT NULL,
                tenant_id text NOT NULL,
                quantity numeric NOT NULL,
                latest_id text,
                CONSTRAINT pk_usage_{grain} PRIMARY KEY (series, start)
            ) {"PARTITION BY RANGE (start)" if grain == "minute" else "WITH (fillfactor = 80)"}
        """)


def _periods() -> None:
    op.execute("""
        CREATE TABLE period_totals (
            tenant_id text NOT NULL,
            deployment text NOT NULL,
            meter text NOT NULL,
            period_start timestamptz NOT NULL,
            revision integer NOT NULL DEFAULT 0,
            dirty boolean NOT NULL,
            told_at timestamptz,
            CONSTRAINT pk_period_totals PRIMARY KEY (tenant_id, deployment, meter, period_start)
        )
    """)
    op.execute("CREATE INDEX ix_period_totals_dirty ON period_totals (told_at) WHERE dirty")


def _meters() -> None:
    op.execute("""
        CREATE TABLE meters (
            tenant_id text NOT NULL,
            key text NOT NULL,
            unit text NOT NULL,
            description text NOT NULL,
            event text NOT NULL,
            aggregation text NOT NULL,
            value text,
            dimensions jsonb NOT NULL,
            state text NOT NULL,
            progress_percent integer NOT NULL,
            generation integer NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_meters PRIMARY KEY (tenant_id, key),
            CONSTRAINT ck_meters_state CHECK (state IN ('backfilling', 'active', 'deleting'))
        )
    """)
    # Written by the transaction that back-fills, whose snapshot does not even see the meter.
    op.execute("""
        CREATE TABLE meter_builds (
            tenant_id text NOT NULL,
            key text NOT NULL,
            generation integer NOT NULL,
            CONSTRAINT pk_meter_builds PRIMARY KEY (tenant_id, key, generation)
        )
    """)


def _runs() -> None:
    op.execute("""
        CREATE TABLE runs (
            tenant_id text NOT NULL,
            run text NOT NULL,
            expected integer NOT NULL,
            closed_count integer,
            revision integer NOT NULL DEFAULT 0,
            outcome text NOT NULL,
            deliverable text NOT NULL,
            delivered_units integer,
            error_code text,
            finished_at timestamptz NOT NULL,
            check_after timestamptz NOT NULL,
            alarm text,
            CONSTRAINT pk_runs PRIMARY KEY (tenant_id, run),
            CONSTRAINT ck_runs_expected CHECK (expected >= 0)
        )
    """)
    op.execute(
        "CREATE INDEX ix_runs_open ON runs (check_after) WHERE closed_count IS NULL OR closed_count < expected"
    )


def _partitions() -> None:
    # In a schema of their own: they are no tables that anybody names. Whoever runs the service may make one, with the
    # weakest lock that attaching takes; only the owner may drop one.
    op.execute("CREATE SCHEMA partitions")
    op.execute(f"""
        CREATE FUNCTION ensure_usage_partition(parent text, month date) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            child text := format('%s_%s', parent, to_char(month, 'YYYY_MM'));
            lower_bound text := month::text;
            upper_bound text := (month + interval '1 month')::date::text;
        BEGIN
            IF parent NOT IN ('usage_events', 'usage_minute') OR month <> date_trunc('month', month) THEN
                RAISE EXCEPTION 'no partition of % for %', parent, month USING ERRCODE = 'invalid_parameter_value';
            END IF;
            IF to_regclass('partitions.' || child) IS NOT NULL THEN
                RETURN;
            END IF;
            PERFORM pg_advisory_xact_lock(7203102);
            -- From the table itself: the lookup above has cached that there is none, and this lock empties no cache.
            IF EXISTS (SELECT FROM pg_class WHERE relname = child AND relnamespace = 'partitions'::regnamespace) THEN
                RETURN;
            END IF;
            IF parent = 'usage_minute' THEN
                lower_bound := lower_bound || ' 00:00:00+00';
                upper_bound := upper_bound || ' 00:00:00+00';
            END IF;
            EXECUTE format('CREATE TABLE partitions.%I (LIKE public.%I INCLUDING ALL)', child, parent);
            EXECUTE format('ALTER TABLE partitions.%I ENABLE ROW LEVEL SECURITY', child);
            EXECUTE format('CREATE POLICY system ON partitions.%I TO {SYSTEM_ROLE} USING (true)', child);
            EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION partitions.%I FOR VALUES FROM (%L) TO (%L)',
                           parent, child, lower_bound, upper_bound);
        END $$
    """)
    op.execute("REVOKE EXECUTE ON FUNCTION ensure_usage_partition(text, date) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION ensure_usage_partition(text, date) TO {SYSTEM_ROLE}")
    op.execute("SELECT ensure_usage_partition('usage_events', current) FROM usage_period")


def downgrade() -> None:
    op.execute("DROP VIEW usage_effective")
    for table in (*TABLES, "usage_period", "usage_kept", "outbox", "inbox", "dead_letters"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION notify_outbox()")
    op.execute("DROP FUNCTION ensure_usage_partition(text, date)")
    op.execute("DROP FUNCTION usage_series_id(text, text, text, text, boolean, jsonb, text)")
    op.execute("DROP SCHEMA partitions")
    op.execute("DROP TYPE usage_latest")
