"""The tables of totals: series, what is to be added to them, and what they came to."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from agora_metering.database import metadata

GRAINS = ("minute", "hour", "day")

usage_series = Table(
    "usage_series",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("package", Text),
    Column("deployment", Text),
    Column("standing", Boolean, nullable=False),
    Column("dimensions", JSONB),
    Column("value", Text),
    Column("merge", SmallInteger, nullable=False),
    PrimaryKeyConstraint("id"),
)
Index("ix_usage_series_tenant_id_meter", usage_series.c.tenant_id, usage_series.c.meter)

usage_deltas = Table(
    "usage_deltas",
    metadata,
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("series", Uuid, nullable=False),
    Column("start", DateTime(timezone=True), nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("latest_at", DateTime(timezone=True)),
    Column("merge", SmallInteger, nullable=False),
    Column("standing", Boolean, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("package", Text),
    Column("deployment", Text),
    Column("quantity", Numeric, nullable=False),
    Column("latest_id", Text),
    Column("value", Text),
    Column("dimensions", JSONB),
    PrimaryKeyConstraint("seq"),
)
Index("ix_usage_deltas_tenant_id", usage_deltas.c.tenant_id)

for _grain in GRAINS:
    Table(
        f"usage_{_grain}",
        metadata,
        Column("series", Uuid, nullable=False),
        Column("start", DateTime(timezone=True), nullable=False),
        Column("events", BigInteger, nullable=False),
        Column("latest_at", DateTime(timezone=True)),
        Column("merge", SmallInteger, nullable=False),
        Column("tenant_id", Text, nullable=False),
        Column("quantity", Numeric, nullable=False),
        Column("latest_id", Text),
        PrimaryKeyConstraint("series", "start"),
    )
