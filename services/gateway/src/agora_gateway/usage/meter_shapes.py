"""Meters as the public API takes them, and examples."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from agora_contracts.meters import (
    DIMENSIONS_MAX,
    Aggregation,
    CreateMeter,
    DimensionName,
    EventName,
    Meter,
    MeterKey,
)
from msgspec import Meta


class NewMeterBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A meter: which reported usage (`event`, by default the key itself) it counts, and how.

    `value` names the dimension that is aggregated instead of the quantity; `unique_count` needs it. `dimensions` are
    what its totals can be grouped and filtered by.
    """

    key: MeterKey
    unit: Annotated[str, Meta(min_length=1, max_length=32)]
    aggregation: Aggregation
    description: Annotated[str, Meta(max_length=500)] = ""
    event: EventName | None = None
    value: DimensionName | None = None
    dimensions: Annotated[list[DimensionName], Meta(max_length=DIMENSIONS_MAX)] = []

    def command(self, tenant: str) -> CreateMeter:
        """The command that defines it for a tenant."""
        return CreateMeter(
            tenant=tenant,
            key=self.key,
            unit=self.unit,
            aggregation=self.aggregation,
            description=self.description,
            event=self.event,
            value=self.value,
            dimensions=self.dimensions,
        )


A_NEW_METER = NewMeterBody(
    key="active-users",
    unit="users",
    aggregation="unique_count",
    description="Who called the API",
    event="api.calls",
    value="user",
    dimensions=["region"],
)

A_METER = Meter(
    tenant="ten_0190a5b07c3a7d4e8f00112233445566",
    key="active-users",
    unit="users",
    aggregation="unique_count",
    event="api.calls",
    state="backfilling",
    created_at=datetime(2026, 1, 5, 9, 0, tzinfo=UTC),
    description="Who called the API",
    value="user",
    dimensions=["region"],
    progress_percent=40,
)
