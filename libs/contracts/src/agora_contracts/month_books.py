"""What the books have of deployments' months, for whoever compares it with what was told of them."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

MONTHS_MAX = 200


class MonthKey(msgspec.Struct, frozen=True, kw_only=True):
    """A meter of a deployment in the calendar month (UTC) that starts at `period_start`."""

    tenant: str
    deployment: str
    meter: str
    period_start: datetime


class DescribeMonths(msgspec.Struct, frozen=True, kw_only=True):
    """Say what the books have of these months."""

    months: Annotated[list[MonthKey], Meta(max_length=MONTHS_MAX)]


class MonthBooks(msgspec.Struct, frozen=True, kw_only=True):
    """A month in the books: the newest total that was taken up, revision 0 for none.

    `rated` is whether the meter has a price under the deployment's basis; one without costs nothing, and no total of it is
    kept. True, too, where the deployment is not known.
    """

    month: MonthKey
    revision: int
    quantity: Decimal
    rated: bool


class MonthsDescribed(msgspec.Struct, frozen=True, kw_only=True):
    """What the books have of each month that was asked about, in the order asked."""

    items: list[MonthBooks]
