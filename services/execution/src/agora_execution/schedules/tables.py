"""Tables of schedules and of what came of their times."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

from agora_execution.database import metadata

schedules = Table(
    "schedules",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("version", Text),
    Column("deployment_id", Text),
    Column("input", JSONB, nullable=False),
    Column("cron", Text),
    Column("fires_at", DateTime(timezone=True)),
    Column("time_zone", Text, nullable=False),
    Column("overlap", Text, nullable=False),
    Column("failures_max", Integer, nullable=False),
    Column("max_cost", BigInteger),
    Column("currency", Text, nullable=False, server_default="USD"),
    Column("paused_for", JSONB),
    # Fires from before this moment are no longer counted as failures.
    Column("counted_from", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("next_times", JSONB, nullable=False, server_default="[]"),
    # `revision` is what the row says; `synced_revision` what Temporal was told last.
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("synced_revision", Integer, nullable=False, server_default="0"),
    Column("key_expires_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("checked_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
Index("ix_schedules_tenant", schedules.c.tenant_id, schedules.c.created_at, schedules.c.id)
Index("ix_schedules_unsynced", schedules.c.checked_at, postgresql_where=text("synced_revision < revision"))
Index(
    "ix_schedules_checked_at", schedules.c.checked_at, postgresql_where=text("state IN ('active', 'paused')")
)
Index("ix_schedules_deployment_id", schedules.c.deployment_id, postgresql_where=text("state = 'active'"))
Index(
    "ix_schedules_fires_at",
    schedules.c.fires_at,
    postgresql_where=text("state = 'active' AND fires_at IS NOT NULL"),
)
Index(
    "ix_schedules_key_expires_at",
    schedules.c.key_expires_at,
    postgresql_where=text("state = 'active' AND key_expires_at IS NOT NULL"),
)

fires = Table(
    "schedule_fires",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("schedule_id", Text, nullable=False),
    Column("scheduled_for", DateTime(timezone=True), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("checked_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("state", Text, nullable=False),
    Column("manual", Boolean, nullable=False),
    Column("run_id", Text),
    Column("reason", JSONB),
    # The key that triggered it; those of the clock run under the schedule's.
    Column("requested_by", Text, nullable=False, server_default=""),
    # Whether it was looked at whether its schedule pauses, since its run ended.
    Column("judged", Boolean, nullable=False, server_default=text("false")),
)
Index("ix_schedule_fires_schedule", fires.c.schedule_id, fires.c.at, fires.c.id)
Index(
    "ix_schedule_fires_decided",
    fires.c.schedule_id,
    fires.c.at,
    postgresql_where=text("state IN ('starting', 'started', 'refused')"),
)
Index(
    "ix_schedule_fires_open", fires.c.checked_at, postgresql_where=text("state IN ('starting', 'buffered')")
)
Index("ix_schedule_fires_at", fires.c.at)
Index("ix_schedule_fires_unjudged", fires.c.at, postgresql_where=text("state = 'started' AND NOT judged"))

# What the gateway told: a schedule that was made while its key was revoked is recognised.
revoked_keys = Table(
    "revoked_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)
Index("ix_revoked_keys_at", revoked_keys.c.at)
