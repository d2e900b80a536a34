"""Budgets over NATS, on the real database."""

from datetime import timedelta
from typing import Any

import pytest
from agora_billing.audit.service import verify
from agora_contracts.billing import ConfirmHold, GetBalance, IncreaseHold
from agora_contracts.budgets import (
    Budget,
    BudgetExhausted,
    BudgetThresholdReached,
    ChangeBudget,
    CreateBudget,
    DeleteBudget,
    GetBudget,
    ListBudgets,
)
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.refunds import RefundRun

from .conftest import ACCOUNT, TENANT, Platform, hold_request, usage

CENT = 10_000


@pytest.fixture
def platform(platform: Platform) -> Platform:
    """Billing at a time at which no day or month ends soon."""
    platform.clock.to_midmonth()
    return platform


def a_budget(amount: int = 3 * CENT, budget: str = "bud_1", **other: Any) -> CreateBudget:
    """A hard budget of the account for a month, of three cents unless said otherwise."""
    values: dict[str, Any] = {
        "budget": budget,
        "tenant": TENANT,
        "account": ACCOUNT,
        "scope": "account",
        "period": "month",
        "limit": Money(amount=amount),
        "kind": "hard",
        "thresholds": [],
    }
    return CreateBudget(**(values | other))


async def standing(platform: Platform, budget: str = "bud_1") -> tuple[int, int, int]:
    """What is spent, reserved and left of a budget."""
    found: Budget = await platform.ask(GetBudget(budget=budget, tenant=TENANT))
    return found.spent, found.reserved, found.left


async def refusal(platform: Platform, command: Any) -> AgoraError:
    """Ask for something that must be refused."""
    with pytest.raises(AgoraError) as refused:
        await platform.ask(command)
    return refused.value


async def run_to_its_end(platform: Platform, run: str, held: int = 1, used: int | None = None) -> None:
    """Hold some tasks for a run and settle it."""
    await platform.ask(hold_request(run, held))
    await platform.publish(TENANT, usage(run, str(held if used is None else used)))
    await platform.settled(run)


async def test_a_hold_is_reserved_and_its_charge_is_spent(platform: Platform):
    """
    What a hold sets aside is reserved in the budget; its settlement turns it into what was charged.
    """
    await platform.fund(100 * CENT)
    made = await platform.ask(a_budget(10 * CENT))
    await platform.ask(hold_request("run_1", 4))

    assert (0, 0, 10 * CENT) == (made.spent, made.reserved, made.left)
    assert (0, 4 * CENT, 6 * CENT) == await standing(platform)
    await platform.publish(TENANT, usage("run_1", "3"))
    await platform.settled("run_1")
    assert (3 * CENT, 0, 7 * CENT) == await standing(platform)


@pytest.mark.emits.with_args(BudgetExhausted)
async def test_what_does_not_fit_is_refused_and_told_once(platform: Platform):
    """
    A run beyond a hard budget is refused with its name and what is left; the event comes once in a window.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(name="Monthly"))
    await platform.ask(hold_request("run_1", 2))

    errors = [await refusal(platform, hold_request(f"run_{number}", 2)) for number in (2, 3, 4)]
    fits = await platform.ask(hold_request("run_5", 1))

    assert {"budget_exhausted"} == {error.slug for error in errors}
    assert all("'Monthly' (bud_1)" in str(error) and "0.010000 left" in str(error) for error in errors)
    assert "tentative" == fits.state
    assert (0, 3 * CENT, 0) == await standing(platform)
    [told] = await platform.events(BudgetExhausted)
    assert ("run_2", 2 * CENT, CENT) == (told.data.run, told.data.needed.amount, told.data.left.amount)
    assert 100 * CENT == (await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))).credit


@pytest.mark.emits.with_args(BudgetThresholdReached)
async def test_thresholds_are_told_once_in_a_window(platform: Platform):
    """
    A soft budget refuses nothing: each percentage that is passed is told once, also when two are passed at once.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(4 * CENT, kind="soft", thresholds=[100, 50, 75]))

    for number in range(1, 8):
        await run_to_its_end(platform, f"run_{number}")

    told = [
        (one.data.threshold, one.data.spent.amount) for one in await platform.events(BudgetThresholdReached)
    ]
    assert [(50, 2 * CENT), (75, 3 * CENT), (100, 4 * CENT)] == told
    assert (7 * CENT, 0, -3 * CENT) == await standing(platform)
    await platform.ask(ChangeBudget(budget="bud_1", tenant=TENANT, limit=Money(amount=8 * CENT)))
    assert [50, 75] == [one.data.threshold for one in (await platform.events(BudgetThresholdReached))[3:]]


async def test_each_scope_counts_its_own(platform: Platform):
    """
    A budget counts the runs of its account, rental, package or key, and no others; the tightest decides.
    """
    await platform.fund(100 * CENT)
    for scope, target in (
        ("account", None),
        ("deployment", "dep_1"),
        ("package", "echo"),
        ("api_key", "key_1"),
    ):
        await platform.ask(a_budget(50 * CENT, f"bud_{scope}", scope=scope, target=target))
    await platform.ask(a_budget(2 * CENT, "bud_other", scope="api_key", target="key_2"))
    await platform.ask(a_budget(2 * CENT, "bud_else", scope="package", target="else"))

    await platform.ask(hold_request("run_1", 1))
    await platform.ask(hold_request("run_2", 2, deployment="dep_1"))
    await platform.ask(hold_request("run_3", 4, deployment="dep_2", api_key="key_1"))
    error = await refusal(platform, hold_request("run_4", 3, api_key="key_2"))

    listed = await platform.ask(ListBudgets(account=ACCOUNT, tenant=TENANT))
    assert "bud_other" in str(error)
    assert {
        "bud_account": 7, "bud_deployment": 2, "bud_package": 7, "bud_api_key": 4, "bud_other": 0, "bud_else": 0,
    } == {one.id: one.reserved // CENT for one in listed.items}  # fmt: skip


async def test_windows_begin_anew_and_old_runs_stay_in_theirs(platform: Platform):
    """
    A hold counts in the window in which it was placed, whenever it is settled; the next window starts empty.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(2 * CENT, "bud_day", period="day"))
    await platform.ask(a_budget(4 * CENT, "bud_total", period="total"))
    await platform.ask(hold_request("run_1", 2))
    await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))
    platform.clock.ahead += timedelta(days=1)

    await platform.ask(hold_request("run_2", 2))
    assert (0, 2 * CENT, 0) == await standing(platform, "bud_day")
    await platform.publish(TENANT, usage("run_1", "1"))
    await platform.settled("run_1")

    assert (0, 2 * CENT, 0) == await standing(platform, "bud_day")
    assert (CENT, 2 * CENT, CENT) == await standing(platform, "bud_total")
    rows = await platform.rows(
        "SELECT spent, reserved FROM budget_windows WHERE budget_id = 'bud_day' ORDER BY starts_at"
    )
    assert [(CENT, 0), (0, 2 * CENT)] == [tuple(row) for row in rows]


async def test_a_clock_that_is_behind_opens_no_old_window(platform: Platform):
    """
    Once today's window is open, a process whose clock says yesterday counts in it, too; firm holds stay firm.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(2 * CENT, period="day"))
    platform.clock.ahead += timedelta(days=1)
    await platform.ask(hold_request("run_1", 2))
    await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))

    platform.clock.ahead -= timedelta(days=1)
    error = await refusal(platform, hold_request("run_2", 1))
    platform.clock.ahead += timedelta(days=2)
    await platform.sweep()

    assert "budget_exhausted" == error.slug
    held = (await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))).held
    assert 2 * CENT == held


async def test_refunds_and_corrections_count_in_the_windows_of_the_run(platform: Platform):
    """
    What is given back of a charge is free again in the budget, in the window of the run and no other.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(10 * CENT))
    await run_to_its_end(platform, "run_1", 6)
    await platform.publish(TENANT, usage("run_1", "5", revision=2))
    await platform.adjusted("run_1", 2)
    assert (5 * CENT, 0, 5 * CENT) == await standing(platform)
    platform.clock.ahead += timedelta(days=40)

    await platform.ask(RefundRun(run="run_1", amount=Money(amount=2 * CENT), reason="sorry", reference="r1"))
    await platform.publish(TENANT, usage("run_1", "6", revision=3))
    await platform.adjusted("run_1", 3)

    assert (0, 0, 10 * CENT) == await standing(platform)
    [window] = await platform.rows("SELECT spent, reserved FROM budget_windows")
    assert (4 * CENT, 0) == tuple(window)
    assert (await verify(platform.database)).ok


async def test_a_settlement_beyond_its_hold_keeps_to_the_budget(platform: Platform):
    """
    A charge that is larger than its hold takes free credit only as far as the hard budget has room; the platform
    bears the rest.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(5 * CENT))
    await platform.ask(hold_request("run_1", 2))
    await platform.ask(hold_request("run_2", 2))

    await platform.publish(TENANT, usage("run_1", "9"))
    charge = await platform.settled("run_1")

    assert (9 * CENT, 6 * CENT) == (charge.amount.amount, charge.platform_cost.amount)
    assert (3 * CENT, 2 * CENT, 0) == await standing(platform)
    balance = await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))
    assert (97 * CENT, 2 * CENT) == (balance.credit, balance.held)
    assert (await verify(platform.database)).ok


async def test_a_lowered_limit_keeps_what_is_held_and_refuses_more(platform: Platform):
    """
    Holds that were placed under the old limit stay and may be charged whole; nothing new fits.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(5 * CENT))
    await platform.ask(hold_request("run_1", 4))
    await platform.ask(ChangeBudget(budget="bud_1", tenant=TENANT, limit=Money(amount=2 * CENT)))

    error = await refusal(platform, hold_request("run_2", 1))
    free = await platform.ask(hold_request("run_3", 0))
    await platform.publish(TENANT, usage("run_1", "4"))
    charge = await platform.settled("run_1")

    assert "0.000000 left" in str(error)
    assert "tentative" == free.state
    assert (4 * CENT, 0) == (charge.amount.amount, charge.platform_cost.amount)
    assert (4 * CENT, 0, -2 * CENT) == await standing(platform)


async def test_a_raised_limit_admits_and_tells_anew(platform: Platform):
    """
    Raising the limit lets runs in at once; when that is used up, too, it is told again.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(CENT))
    await platform.ask(hold_request("run_1", 1))
    await refusal(platform, hold_request("run_2", 1))
    await platform.ask(ChangeBudget(budget="bud_1", tenant=TENANT, limit=Money(amount=2 * CENT)))

    assert "tentative" == (await platform.ask(hold_request("run_2", 1))).state
    await refusal(platform, hold_request("run_3", 1))
    assert ["run_2", "run_3"] == [one.data.run for one in await platform.events(BudgetExhausted)]


async def test_a_deleted_budget_limits_nothing(platform: Platform):
    """
    Deleting is final and may be done twice; what goes on is counted to its end without harm.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(CENT))
    await platform.ask(hold_request("run_1", 1))
    command = DeleteBudget(budget="bud_1", tenant=TENANT)

    assert (await platform.ask(command)) == (await platform.ask(command))
    await platform.ask(hold_request("run_2", 9))
    await platform.publish(TENANT, usage("run_1", "2"))
    charge = await platform.settled("run_1")

    assert 0 == charge.platform_cost.amount
    assert [] == (await platform.ask(ListBudgets(account=ACCOUNT, tenant=TENANT))).items
    assert "not_found" == (await refusal(platform, ChangeBudget(budget="bud_1", tenant=TENANT))).slug


async def test_a_run_gets_a_budget_while_it_goes_on(platform: Platform):
    """
    A run's own budget counts what it has reserved already, limits what it asks for, and what it is charged.
    """
    await platform.fund(100 * CENT)
    await platform.ask(hold_request("run_1", 2))
    await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))
    made = await platform.ask(a_budget(3 * CENT, scope="run", target="run_1", period="total"))

    def more(request: str) -> IncreaseHold:
        return IncreaseHold(run="run_1", tenant=TENANT, by=Money(amount=CENT), request=request)

    await platform.ask(more("one"))
    error = await refusal(platform, more("two"))
    await platform.publish(TENANT, usage("run_1", "5"))
    charge = await platform.settled("run_1")

    assert 2 * CENT == made.reserved
    assert "budget_exhausted" == error.slug
    assert (5 * CENT, 2 * CENT) == (charge.amount.amount, charge.platform_cost.amount)
    assert (3 * CENT, 0, 0) == await standing(platform)


async def test_a_hold_whose_time_is_over_is_not_in_the_way(platform: Platform):
    """
    Before anything is refused, holds that have lapsed give back what they reserved, though no sweep came by.
    """
    await platform.fund(3 * CENT)
    await platform.ask(a_budget(2 * CENT))
    await platform.ask(hold_request("run_1", 2))
    await refusal(platform, hold_request("run_2", 2))
    platform.clock.ahead += timedelta(seconds=121)

    assert "tentative" == (await platform.ask(hold_request("run_2", 2))).state
    assert (0, 2 * CENT, 0) == await standing(platform)


async def test_a_late_confirmation_keeps_to_the_budget(platform: Platform):
    """
    A lapsed hold is placed again only if its budget has room; under the next window it counts there.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(2 * CENT, period="day"))
    await platform.ask(hold_request("run_1", 2))
    platform.clock.ahead += timedelta(seconds=121)
    await platform.sweep()
    await platform.ask(hold_request("run_2", 2))
    await platform.ask(ConfirmHold(run="run_2", tenant=TENANT))

    error = await refusal(platform, ConfirmHold(run="run_1", tenant=TENANT))
    platform.clock.ahead += timedelta(days=1)
    confirmed = await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))

    assert "budget_exhausted" == error.slug
    assert ("firm", 2) == (confirmed.state, confirmed.epoch)
    assert (0, 2 * CENT, 0) == await standing(platform)
