"""Meters as data: what is counted of recorded usage, how, and by what it can be grouped; and checking the totals."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Aggregation = Literal["sum", "count", "unique_count", "min", "max", "latest"]
"""What a total says of the events of a span of time. `latest` is the value of the event with the latest time."""

MeterState = Literal["backfilling", "active", "deleting"]

MeterKey = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$(?!\n)")]
DimensionName = Annotated[str, Meta(min_length=1, max_length=64)]
EventName = Annotated[str, Meta(min_length=1, max_length=64)]

DIMENSIONS_MAX = 8
METERS_MAX = 200
"""How many meters a tenant may define."""


class CreateMeter(msgspec.Struct, frozen=True, kw_only=True):
    """Define a meter; what is stored already is counted into it. The same again is the same meter, another conflicts.

    `event` is the recorded meter that it reads, by default the one of its own key. `value` names the dimension whose
    value is aggregated instead of the quantity; an event without it, or for `sum`, `min`, `max` and `latest` with one
    that is no decimal number from 0, is not counted. `unique_count` needs one. `dimensions` are what its totals can be
    grouped and filtered by.
    """

    tenant: str
    key: MeterKey
    unit: Annotated[str, Meta(min_length=1, max_length=32)]
    aggregation: Aggregation
    description: Annotated[str, Meta(max_length=500)] = ""
    event: EventName | None = None
    value: DimensionName | None = None
    dimensions: Annotated[list[DimensionName], Meta(max_length=DIMENSIONS_MAX)] = []


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """A meter. While it is `backfilling`, its totals are not whole yet; `progress_percent` says how far it is.

    `tenant` is `platform` for a meter of all tenants.
    """

    tenant: str
    key: str
    unit: str
    aggregation: Aggregation
    event: str
    state: MeterState
    created_at: datetime
    description: str = ""
    value: str | None = None
    dimensions: list[str] = []
    progress_percent: Annotated[int, Meta(ge=0, le=100)] = 0


class ListMeters(msgspec.Struct, frozen=True, kw_only=True):
    """List a tenant's meters, those of the platform included, by key."""

    tenant: str


class MeterList(msgspec.Struct, frozen=True, kw_only=True):
    """Meters by key."""

    items: list[Meter]


class GetMeter(msgspec.Struct, frozen=True, kw_only=True):
    """Read one meter of a tenant or of the platform."""

    tenant: str
    key: str


class DeleteMeter(msgspec.Struct, frozen=True, kw_only=True):
    """Take a meter's definition away. Usage recorded under its key is summed as it is from then on."""

    tenant: str
    key: str


class RebuildMeter(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: make a meter's totals anew from the stored events, which mends what a check has found.

    The key may be that of a recorded meter that nobody has defined.
    """

    tenant: str
    key: str


class CheckTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: recompute the totals of a UTC day from the stored events. Without a tenant: of all."""

    day: date
    tenant: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class TotalDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A total that is not what the stored events say."""

    tenant: str
    meter: str
    package: str | None
    deployment: str | None
    start: datetime
    grain: Literal["minute", "hour", "day"]
    kept: Decimal
    kept_events: int
    recomputed: Decimal
    recomputed_events: int


class TotalsCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found: how many totals were recomputed, and every one that differs, up to the limit."""

    day: date
    checked: int
    differences: list[TotalDifference]
