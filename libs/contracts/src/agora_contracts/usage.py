"""Messages of what runs use: the events that metering counts, and how it asks for what it lacks."""

from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

QUANTITY_MAX = Decimal(1_000_000_000_000_000)
QUANTITY_STEP = Decimal("0.000000000001")
"""The largest quantity of a usage event, and the finest difference between two."""
_ZERO = Decimal(0)


class ListRunUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Metering asks which usage event ids a run has recorded."""

    run: str
    tenant: str


class RunUsageIds(msgspec.Struct, frozen=True, kw_only=True):
    """Every usage event id of a run."""

    run: str
    ids: list[str]


class ReplayRunUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: publish a run's usage events and its end again from the outbox."""

    run: str


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages were put back on their way."""

    count: int


class UsageRecorded(msgspec.Struct, frozen=True, kw_only=True):
    """A quantity was used. Its id, source and time are the envelope's.

    Raises:
        ValueError: the quantity is negative, not finite, above `QUANTITY_MAX`, or finer than it may be.
    """

    meter: Annotated[str, Meta(min_length=1, max_length=64)]
    quantity: Decimal
    run: str | None = None
    deployment: str | None = None
    package: str | None = None
    step: str | None = None
    dimensions: dict[str, str] = {}

    def __post_init__(self) -> None:
        # msgspec does not bound Decimal, and this runs for every event: comparisons, no conversions.
        quantity = self.quantity
        if not quantity.is_finite() or not _ZERO <= quantity <= QUANTITY_MAX or quantity % QUANTITY_STEP:
            raise ValueError(
                f"quantity must be from 0 to {QUANTITY_MAX} in steps of {QUANTITY_STEP:f}, not {quantity}"
            )
