"""Usage of a deployment outside of runs, totalled by calendar month: what is rated by the month."""

from datetime import datetime
from decimal import Decimal

import msgspec


class PeriodTotal(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment has used of a meter, outside of runs, in a calendar month (UTC) so far.

    Each revision replaces the one before it. `quantity` is the meter's own aggregation over the month.
    """

    deployment: str
    meter: str
    period_start: datetime
    period_end: datetime
    revision: int
    quantity: Decimal
    events: int
