"""Tables of runs, their steps, their journal, and what attempts cost that nobody is billed for."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from agora_execution.database import metadata

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("deployment_id", Text),
    Column("package", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("price_version", Text, nullable=False),
    Column("basis", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("input", JSONB, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("artifact", Text),
    Column("status", Text, nullable=False),
    Column("waiting_for", Text),
    Column("quoted", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("hold_epoch", Integer, nullable=False),
    Column("timeout_seconds", Integer, nullable=False),
    Column("model_cost", BigInteger, nullable=False, server_default="0"),
    Column("model_reserved", BigInteger, nullable=False, server_default="0"),
    Column("model_spent", BigInteger, nullable=False, server_default="0"),
    Column("model_retries", Integer, nullable=False, server_default="0"),
    Column("next_seq", Integer, nullable=False, server_default="1"),
    Column("steps", Integer, nullable=False, server_default="0"),
    Column("usage_count", Integer, nullable=False, server_default="0"),
    Column("usage", JSONB, nullable=False, server_default="{}"),
    Column("output", JSONB),
    Column("deliverable", Text),
    Column("delivered_units", BigInteger),
    Column("error", JSONB),
    Column("cost", BigInteger),
    Column("charged", BigInteger),
    Column("charge_revision", Integer, nullable=False, server_default="0"),
    Column("refunded", BigInteger, nullable=False, server_default="0"),
    Column("refund_number", Integer, nullable=False, server_default="0"),
    Column("accepted_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("cancel_requested_at", DateTime(timezone=True)),
    Column("checked_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("parent_id", Text),
    Column("parent_step", Text),
    Column("title", Text, nullable=False, server_default=""),
    Column("call_path", ARRAY(Text), nullable=False, server_default="{}"),
    Column("max_cost", BigInteger),
    Column("origin_id", Text),
    Column("origin_seq", Integer),
    Column("pause_requested_at", DateTime(timezone=True)),
    Column("waiting_since", DateTime(timezone=True)),
    Column("waited_seconds", Double, nullable=False, server_default="0"),
)
Index("ix_runs_tenant", runs.c.tenant_id, runs.c.accepted_at, runs.c.id)
Index("ix_runs_unfinished", runs.c.checked_at, postgresql_where=runs.c.finished_at.is_(None))
Index(
    "ix_runs_package_finished",
    runs.c.package,
    runs.c.finished_at,
    postgresql_where=runs.c.finished_at.is_not(None),
)

Index(
    "ix_runs_parent",
    runs.c.parent_id,
    runs.c.accepted_at,
    runs.c.id,
    postgresql_where=runs.c.parent_id.is_not(None),
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("node", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("visit", Integer, nullable=False),
    Column("branch", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True), nullable=False),
    Column("usage", JSONB, nullable=False),
    Column("summary", Text, nullable=False),
    Column("result", LargeBinary, nullable=False),
    PrimaryKeyConstraint("run_id", "id"),
)

run_events = Table(
    "run_events",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("data", JSONB, nullable=False),
    PrimaryKeyConstraint("run_id", "seq"),
)

platform_costs = Table(
    "platform_costs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("quantity", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
Index("ix_platform_costs_run_id", platform_costs.c.run_id)
