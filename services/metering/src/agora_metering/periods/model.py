"""What a deployment's month has come to, and the event that tells it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from agora_contracts.ids import derived
from agora_contracts.periods import PeriodTotal


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthTotal:
    """A meter's total of a deployment in a calendar month (UTC), without usage of runs."""

    tenant: str
    deployment: str
    meter: str
    period_start: datetime
    period_end: datetime
    revision: int
    quantity: Decimal
    events: int

    @property
    def fact(self) -> PeriodTotal:
        """What is told of it."""
        return PeriodTotal(
            deployment=self.deployment,
            meter=self.meter,
            period_start=self.period_start,
            period_end=self.period_end,
            revision=self.revision,
            quantity=self.quantity,
            events=self.events,
        )

    @property
    def event_id(self) -> str:
        """The same for the same revision, always."""
        parts = (self.tenant, self.deployment, self.meter, self.period_start.isoformat(), str(self.revision))
        return derived("evt", "PeriodTotal", *parts)
