"""Refunds of runs whose month has given something back: nobody gets back more than was paid."""

from datetime import timedelta

import pytest
from agora_billing.audit.service import verify
from agora_contracts.billing import GetBalance
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.promotions import GrantPromotion
from agora_contracts.refunds import RefundRun

from .conftest import ACCOUNT, TENANT, Platform, usage
from .test_periods import VOLUME, by_the_month, pinned, run, told


def refund(run: str, cents: int | None = None, reference: str = "r1") -> RefundRun:
    """A request to give back some cents, or all that is left."""
    amount = None if cents is None else Money(amount=cents * 10_000)
    return RefundRun(run=run, amount=amount, reason="it was wrong", reference=reference)


async def credit(platform: Platform) -> tuple[int, int]:
    """Paid and promotional credit, in cents."""
    found = await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))
    return found.credit // 10_000, found.promotional // 10_000


async def test_what_the_month_has_given_back_is_not_refunded_again(platform: Platform):
    """
    A run cost a dollar, of which its month gave 45 cents back: 55 are left to refund, and what is left of nothing
    is refused. The account never has more than it brought in.
    """
    await pinned(platform, by_the_month(VOLUME))
    await platform.fund(10_000_000)
    await run(platform, "run_1", 10)
    await run(platform, "run_2", 1)
    await told(platform, 1)

    with pytest.raises(AgoraError) as caught:
        await platform.ask(refund("run_1", 56))
    assert "refund_exceeds_charge" == caught.value.slug
    assert "at most 0.550000 USD" in caught.value.problem.detail
    done = await platform.ask(refund("run_1"))

    assert (550_000, (1000, 0)) == (done.refund.amount, await credit(platform))
    with pytest.raises(AgoraError) as caught:
        await platform.ask(refund("run_1", reference="r2"))
    assert "refund_exceeds_charge" == caught.value.slug
    report = await verify(platform.database)
    assert report.ok, report.faults


async def test_promotional_credit_that_the_month_gave_back_is_not_given_back_again(platform: Platform):
    """
    The same for a run that was paid of a grant: the grant has what was given, and no more.
    """
    await pinned(platform, by_the_month(VOLUME))
    await platform.fund(0)
    await platform.ask(
        GrantPromotion(
            account=ACCOUNT, tenant=TENANT, amount=Money(amount=1_500_000), reference="w", reason="welcome"
        )
    )
    await run(platform, "run_1", 10)
    await run(platform, "run_2", 1)
    await told(platform, 1)

    done = await platform.ask(refund("run_1"))

    assert (550_000, (0, 150)) == (done.refund.amount, await credit(platform))
    report = await verify(platform.database)
    assert report.ok, report.faults


async def test_a_correction_gives_back_no_more_than_the_month_has_left(platform: Platform):
    """
    After the month gave 45 cents back and the other 55 of a dollar were refunded, usage that is corrected down brings
    nothing more: later tasks of the month use it up.
    """
    await pinned(platform, by_the_month(VOLUME))
    await platform.fund(10_000_000)
    await run(platform, "run_1", 10)
    await run(platform, "run_2", 1)
    await told(platform, 1)
    await platform.ask(refund("run_1"))

    await platform.publish(TENANT, usage("run_1", 1, revision=2))
    await platform.adjusted("run_1", 2)

    assert (1000, 0) == await credit(platform)
    report = await verify(platform.database)
    assert report.ok, report.faults
    assert 0 == await run(platform, "run_3", 3)


async def granted(platform: Platform, cents: int, reference: str, days: int | None = None) -> None:
    """Give promotional credit, for so many days."""
    expires = None if days is None else platform.clock() + timedelta(days=days)
    await platform.ask(
        GrantPromotion(
            account=ACCOUNT,
            tenant=TENANT,
            amount=Money(amount=cents * 10_000),
            reference=reference,
            reason="welcome",
            expires_at=expires,
        )
    )


async def test_grants_get_back_what_they_gave_whatever_the_month_gave_back(platform: Platform):
    """
    Two runs are paid from two grants, and the month gives back to the second one: a refund of its run goes where the month
    has not given back yet, and no grant ever has more than was given.
    """
    await pinned(platform, by_the_month(VOLUME))
    await platform.fund(0)
    await granted(platform, 50, "first", days=60)
    await granted(platform, 100, "second")
    await run(platform, "run_1", 5)
    await run(platform, "run_2", 5)
    await run(platform, "run_3", 1)
    await told(platform, 1)

    second = await platform.ask(refund("run_2"))
    first = await platform.ask(refund("run_1"))

    assert (500_000, 50_000) == (second.refund.amount, first.refund.amount)
    assert (0, 150) == await credit(platform)
    report = await verify(platform.database)
    assert report.ok, report.faults


async def test_no_payer_gets_back_what_the_month_gave_another_for(platform: Platform):
    """
    One run was paid from a grant, another with paid credit, and the month gave back credit: only the rest of that is
    credit again, the grant gets its own back, and together it is what came in.
    """
    await pinned(platform, by_the_month(VOLUME))
    await platform.fund(1_000_000)
    await granted(platform, 50, "first")
    await run(platform, "run_1", 5)
    await run(platform, "run_2", 5)
    await run(platform, "run_3", 1)
    await told(platform, 1)

    paid = await platform.ask(refund("run_2"))
    given = await platform.ask(refund("run_1"))

    assert (50_000, 500_000) == (paid.refund.amount, given.refund.amount)
    assert (100, 50) == await credit(platform)
    report = await verify(platform.database)
    assert report.ok, report.faults
