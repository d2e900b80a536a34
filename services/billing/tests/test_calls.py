"""Holds of runs that other runs call: carved out of the caller's, over NATS, on the real database."""

import asyncio
from datetime import timedelta

import pytest
from agora_billing.app import build
from agora_billing.audit.service import verify
from agora_billing.settings import BillingSettings
from agora_contracts.billing import GetBalance, Hold, IncreaseHold
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunAccepted

from .calling import CENT, HELPER, begin, called, calling, calls_left, cents, confirm, kept, publish_helper
from .conftest import ACCOUNT, TENANT, Platform, hold_request, usage
from .test_budgets import a_budget, refusal, standing

LAPSED = timedelta(seconds=121)


@pytest.fixture
async def platform(platform: Platform) -> Platform:
    """Billing with another package's price, at a time at which no day or month ends soon."""
    platform.clock.to_midmonth()
    await publish_helper(platform)
    return platform


async def balance(platform: Platform) -> tuple[int, int]:
    """What is held and what is available, in cents."""
    found = await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))
    return found.held // CENT, found.available // CENT


def increase(run: str, by: int, request: str = "more", **other) -> IncreaseHold:
    """A request for more, in cents."""
    return IncreaseHold(run=run, tenant=TENANT, by=Money(amount=by * CENT), request=request, **other)


async def test_a_called_run_is_held_out_of_its_callers_hold(platform: Platform):
    """
    The amount moves from one hold into the other: the account has as much held and available as before.
    """
    await platform.fund(100 * CENT)
    caller = await begin(platform, calling())
    before = await balance(platform)

    hold = await platform.ask(called("run_c", 4))

    assert (11 * CENT, 10) == (caller.amount.amount, calls_left(caller))
    assert ("tentative", 4 * CENT, None) == (hold.state, hold.amount.amount, hold.calls_left)
    assert ("firm", 7, 4) == await kept(platform, "run_p")
    assert (11, 89) == before == await balance(platform)
    assert 6 * CENT == (await platform.ask(calling())).calls_left.amount
    assert (await verify(platform.database)).ok


async def test_the_callers_own_price_stays_covered(platform: Platform):
    """
    No more is carved than was set aside for calls; the refusal says what is left, and a part may be accepted.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling(tasks=3, calls=10))
    await platform.ask(called("run_c", 4))

    error = await refusal(platform, called("run_d", 7))
    part = await platform.ask(called("run_e", 7, accept_partial=Money(amount=CENT)))
    none_left = await refusal(platform, called("run_f", 1))

    assert "budget_exhausted" == error.slug
    assert f"the calling run has {cents(6)} left of {cents(10)} for calls" in str(error)
    assert [("/parent", f"has {cents(6)} left")] == [(one.field, one.detail) for one in error.problem.errors]
    assert (6 * CENT, True) == (part.amount.amount, part.partial)
    assert "budget_exhausted" == none_left.slug
    assert ("firm", 3, 10) == await kept(platform, "run_p")


async def test_a_partial_hold_pays_its_own_price_first(platform: Platform):
    """
    Where a caller got less than its quote, what lacks is missing for calls.
    """
    await platform.fund(5 * CENT)
    hold = await begin(platform, calling(tasks=3, calls=10, accept_partial=Money(amount=CENT)))

    assert (5 * CENT, 2) == (hold.amount.amount, calls_left(hold))


async def test_a_run_without_a_part_for_calls_pays_for_none(platform: Platform):
    """
    A run that was not quoted any calls cannot pay for one.
    """
    await platform.fund(100 * CENT)
    await begin(platform, hold_request("run_p", 5))

    error = await refusal(platform, called("run_c"))
    assert "budget_exhausted" == error.slug
    assert "limits.calls_cost_max" in str(error)
    assert "tentative" == (await platform.ask(called("run_d", 0))).state


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"parent": "run_none"}, "not_found"),
        ({"parent": "run_tentative"}, "hold_closed"),
        ({"parent": "run_settled"}, "hold_closed"),
        ({"account": "acc_other"}, "conflict"),
        ({"run": "run_p", "fingerprint": "f1"}, "idempotency_conflict"),
        ({"run_limit": Money(amount=CENT - 1)}, "budget_exhausted"),
    ],
)
async def test_a_caller_that_cannot_pay_is_refused(platform: Platform, change, slug):
    """
    A caller that is not there, not confirmed yet, charged already, of another account, or the run itself.
    """
    await platform.fund(100 * CENT)
    await platform.fund(100 * CENT, account="acc_other")
    await begin(platform, calling())
    await platform.ask(calling("run_tentative"))
    await begin(platform, calling("run_settled"))
    await platform.publish(TENANT, usage("run_settled"))
    await platform.settled("run_settled")

    error = await refusal(platform, called(**({"run": "run_c"} | change)))

    assert slug == error.slug
    assert ("firm", 11, 0) == await kept(platform, "run_p")
    assert (await verify(platform.database)).ok


async def test_another_tenants_run_calls_nothing_here(platform: Platform):
    """
    A caller of another tenant looks like none.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())

    assert "not_found" == (await refusal(platform, called("run_c", tenant="ten_other"))).slug


async def test_a_called_run_is_placed_once(platform: Platform):
    """
    Twenty times at once: one hold, carved once. Under another caller it is another request.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await begin(platform, calling("run_q"))

    holds = await asyncio.gather(*(platform.ask(called("run_c", 2)) for _ in range(20)))

    assert {("run_c", 1, 2 * CENT)} == {(hold.run, hold.epoch, hold.amount.amount) for hold in holds}
    assert ("firm", 9, 2) == await kept(platform, "run_p")
    assert "idempotency_conflict" == (await refusal(platform, called("run_c", 2, parent="run_q"))).slug
    assert "idempotency_conflict" == (await refusal(platform, hold_request("run_c", 2))).slug


async def test_calls_go_three_deep(platform: Platform):
    """
    A called run calls on with its own part, and so on; each carves out of the one above it.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling("run_0", calls=10))
    for depth, calls in ((1, 6), (2, 3)):
        await begin(platform, calling(f"run_{depth}", calls=calls, parent=f"run_{depth - 1}"))
    await begin(platform, called("run_3", 2, parent="run_2"))

    assert [("firm", 4, 7), ("firm", 3, 4), ("firm", 2, 2), ("firm", 2, 0)] == [
        await kept(platform, f"run_{depth}") for depth in range(4)
    ]
    assert (11, 89) == await balance(platform)
    assert "budget_exhausted" == (await refusal(platform, called("run_4", 2, parent="run_2"))).slug
    assert (await verify(platform.database)).ok


# --- what comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sweep", "in the way"])
async def test_a_called_run_that_lapses_gives_back(platform: Platform, way: str):
    """
    What a called run was given comes back to the caller when it is not confirmed in time, be it by the sweep or because
    another call is in need of it.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await platform.ask(called("run_c", 8))
    platform.clock.ahead += LAPSED

    if way == "sweep":
        await platform.sweep()
        assert ("firm", 11, 0) == await kept(platform, "run_p")
    await platform.ask(called("run_d", 9))

    assert ("lapsed", 8, 0) == await kept(platform, "run_c")
    assert ("firm", 2, 9) == await kept(platform, "run_p")
    assert (11, 89) == await balance(platform)
    assert (await verify(platform.database)).ok


async def test_a_late_confirmation_carves_again(platform: Platform):
    """
    A lapsed call is confirmed under the next epoch while its caller has enough left, and refused when not.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await platform.ask(called("run_c", 8))
    platform.clock.ahead += LAPSED
    await platform.sweep()

    again = await platform.ask(confirm("run_c"))
    await platform.ask(called("run_d", 2))
    platform.clock.ahead += LAPSED
    await platform.sweep()
    await platform.ask(called("run_e", 1))
    too_late = await refusal(platform, confirm("run_d"))

    assert (2, "firm", 8 * CENT) == (again.epoch, again.state, again.amount.amount)
    assert "budget_exhausted" == too_late.slug
    assert ("firm", 2, 9) == await kept(platform, "run_p")
    assert (await verify(platform.database)).ok


async def test_a_call_that_lapses_after_its_caller_has_ended_gives_back_to_the_account(platform: Platform):
    """
    The caller ends first: what the call was given stays held, then goes to the account; it is not confirmed any more.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await platform.ask(called("run_c", 8))
    await platform.publish(TENANT, usage("run_p"))
    await platform.settled("run_p")
    assert (8, 91) == await balance(platform)
    platform.clock.ahead += LAPSED

    await platform.sweep()

    assert (0, 99) == await balance(platform)
    assert ("settled", 3, 0) == await kept(platform, "run_p")
    assert "hold_closed" == (await refusal(platform, confirm("run_c"))).slug
    assert (await verify(platform.database)).ok


async def test_a_caller_with_open_calls_never_lapses(platform: Platform):
    """
    Only a firm hold is carved, and a firm one never lapses: the calls of a run that goes on for days stay covered.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await begin(platform, called("run_c", 8))
    platform.clock.ahead += timedelta(days=2)

    await platform.sweep()

    assert ("firm", 3, 8) == await kept(platform, "run_p")
    assert ("firm", 8, 0) == await kept(platform, "run_c")


async def test_an_accepted_call_without_a_hold_is_carved_of_its_caller(platform: Platform):
    """
    Where billing has no hold of an accepted call, it is made of the event: with its caller, its key and its limit.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    accepted = RunAccepted(
        run="run_c",
        account=ACCOUNT,
        package="helper",
        version="1.0.0",
        price_version=HELPER,
        basis="task",
        hold_epoch=1,
        quoted=Money(amount=4 * CENT),
        api_key="key_1",
        run_limit=Money(amount=5 * CENT),
        parent="run_p",
    )

    await platform.publish(TENANT, accepted, entity="run_c")
    [row] = await platform.until(
        lambda: platform.rows(
            "SELECT parent, api_key, run_limit, from_parent FROM holds WHERE run = 'run_c' AND state = 'firm'"
        )
    )

    assert ("run_p", "key_1", 5 * CENT, 4 * CENT) == tuple(row)
    assert ("firm", 7, 4) == await kept(platform, "run_p")
    assert (11, 89) == await balance(platform)


# --- more for calls ------------------------------------------------------------------------------


async def test_the_part_for_calls_grows(platform: Platform):
    """
    A caller is increased for calls, or for itself, which leaves the part for calls as it is.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())

    for_itself = await platform.ask(increase("run_p", 5, "itself"))
    for_calls = await platform.ask(increase("run_p", 5, "calls", meter="agents.cost"))
    again = await platform.ask(increase("run_p", 5, "calls", meter="agents.cost"))

    assert (16 * CENT, 10 * CENT) == (for_itself.amount.amount, for_itself.calls_left.amount)
    assert (21 * CENT, 15 * CENT, 5 * CENT) == (
        for_calls.amount.amount, for_calls.calls_left.amount, for_calls.increased.amount,
    )  # fmt: skip
    assert for_calls == again
    assert "tentative" == (await platform.ask(called("run_c", 15))).state
    assert ("firm", 6, 15) == await kept(platform, "run_p")


async def test_a_called_run_is_increased_out_of_its_caller(platform: Platform):
    """
    A called run takes more of what its caller has left for calls, never of the account, and nothing after its end.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await begin(platform, called("run_c", 4))

    grown = await platform.ask(increase("run_c", 5))
    error = await refusal(platform, increase("run_c", 2, "again"))
    part = await platform.ask(increase("run_c", 2, "part", accept_partial=Money(amount=CENT)))
    await platform.publish(TENANT, usage("run_p"))
    await platform.settled("run_p")
    ended = await refusal(platform, increase("run_c", 1, "late"))

    assert (9 * CENT, 5 * CENT) == (grown.amount.amount, grown.increased.amount)
    assert "budget_exhausted" == error.slug
    assert f"the calling run has {cents(1)} left" in str(error)
    assert (10 * CENT, True, CENT) == (part.amount.amount, part.partial, part.increased.amount)
    assert "hold_closed" == ended.slug
    assert (10, 89) == await balance(platform)
    assert (await verify(platform.database)).ok


async def test_the_limit_of_a_caller_is_for_all_that_it_calls(platform: Platform):
    """
    What called runs have taken counts in their caller's own limit.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling(run_limit=Money(amount=12 * CENT)))
    await platform.ask(called("run_c", 10))

    error = await refusal(platform, increase("run_p", 2))
    fits = await platform.ask(increase("run_p", 1))

    assert "budget_exhausted" == error.slug
    assert f"{cents(1)} left of {cents(12)}" in str(error)
    assert 2 * CENT == fits.amount.amount


# --- budgets -------------------------------------------------------------------------------------


async def test_budgets_of_the_caller_stay_as_they_are(platform: Platform):
    """
    A call counts where its caller counts, and in the budgets of its own package besides; what it leaves comes back.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(50 * CENT))
    await platform.ask(a_budget(50 * CENT, "bud_caller", scope="package", target="echo"))
    await platform.ask(a_budget(50 * CENT, "bud_called", scope="package", target="helper"))
    await platform.ask(a_budget(50 * CENT, "bud_key", scope="api_key", target="key_1"))
    await begin(platform, calling(api_key="key_1"))
    names = ("bud_1", "bud_caller", "bud_called", "bud_key")

    await begin(platform, called("run_c", 4, api_key="key_2"))
    held = [(await standing(platform, one))[:2] for one in names]
    await platform.publish(TENANT, usage("run_c", "3"))
    await platform.settled("run_c")
    after = [(await standing(platform, one))[:2] for one in names]
    await platform.publish(TENANT, usage("run_p"))
    await platform.settled("run_p")
    at_the_end = [(await standing(platform, one))[:2] for one in names]

    caller, other = (0, 11 * CENT), (0, 4 * CENT)
    assert [caller, caller, other, caller] == held
    assert [(3 * CENT, 8 * CENT), (3 * CENT, 8 * CENT), (3 * CENT, 0), (3 * CENT, 8 * CENT)] == after
    assert [(4 * CENT, 0), (4 * CENT, 0), (3 * CENT, 0), (4 * CENT, 0)] == at_the_end
    assert (await verify(platform.database)).ok


async def test_a_budget_of_the_called_package_refuses_a_call(platform: Platform):
    """
    A full budget of the called package refuses; one of the account, in which the caller has reserved it, does not.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(11 * CENT))
    await platform.ask(a_budget(3 * CENT, "bud_called", scope="package", target="helper"))
    await begin(platform, calling())

    error = await refusal(platform, called("run_c", 4))
    fits = await platform.ask(called("run_d", 3))

    assert "budget_exhausted" == error.slug
    assert "bud_called" in str(error)
    assert "tentative" == fits.state
    assert (0, 11 * CENT, 0) == await standing(platform)


async def test_calls_count_in_the_windows_of_their_caller(platform: Platform):
    """
    A run of yesterday calls today: what it has reserved yesterday is spent in yesterday's window.
    """
    await platform.fund(100 * CENT)
    await platform.ask(a_budget(11 * CENT, period="day"))
    await begin(platform, calling())
    platform.clock.ahead += timedelta(days=1)

    await begin(platform, called("run_c", 4))
    await platform.publish(TENANT, usage("run_c", "4"))
    await platform.settled("run_c")

    assert (0, 0, 11 * CENT) == await standing(platform)
    [old] = await platform.rows("SELECT reserved, spent FROM budget_windows ORDER BY starts_at LIMIT 1")
    assert (7 * CENT, 4 * CENT) == tuple(old)
    assert (await verify(platform.database)).ok


async def test_a_budget_for_a_run_counts_what_it_calls(platform: Platform):
    """
    A budget that is made for a run while it goes on counts its calls, open and charged, and those to come.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    for run in ("run_c", "run_d"):
        await begin(platform, called(run, 3))
    await platform.publish(TENANT, usage("run_c", "2"))
    await platform.settled("run_c")

    await platform.ask(a_budget(50 * CENT, "bud_run", scope="run", target="run_p", period="total"))
    now = await standing(platform, "bud_run")
    await begin(platform, called("run_e", 5))
    for run, tasks in (("run_d", "3"), ("run_e", "1"), ("run_p", "1")):
        await platform.publish(TENANT, usage(run, tasks))
        await platform.settled(run)

    assert (2 * CENT, 9 * CENT) == now[:2]
    assert (7 * CENT, 0) == (await standing(platform, "bud_run"))[:2]
    assert (await verify(platform.database)).ok


# --- many at once --------------------------------------------------------------------------------


async def test_two_hundred_calls_at_once_through_two_replicas(platform: Platform, settings: BillingSettings):
    """
    Two hundred at once carve exactly what there is, and none is refused while there is room; when half have ended for
    less, exactly what came back is carved again.
    """
    other = build(settings, platform.clock)
    await other.start()
    try:
        await platform.fund(500 * CENT)
        await begin(platform, calling(calls=137))

        async def place(run: str) -> Hold | AgoraError:
            try:
                hold: Hold = await platform.asker.ask(called(run), deadline_seconds=60)
                return hold
            except AgoraError as error:
                return error

        first = await asyncio.gather(*(place(f"run_{number}") for number in range(200)))
        admitted = [one.run for one in first if isinstance(one, Hold)]
        await platform.publish(TENANT, *(usage(run, "0.5") for run in admitted[:60]))
        await platform.until(lambda: platform.rows("SELECT 1 FROM charges HAVING count(*) = 60"))
        second = await asyncio.gather(*(place(f"run_again_{number}") for number in range(100)))
    finally:
        await other.stop()

    slugs = {one.slug for one in (*first, *second) if isinstance(one, AgoraError)}
    assert {"budget_exhausted"} == slugs
    assert [137, 30] == [sum(isinstance(one, Hold) for one in some) for some in (first, second)]
    assert ("firm", 1, 137) == await kept(platform, "run_p")
    assert 138 - 30 == (await balance(platform))[0]
    assert (await verify(platform.database)).ok
