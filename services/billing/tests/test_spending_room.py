"""Telling those who wait that there is more to spend, over NATS, on the real database."""

import asyncio
from datetime import timedelta

import pytest
from agora_billing.audit.service import verify
from agora_billing.budgets import service as budgets
from agora_contracts.billing import ConfirmHold, IncreaseHold, TopUp
from agora_contracts.budgets import ChangeBudget, DeleteBudget
from agora_contracts.money import Money
from agora_contracts.promotions import GrantPromotion
from agora_contracts.refunds import RefundRun
from agora_contracts.spending import SpendingRoomGrew

from .conftest import ACCOUNT, TENANT, Platform, hold_request, usage
from .test_budgets import CENT, a_budget, refusal, run_to_its_end


@pytest.fixture
def platform(platform: Platform) -> Platform:
    """Billing at a time at which no day or month ends soon."""
    platform.clock.to_midmonth()
    return platform


async def told(platform: Platform) -> list[tuple[str, str | None]]:
    """Why there was more to spend, and by which budget, oldest first."""
    return [(one.data.cause, one.data.budget) for one in await platform.events(SpendingRoomGrew)]


@pytest.mark.emits.with_args(SpendingRoomGrew)
async def test_credit_that_comes_in_is_told_once(platform: Platform):
    """
    A top-up, a grant and a refund are told, each once, though they are asked for twice; what is refused is not.
    """
    await platform.fund(10 * CENT)
    await run_to_its_end(platform, "run_1", 4)
    top_up = TopUp(account=ACCOUNT, tenant=TENANT, amount=Money(amount=CENT), reference="second")
    grant = GrantPromotion(
        account=ACCOUNT, tenant=TENANT, amount=Money(amount=CENT), reference="g", reason="welcome"
    )
    refund = RefundRun(run="run_1", reason="bad luck", reference="r", amount=Money(amount=CENT))

    for command in (top_up, grant, refund) * 2:
        await platform.ask(command)
    await refusal(platform, TopUp(account=ACCOUNT, tenant=TENANT, amount=Money(amount=0), reference="x"))

    assert [("top_up", None), ("top_up", None), ("promotion", None), ("refund", None)] == await told(platform)
    [first, *_] = await platform.events(SpendingRoomGrew)
    assert (ACCOUNT, ACCOUNT, TENANT) == (first.data.account, first.subject, first.tenant)


async def test_a_budget_that_gives_room_is_told(platform: Platform):
    """
    A hard budget that is raised, softened or deleted; not one that is lowered, renamed, hardened, or soft already.
    """
    await platform.fund(0)
    for command in (
        a_budget(3 * CENT),
        ChangeBudget(budget="bud_1", tenant=TENANT, limit=Money(amount=2 * CENT)),
        ChangeBudget(budget="bud_1", tenant=TENANT, name="Monthly"),
    ):
        await platform.ask(command)
    assert [] == await told(platform)

    changes: tuple[ChangeBudget | DeleteBudget, ...] = (
        ChangeBudget(budget="bud_1", tenant=TENANT, limit=Money(amount=4 * CENT)),
        ChangeBudget(budget="bud_1", tenant=TENANT, limit=Money(amount=4 * CENT)),
        ChangeBudget(budget="bud_1", tenant=TENANT, kind="soft"),
        ChangeBudget(budget="bud_1", tenant=TENANT, limit=Money(amount=9 * CENT)),
        ChangeBudget(budget="bud_1", tenant=TENANT, kind="hard"),
        DeleteBudget(budget="bud_1", tenant=TENANT),
        DeleteBudget(budget="bud_1", tenant=TENANT),
    )
    for change in changes:
        await platform.ask(change)

    assert [("budget", "bud_1")] * 3 == await told(platform)


async def test_the_end_of_a_window_that_refused_is_told_once(platform: Platform):
    """
    A day is over in which a budget has refused something: told once, by however many sweeps; a day without is not.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(3 * CENT, period="day"))
    await platform.ask(a_budget(50 * CENT, "bud_wide", period="day"))
    await refusal(platform, hold_request("run_1", 4))
    before = await told(platform)

    await budgets.sweep(platform.database, platform.clock)
    during = await told(platform)
    platform.clock.ahead += timedelta(days=1)
    await asyncio.gather(*(budgets.sweep(platform.database, platform.clock) for _ in range(4)))
    await budgets.sweep(platform.database, platform.clock)

    assert [("top_up", None)] == before == during
    assert [("top_up", None), ("window", "bud_1")] == await told(platform)
    assert "tentative" == (await platform.ask(hold_request("run_2", 3))).state


async def test_a_run_that_waits_for_a_day_to_end_is_increased_then(platform: Platform):
    """
    A run that a day's budget has refused an increase is increased in the next day's window, in which it counts as a whole
    from then on; where that has no room either, it stays where it is.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(6 * CENT, period="day"))
    await platform.ask(hold_request("run_0", 3))
    await platform.ask(hold_request("run_1", 3))
    for run in ("run_0", "run_1"):
        await platform.ask(ConfirmHold(run=run, tenant=TENANT))
    more = IncreaseHold(run="run_1", tenant=TENANT, by=Money(amount=2 * CENT), request="more")

    first = await refusal(platform, more)
    platform.clock.ahead += timedelta(days=1)
    await platform.ask(hold_request("run_2", 2))
    second = await refusal(platform, more)
    in_old = await platform.rows("SELECT reserved, spent FROM budget_windows ORDER BY starts_at")
    await platform.publish(TENANT, usage("run_2", "1"))
    await platform.settled("run_2")
    grown = await platform.ask(more)
    in_new = await platform.rows("SELECT reserved, spent FROM budget_windows ORDER BY starts_at")
    await platform.publish(TENANT, usage("run_1", "5"))
    await platform.settled("run_1")
    at_the_end = await platform.rows("SELECT reserved, spent FROM budget_windows ORDER BY starts_at")

    assert ["budget_exhausted"] * 2 == [first.slug, second.slug]
    assert 5 * CENT == grown.amount.amount
    assert [(6 * CENT, 0), (2 * CENT, 0)] == [tuple(row) for row in in_old]
    assert [(3 * CENT, 0), (5 * CENT, CENT)] == [tuple(row) for row in in_new]
    assert [(3 * CENT, 0), (0, 6 * CENT)] == [tuple(row) for row in at_the_end]
    assert (await verify(platform.database)).ok
