"""Calendar months: usage of a deployment outside of runs, and what a month has come to."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from agora_contracts.billing import QuoteLine
from agora_contracts.money import Money

RENTAL_METERS = {"hour": "deployment.hours", "month": "deployment.months"}
"""What a rental is rated by: the time of its deployment, by basis."""


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


class PeriodCharged(msgspec.Struct, frozen=True, kw_only=True):
    """Something was charged for a month beside what its runs were charged, or given back (negative `difference`).

    `number` counts from 1 by period. `amount` is what the month's usage comes to now, runs included; `lines` are that
    amount line by line. `platform_cost` is what of the difference the platform bears.
    """

    period: str
    account: str
    package: str
    meter: str
    number: int
    period_start: datetime
    period_end: datetime
    lines: list[QuoteLine]
    amount: Money
    difference: Money
    platform_cost: Money
    cause: str
    at: datetime
    deployment: str | None = None


class ListPeriods(msgspec.Struct, frozen=True, kw_only=True):
    """List what months have come to on an account, the newest month first."""

    account: str
    tenant: str
    deployment: str | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class PeriodPosting(msgspec.Struct, frozen=True, kw_only=True):
    """One charge for a month beside those of its runs; negative when something went back. Micro-units."""

    number: int
    at: datetime
    amount: int
    explanation: str


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A month of one meter: what was used by runs and reported outside of them, and what that comes to, line by line.

    `amount` (micro-units) was charged in all: `by_runs_amount` by its runs, the rest by `postings`.
    """

    id: str
    account: str
    package: str
    basis: str
    meter: str
    currency: str
    period_start: datetime
    period_end: datetime
    price_version: str
    by_runs: Decimal
    reported: Decimal
    runs: int
    lines: list[QuoteLine]
    amount: int
    by_runs_amount: int
    postings: list[PeriodPosting] = []
    deployment: str | None = None


class PeriodPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of months."""

    items: list[Period]
    next_cursor: str | None = None
