"""Months of usage, as the API shows them."""

from datetime import datetime
from decimal import Decimal

import msgspec
from agora_contracts.billing import QuoteLine
from agora_contracts.money import PublicMoney


class PeriodPosting(msgspec.Struct, frozen=True, kw_only=True):
    """One charge for a month beside those of its runs; negative when something went back."""

    number: int
    at: datetime
    amount: PublicMoney
    explanation: str


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A calendar month (UTC) of one meter: used by runs, reported outside of them, and what that comes to.

    `amount` was charged in all: `by_runs_amount` by its runs, the rest by `postings`.
    """

    id: str
    package: str
    basis: str
    meter: str
    period_start: datetime
    period_end: datetime
    amount: PublicMoney
    by_runs_amount: PublicMoney
    by_runs: Decimal
    reported: Decimal
    runs: int
    price_version: str = ""
    deployment: str | None = None
    lines: list[QuoteLine] = []
    postings: list[PeriodPosting] = []
