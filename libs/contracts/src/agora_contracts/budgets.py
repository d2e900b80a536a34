"""Budgets: what a tenant lets an account, a rental, a package, an API key or one run spend."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agora_contracts.money import MAX_MICRO, Money

BudgetScope = Literal["account", "deployment", "package", "api_key", "run"]
BudgetPeriod = Literal["day", "month", "total"]
BudgetKind = Literal["soft", "hard"]
Threshold = Annotated[int, Meta(ge=1, le=1000)]
Thresholds = Annotated[list[Threshold], Meta(max_length=10)]
Limit = Annotated[int, Meta(ge=0, le=MAX_MICRO)]

BUDGETS_MAX = 200
"""How many budgets an account may have at once."""


class CreateBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Make a budget of an account. Asking again for the same id with the same words changes nothing.

    `target` names what is limited: a deployment, a package, an API key or a run; none for the whole account. A day
    or month is one of UTC; `total` never begins anew, and is the only period of a run. A hard budget refuses what
    does not fit, a soft one only tells. `thresholds` are percentages of the limit at which what is spent is told.
    Holds that were placed before do not count, unless the budget is for their run.
    """

    budget: str
    tenant: str
    account: str
    scope: BudgetScope
    period: BudgetPeriod
    limit: Money
    kind: BudgetKind
    target: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    thresholds: Thresholds = msgspec.field(default_factory=lambda: [80, 100])
    name: Annotated[str, Meta(max_length=120)] = ""


class ChangeBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Change a budget's limit, kind, thresholds or name from now on; what is not given stays.

    Holds that were placed under a higher limit stay. Under another limit thresholds are told anew.
    """

    budget: str
    tenant: str
    limit: Money | None = None
    kind: BudgetKind | None = None
    thresholds: Thresholds | None = None
    name: Annotated[str, Meta(max_length=120)] | None = None


class DeleteBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Delete a budget: nothing is limited by it any more. Deleting it again changes nothing."""

    budget: str
    tenant: str


class GetBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Read one budget."""

    budget: str
    tenant: str


class ListBudgets(msgspec.Struct, frozen=True, kw_only=True):
    """List an account's budgets in the order in which they were made, deleted ones left out."""

    account: str
    tenant: str


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget and where it stands in its current window (start included, end not; a total has no end).

    `spent` was charged, `reserved` is set aside for runs that go on. `left` is what new holds may still take:
    below zero when the limit was lowered, or a soft budget was passed. Micro-units of `currency`.
    """

    id: str
    account: str
    scope: BudgetScope
    target: str | None
    period: BudgetPeriod
    kind: BudgetKind
    currency: str
    limit: int
    spent: int
    reserved: int
    left: int
    thresholds: list[int]
    window_start: datetime
    window_end: datetime | None
    created_at: datetime
    name: str = ""
    deleted_at: datetime | None = None


class BudgetList(msgspec.Struct, frozen=True, kw_only=True):
    """An account's budgets."""

    items: list[Budget]


class BudgetThresholdReached(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent in a budget's window has reached a percentage of its limit; told once per window and limit."""

    budget: str
    account: str
    scope: BudgetScope
    target: str | None
    kind: BudgetKind
    threshold: int
    limit: Money
    spent: Money
    window_start: datetime
    window_end: datetime | None
    at: datetime
    name: str = ""


class BudgetExhausted(msgspec.Struct, frozen=True, kw_only=True):
    """A hard budget has refused something for the first time in its window and under its limit.

    `needed` is what the refused run asked for, `left` what the budget had.
    """

    budget: str
    account: str
    scope: BudgetScope
    target: str | None
    limit: Money
    spent: Money
    reserved: Money
    left: Money
    needed: Money
    run: str
    window_start: datetime
    window_end: datetime | None
    at: datetime
    name: str = ""
