"""Charges of runs that other runs call: paid from what was carved out for them, the rest back to the caller."""

from datetime import timedelta

import pytest
from agora_billing.audit.service import verify
from agora_contracts.billing import GetBalance, GetStatement
from agora_contracts.money import Money
from agora_contracts.refunds import RefundRun

from .calling import CENT, begin, called, calling, kept, publish_helper, receipt
from .conftest import ACCOUNT, TENANT, Platform, usage


@pytest.fixture
async def platform(platform: Platform) -> Platform:
    """Billing with another package's price, at a time at which no day or month ends soon."""
    platform.clock.to_midmonth()
    await publish_helper(platform)
    return platform


async def balance(platform: Platform) -> tuple[int, int]:
    """Credit and what of it is held, in cents."""
    found = await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))
    return found.credit // CENT, found.held // CENT


async def ends(platform: Platform, run: str, tasks: int | str = 1, revision: int = 1, **other) -> int:
    """Close a run's usage; what it is charged then, in micro-units."""
    await platform.publish(TENANT, usage(run, tasks, revision=revision, **other))
    if revision == 1:
        return (await platform.settled(run)).amount.amount
    return (await platform.adjusted(run, revision)).amount.amount


async def borne(platform: Platform, run: str) -> int:
    """What of a run's charge the platform bears, in micro-units."""
    [row] = await platform.rows(
        "SELECT platform_part FROM charges WHERE run = :run ORDER BY revision DESC LIMIT 1", run=run
    )
    return int(row.platform_part)


async def test_a_call_is_paid_from_its_own_hold_and_leaves_the_rest_to_its_caller(platform: Platform):
    """
    Each run pays for itself; the receipt of the caller names its calls, and says where the quoted part for them went.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await begin(platform, called("run_c", 4))
    await begin(platform, called("run_d", 2))

    await ends(platform, "run_c", 3)
    between = await kept(platform, "run_p"), await balance(platform)
    await ends(platform, "run_d", 2)
    await ends(platform, "run_p")
    shown, of_call = await receipt(platform, "run_p"), await receipt(platform, "run_c")

    assert (("firm", 6, 5), (97, 8)) == between
    assert (94, 0) == await balance(platform)
    assert (11 * CENT, CENT, 5 * CENT, 5 * CENT) == (
        shown.held, shown.charged, shown.released, shown.calls_charged,
    )  # fmt: skip
    assert [("run_c", "helper", "settled", 3 * CENT), ("run_d", "helper", "settled", 2 * CENT)] == [
        (one.run, one.package, one.state, one.charged) for one in shown.calls
    ]
    assert [("agents.cost", "the runs that it called are charged by themselves")] == [
        (one.meter, one.why) for one in shown.differences
    ]
    assert ("run_p", []) == (of_call.parent, of_call.calls)
    assert "0.01 USD went back to the run that called it" in of_call.explanation
    statement = await platform.ask(GetStatement(account=ACCOUNT, tenant=TENANT))
    assert ["run_p", "run_d", "run_c"] == [one.run for one in statement.items if one.run]
    assert (await verify(platform.database)).ok


async def test_what_came_back_is_called_with_again(platform: Platform):
    """
    A caller with a part for one call at a time makes many, one after the other.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling(calls=6))
    for number in range(5):
        await begin(platform, called(f"run_{number}", 4))
        await ends(platform, f"run_{number}", "0.5")

    assert ("firm", 4, 2) == await kept(platform, "run_p")
    assert 5 * CENT // 2 == (await receipt(platform, "run_p")).calls_charged


async def test_a_caller_that_ends_first_leaves_its_calls_their_holds(platform: Platform):
    """
    The calls go on, pay from what they have, and what they leave goes to the account.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await begin(platform, called("run_c", 4))

    await ends(platform, "run_p")
    held = await balance(platform)
    await ends(platform, "run_c", 3)
    shown = await receipt(platform, "run_p")

    assert (99, 4) == held
    assert (96, 0) == await balance(platform)
    assert (3 * CENT, 6 * CENT) == (shown.calls_charged, shown.released)
    assert "0.01 USD went back to the account" in (await receipt(platform, "run_c")).explanation
    assert (await verify(platform.database)).ok


async def test_both_may_end_in_one_batch(platform: Platform):
    """
    Caller and calls that end together, in any order, are charged the same.
    """
    await platform.fund(100 * CENT)
    for caller in ("run_p", "run_q"):
        await begin(platform, calling(caller))
        await begin(platform, called(f"{caller}_c", 4, parent=caller))

    await platform.publish(TENANT, usage("run_p"), usage("run_p_c", 3), usage("run_q_c", 3), usage("run_q"))
    for run in ("run_p", "run_p_c", "run_q", "run_q_c"):
        await platform.settled(run)

    assert (92, 0) == await balance(platform)
    assert (await verify(platform.database)).ok


async def test_a_call_beyond_its_hold_takes_what_its_caller_has_left_for_calls(platform: Platform):
    """
    Beyond that the platform bears it, however much credit the account has: the caller's quote is what all of it costs.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling(tasks=2))
    await begin(platform, called("run_c", 4))
    await begin(platform, called("run_d", 1))

    await ends(platform, "run_c", 12)

    assert ("firm", 2, 10) == await kept(platform, "run_p")
    assert 3 * CENT == await borne(platform, "run_c")
    assert (91, 3) == await balance(platform)
    await ends(platform, "run_d", 1)
    await ends(platform, "run_p", 2)
    assert (88, 0) == await balance(platform)
    assert (await verify(platform.database)).ok


async def test_a_call_keeps_to_its_own_limit(platform: Platform):
    """
    What its caller allowed for one call is all that it is charged, though there is more left for calls.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await begin(platform, called("run_c", 3, run_limit=Money(amount=4 * CENT)))

    await ends(platform, "run_c", 6)

    assert 2 * CENT == await borne(platform, "run_c")
    assert ("firm", 7, 4) == await kept(platform, "run_p")


async def test_a_call_whose_hold_lapsed_is_paid_of_its_caller(platform: Platform):
    """
    A call that ran though it was not confirmed in time takes what its caller has left for calls.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await platform.ask(called("run_c", 4))
    platform.clock.ahead += timedelta(seconds=121)
    await platform.sweep()

    await ends(platform, "run_c", 3)

    assert ("firm", 8, 3) == await kept(platform, "run_p")
    assert (97, 8) == await balance(platform)
    assert (await verify(platform.database)).ok


@pytest.mark.parametrize("caller_ends", ["first", "last"])
async def test_corrections_of_a_call_stay_within_its_callers_part(platform: Platform, caller_ends: str):
    """
    Upwards a correction takes first what the call had left, then what its caller has left for calls, before its end and
    after it; downwards it goes to the account. The platform bears the rest.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling(tasks=2, calls=6))
    await begin(platform, called("run_c", 4))
    await ends(platform, "run_c", 3)
    if caller_ends == "first":
        await ends(platform, "run_p", 2)

    more = await ends(platform, "run_c", 5, revision=2)
    less = await ends(platform, "run_c", 1, revision=3)
    again = await ends(platform, "run_c", 4, revision=4)
    most = await ends(platform, "run_c", 9, revision=5)
    if caller_ends == "last":
        await ends(platform, "run_p", 2)

    assert (5 * CENT, CENT, 4 * CENT, 9 * CENT) == (more, less, again, most)
    assert 3 * CENT == await borne(platform, "run_c")
    assert (100 - 2 - 6, 0) == await balance(platform)
    assert (await verify(platform.database)).ok


async def test_a_callers_limit_holds_for_its_calls_after_its_end(platform: Platform):
    """
    A caller that used all of its limit leaves nothing for corrections of what it called.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling(tasks=2, calls=6, run_limit=Money(amount=9 * CENT)))
    await begin(platform, called("run_c", 4))
    await ends(platform, "run_c", 3)
    await ends(platform, "run_p", 5)

    await ends(platform, "run_c", 6, revision=2)

    assert 2 * CENT == await borne(platform, "run_c")
    assert (100 - 9, 0) == await balance(platform)
    assert (await verify(platform.database)).ok


async def test_refunds_of_a_call_go_to_the_account(platform: Platform):
    """
    What is refunded of a call is credit again, also while its caller goes on; the caller's receipt shows it.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await begin(platform, called("run_c", 4))
    await ends(platform, "run_c", 4)

    await platform.ask(RefundRun(run="run_c", reason="wrong answer", reference="r"))
    shown = await receipt(platform, "run_p")

    assert (100, 7) == await balance(platform)
    assert (0, [(4 * CENT, 4 * CENT)]) == (
        shown.calls_charged, [(one.charged, one.refunded) for one in shown.calls],
    )  # fmt: skip
    assert (await verify(platform.database)).ok


async def test_each_run_is_charged_by_its_own_outcome(platform: Platform):
    """
    A call that delivered is paid though its caller failed; one that failed is not, and gives all of it back.
    """
    await platform.fund(100 * CENT)
    await begin(platform, calling())
    await begin(platform, called("run_c", 4))
    await begin(platform, called("run_d", 4))

    await ends(platform, "run_c", 4)
    await ends(platform, "run_d", 4, outcome="failed", deliverable="empty")
    await ends(platform, "run_p", 1, outcome="failed", deliverable="empty")

    assert (96, 0) == await balance(platform)
    assert 4 * CENT == (await receipt(platform, "run_p")).calls_charged
