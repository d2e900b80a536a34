"""What budgets there can be: their windows, what is refused, and whose they are."""

import asyncio
from datetime import UTC, datetime

import pytest
from agora_billing.budgets.model import window_of
from agora_contracts.budgets import ChangeBudget, DeleteBudget, GetBudget, ListBudgets
from agora_contracts.money import Money

from .conftest import ACCOUNT, Platform
from .test_budgets import CENT, a_budget, refusal, standing


@pytest.mark.parametrize(
    ("period", "now", "start", "end"),
    [
        ("day", datetime(2028, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC), "2028-02-29", "2028-03-01"),
        ("month", datetime(2028, 2, 29, 23, 59, tzinfo=UTC), "2028-02-01", "2028-03-01"),
        ("month", datetime(2027, 12, 31, 23, 59, tzinfo=UTC), "2027-12-01", "2028-01-01"),
        ("month", datetime(2027, 1, 31, tzinfo=UTC), "2027-01-01", "2027-02-01"),
        # half past midnight in Berlin's summer is yesterday in UTC
        ("day", datetime.fromisoformat("2027-07-01T00:30:00+02:00"), "2027-06-30", "2027-07-01"),
        ("month", datetime.fromisoformat("2027-07-01T00:30:00+02:00"), "2027-06-01", "2027-07-01"),
    ],
)
def test_windows_are_days_and_months_of_utc(period, now, start, end):
    """
    Leap days, the end of a year, and a moment told in another zone.
    """
    assert [f"{start}T00:00:00+00:00", f"{end}T00:00:00+00:00"] == [
        None if at is None else at.isoformat() for at in window_of(period, now, now)
    ]


@pytest.mark.parametrize(
    ("change", "slug", "field"),
    [
        ({"account": "acc_none"}, "not_found", None),
        ({"tenant": "ten_other"}, "not_found", None),
        ({"limit": Money(amount=CENT, currency="EUR")}, "currency_mismatch", None),
        ({"limit": Money(amount=-1)}, "invalid_input", "/limit"),
        ({"limit": Money(amount=2**63)}, "invalid_input", "/limit"),
        ({"target": "dep_1"}, "invalid_input", "/target"),
        ({"scope": "package"}, "invalid_input", "/target"),
        ({"scope": "run", "target": "run_1"}, "invalid_input", "/period"),
        ({"scope": "run", "target": "run_none", "period": "total"}, "not_found", None),
    ],
)
async def test_a_budget_that_cannot_be_is_refused(platform: Platform, change, slug, field):
    """
    Each refusal has its own problem, names the field, and leaves nothing behind.
    """
    await platform.fund(100 * CENT)

    error = await refusal(platform, a_budget(**change))

    assert slug == error.slug, str(error)
    assert [field] == [one.field for one in error.problem.errors] or field is None
    assert [] == await platform.rows("SELECT 1 FROM budgets")


async def test_another_tenants_budget_looks_like_none(platform: Platform):
    """
    Reading, changing and deleting another tenant's budget answers not_found.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget())

    for command in (
        GetBudget(budget="bud_1", tenant="ten_other"),
        ChangeBudget(budget="bud_1", tenant="ten_other", kind="soft"),
        DeleteBudget(budget="bud_1", tenant="ten_other"),
        ListBudgets(account=ACCOUNT, tenant="ten_other"),
    ):
        assert "not_found" == (await refusal(platform, command)).slug
    assert (0, 0, 3 * CENT) == await standing(platform)


async def test_the_same_budget_is_made_once(platform: Platform):
    """
    Asked for ten times at once it is one; the same id with other words conflicts.
    """
    await platform.fund(100 * CENT)

    made = await asyncio.gather(*(platform.ask(a_budget()) for _ in range(10)))
    error = await refusal(platform, a_budget(scope="package", target="echo"))

    assert {"bud_1"} == {one.id for one in made}
    assert "idempotency_conflict" == error.slug
    assert 1 == len(await platform.rows("SELECT 1 FROM budgets"))
