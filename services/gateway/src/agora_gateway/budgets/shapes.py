"""Budgets as the public API shows them."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from agora_contracts.budgets import (
    Budget,
    BudgetKind,
    BudgetList,
    BudgetPeriod,
    BudgetScope,
    ChangeBudget,
    CreateBudget,
    Thresholds,
)
from agora_contracts.money import PublicMoney
from msgspec import Meta

from agora_gateway.edge.shapes import MoneyBody, public_money, read_money

Name = Annotated[str, Meta(max_length=120)]


class BudgetBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be spent.

    `target` names a deployment, package, API key or run, as `scope` says; the whole account has none. A day or a
    month is one of UTC; a run's budget is for `total`. A `hard` budget refuses what does not fit, a `soft` one only
    tells. `thresholds` are percentages of the limit at which what is spent is told by an event.
    """

    scope: BudgetScope
    period: BudgetPeriod
    limit: MoneyBody
    kind: BudgetKind
    target: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    thresholds: Thresholds = msgspec.field(default_factory=lambda: [80, 100])
    name: Name = ""


class BudgetChangeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall be changed; the rest stays. Holds that were placed under a higher limit stay, too."""

    limit: MoneyBody | None = None
    kind: BudgetKind | None = None
    thresholds: Thresholds | None = None
    name: Name | None = None


class BudgetShape(msgspec.Struct, frozen=True, kw_only=True):
    """A budget and where it stands in its current window.

    `spent` was charged, `reserved` is set aside for runs that go on, `left` is what new runs may still take: below
    zero when the limit was lowered, or a soft budget was passed.
    """

    id: str
    name: str
    scope: BudgetScope
    target: str | None
    period: BudgetPeriod
    kind: BudgetKind
    limit: PublicMoney
    spent: PublicMoney
    reserved: PublicMoney
    left: PublicMoney
    thresholds: list[int]
    window_start: datetime
    window_end: datetime | None
    created_at: datetime
    deleted_at: datetime | None = None


class BudgetListShape(msgspec.Struct, frozen=True, kw_only=True):
    """The account's budgets in the order in which they were made."""

    items: list[BudgetShape]


def budget_shape(budget: Budget) -> BudgetShape:
    """A budget for the public."""
    currency = budget.currency
    return BudgetShape(
        id=budget.id,
        name=budget.name,
        scope=budget.scope,
        target=budget.target,
        period=budget.period,
        kind=budget.kind,
        limit=public_money(budget.limit, currency),
        spent=public_money(budget.spent, currency),
        reserved=public_money(budget.reserved, currency),
        left=public_money(budget.left, currency),
        thresholds=budget.thresholds,
        window_start=budget.window_start,
        window_end=budget.window_end,
        created_at=budget.created_at,
        deleted_at=budget.deleted_at,
    )


def budget_list_shape(found: BudgetList) -> BudgetListShape:
    """Budgets for the public."""
    return BudgetListShape(items=[budget_shape(one) for one in found.items])


def creation(budget: str, tenant: str, account: str, given: BudgetBody) -> CreateBudget:
    """The command that makes what was asked for."""
    return CreateBudget(
        budget=budget,
        tenant=tenant,
        account=account,
        scope=given.scope,
        target=given.target,
        period=given.period,
        limit=read_money(given.limit, "/limit"),
        kind=given.kind,
        thresholds=given.thresholds,
        name=given.name,
    )


def change(budget: str, tenant: str, given: BudgetChangeBody) -> ChangeBudget:
    """The command that changes what was asked for."""
    return ChangeBudget(
        budget=budget,
        tenant=tenant,
        limit=None if given.limit is None else read_money(given.limit, "/limit"),
        kind=given.kind,
        thresholds=given.thresholds,
        name=given.name,
    )


# --- examples of the documentation ---------------------------------------------------------------

A_BUDGET_BODY = BudgetBody(
    scope="package",
    target="echo",
    period="month",
    limit=MoneyBody(amount="50.00"),
    kind="hard",
    thresholds=[50, 80],
    name="Echo, a month",
)
A_CHANGE_BODY = BudgetChangeBody(limit=MoneyBody(amount="75.00"))
A_BUDGET = BudgetShape(
    id="bud_0190a5b07c3a7d4e8f00112233445566",
    name="Echo, a month",
    scope="package",
    target="echo",
    period="month",
    kind="hard",
    limit=PublicMoney(amount="50.000000"),
    spent=PublicMoney(amount="12.500000"),
    reserved=PublicMoney(amount="0.500000"),
    left=PublicMoney(amount="37.000000"),
    thresholds=[50, 80],
    window_start=datetime(2026, 1, 1, tzinfo=UTC),
    window_end=datetime(2026, 2, 1, tzinfo=UTC),
    created_at=datetime(2026, 1, 5, 9, 0, tzinfo=UTC),
)
A_BUDGET_LIST = BudgetListShape(items=[A_BUDGET])
