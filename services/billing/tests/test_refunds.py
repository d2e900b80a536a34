"""Refunds: what goes back to whom, and what is refused."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
from agora_billing.audit.service import verify
from agora_contracts.billing import GetBalance, GetReceipt, GetStatement
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.promotions import GrantPromotion
from agora_contracts.refunds import ChargeRefunded, ListRefunds, RefundRun
from agora_contracts.subjects import PLATFORM_TENANT

from .conftest import ACCOUNT, TENANT, Platform, hold_request, price_version, usage


def refund(cents: float | None = None, *, run: str = "run_1", reference: str = "r1", **other) -> RefundRun:
    """A request to give back some cents, or everything."""
    amount = None if cents is None else Money(amount=int(cents * 10_000))
    return RefundRun(
        **({"run": run, "amount": amount, "reason": "it was wrong", "reference": reference} | other)
    )


async def balance(platform: Platform) -> tuple[int, int, int]:
    """Paid credit, promotional credit and what is owed, in cents."""
    found = await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))
    return found.credit // 10_000, found.promotional // 10_000, found.receivable // 10_000


async def charged(
    platform: Platform, tasks: int = 10, *, run: str = "run_1", price: str | None = None
) -> None:
    """A run that was charged `tasks` cents."""
    other = {"price_version": price} if price else {}
    await platform.ask(hold_request(run, 1, **other))
    await platform.publish(TENANT, usage(run, tasks))
    await platform.settled(run)


async def entries(platform: Platform, kind: str) -> list[dict[str, int]]:
    """The entries of the postings of one kind, oldest first."""
    rows = await platform.rows(
        "SELECT p.number, e.ledger, e.amount FROM postings p JOIN entries e USING (posting_id) "
        "WHERE p.kind = :kind ORDER BY p.number, e.ledger",
        kind=kind,
    )
    found: dict[int, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row.number, {})[row.ledger] = row.amount
    return list(found.values())


async def refused(platform: Platform, command: RefundRun) -> AgoraError:
    """Why a refund is refused."""
    with pytest.raises(AgoraError) as caught:
        await platform.ask(command)
    return caught.value


@pytest.mark.emits.with_args(ChargeRefunded)
async def test_a_refund_gives_back_and_is_told(platform: Platform):
    """
    Four cents of ten go back as credit; the answer, the event, the receipt and the statement say so.
    """
    await platform.fund(1_000_000)
    await charged(platform)

    done = await platform.ask(refund(4))

    assert (40_000, 100_000, 40_000, 1) == (
        done.refund.amount, done.charged, done.refunded, done.refund.number,
    )  # fmt: skip
    assert (94, 0, 0) == await balance(platform)
    assert [{"customer_credit": 40_000, "refunds": -40_000}] == await entries(platform, "refund")
    [event] = await platform.events(ChargeRefunded)
    assert ("run_1", 40_000, 40_000, 100_000, "it was wrong") == (
        event.subject, event.data.amount.amount, event.data.refunded.amount, event.data.charged.amount,
        event.data.reason,
    )  # fmt: skip
    receipt = await platform.ask(GetReceipt(run="run_1", tenant=TENANT))
    assert (100_000, 40_000, [done.refund]) == (receipt.charged, receipt.refunded, receipt.refunds)
    [line] = [
        line
        for line in (await platform.ask(GetStatement(account=ACCOUNT, tenant=TENANT))).items
        if line.kind == "refund"
    ]
    assert (40_000, "run_1", "Refund: it was wrong") == (line.amount, line.run, line.description)


async def test_a_refund_happens_once_per_reference(platform: Platform):
    """
    Asked twice and at once by eight: one posting, one event, the same answer; the reference for another
    amount or reason conflicts, and so does all for a part.
    """
    await platform.fund(1_000_000)
    await charged(platform)

    answers = await asyncio.gather(*(platform.ask(refund(4)) for _ in range(8)))

    assert 1 == len(set(map(str, answers)))
    for other in (refund(5), refund(None), refund(4, reason="because")):
        assert "conflict" == (await refused(platform, other)).slug
    assert (94, 0, 0) == await balance(platform)
    assert 1 == len(await platform.events(ChargeRefunded))
    everything = await platform.ask(refund(None, reference="r2"))
    assert everything == await platform.ask(refund(None, reference="r2"))
    assert (60_000, 100_000) == (everything.refund.amount, everything.refunded)


async def test_a_refund_cannot_exceed_what_is_left_of_the_charge(platform: Platform):
    """
    More than the charge, more than is left after other refunds, or anything after all of it: refused with
    what could be given back.
    """
    await platform.fund(1_000_000)
    await charged(platform)

    error = await refused(platform, refund(10.0001))
    assert "refund_exceeds_charge" == error.slug
    assert "at most 0.100000 USD can be refunded" in error.problem.detail
    await platform.ask(refund(7))
    assert "at most 0.030000 USD" in (await refused(platform, refund(4, reference="r2"))).problem.detail
    await platform.ask(refund(3, reference="r2"))
    for more in (refund(0.0001, reference="r3"), refund(None, reference="r3")):
        assert "refund_exceeds_charge" == (await refused(platform, more)).slug
    assert (100, 0, 0) == await balance(platform)


async def test_rival_refunds_never_exceed_the_charge(platform: Platform):
    """
    Twenty refunds of a fifth at once under references of their own: five are given, fifteen refused.
    """
    await platform.fund(1_000_000)
    await charged(platform)

    answers = await asyncio.gather(
        *(platform.ask(refund(2, reference=f"r{number}")) for number in range(20)), return_exceptions=True
    )

    assert 15 == sum(isinstance(answer, AgoraError) for answer in answers)
    assert (100, 0, 0) == await balance(platform)
    assert (await verify(platform.database)).ok


@pytest.mark.parametrize(
    ("command", "slug"),
    [
        (refund(0), "invalid_input"),
        (refund(-1), "invalid_input"),
        (refund(amount=Money(amount=1, currency="EUR")), "currency_mismatch"),
        (refund(1, run="run_none"), "not_found"),
        (refund(1, run="run_open"), "conflict"),
        (refund(1, run="run_free"), "refund_exceeds_charge"),
        (refund(None, run="run_free"), "refund_exceeds_charge"),
        (refund(1, reason=""), "malformed_request"),
        (refund(1, reference="x" * 201), "malformed_request"),
    ],
)
async def test_refunds_that_cannot_be_are_refused(platform: Platform, command: RefundRun, slug: str):
    """
    No amount, another currency, an unknown run, one that is not settled, one that cost nothing, no reason.
    """
    await platform.fund(1_000_000)
    await charged(platform)
    await charged(platform, 0, run="run_free")
    await platform.ask(hold_request("run_open"))

    assert slug == (await refused(platform, command)).slug
    assert 0 == len(await platform.rows("SELECT 1 FROM refunds"))


async def test_a_refund_goes_back_in_the_opposite_order_of_payment(platform: Platform):
    """
    A charge of promotional credit 5, credit 5, receivable 5 and the platform's 5: refunds of 4 give back to the
    platform, then off what is owed, then as credit, then to the grant.
    """
    await platform.fund(50_000, receivable_limit=50_000)
    await platform.ask(
        GrantPromotion(
            account=ACCOUNT, tenant=TENANT, amount=Money(amount=50_000), reference="g", reason="welcome"
        )
    )
    await charged(platform, 20)
    assert (0, 0, 5) == await balance(platform)

    parts = []
    for number in range(5):
        done = (await platform.ask(refund(4, reference=f"r{number}"))).refund
        parts.append(
            [
                part // 10_000
                for part in (done.to_platform, done.off_receivable, done.to_credit, done.to_promotional)
            ]
        )

    assert [[4, 0, 0, 0], [1, 3, 0, 0], [0, 2, 2, 0], [0, 0, 3, 1], [0, 0, 0, 4]] == parts
    assert (5, 5, 0) == await balance(platform)
    report = await verify(platform.database)
    assert (True, 0, 200_000) == (report.ok, report.platform_cost, report.refunds), report.faults


async def test_what_was_given_back_to_an_expired_grant_is_gone(platform: Platform):
    """
    A refund of promotional credit whose grant has expired is no credit: it lowers what the promotion cost.
    """
    await platform.fund(50_000)
    expires = platform.clock() + timedelta(days=1)
    await platform.ask(
        GrantPromotion(
            account=ACCOUNT, tenant=TENANT, amount=Money(amount=50_000), reference="g", reason="welcome",
            expires_at=expires,
        )
    )  # fmt: skip
    await charged(platform, 8)
    platform.clock.ahead = timedelta(days=2)

    done = await platform.ask(refund(None))

    assert (30_000, 50_000, 50_000) == (
        done.refund.to_credit,
        done.refund.to_promotional,
        done.refund.expired,
    )
    assert (5, 0, 0) == await balance(platform)
    assert [{"customer_credit": 30_000, "promotion_cost": 50_000, "refunds": -80_000}] == await entries(
        platform, "refund"
    )
    report = await verify(platform.database)
    assert (True, 0) == (report.ok, report.promotion_cost), report.faults


async def test_a_refund_claws_back_the_authors_share(platform: Platform):
    """
    Of ten cents an author has seven; three refunds of a third, a third and the rest take back all of it,
    each in proportion.
    """
    authored = msgspec.structs.replace(
        price_version("price_author"), author="acme-labs", author_share=Decimal("0.7")
    )
    await platform.publish(PLATFORM_TENANT, authored)
    await platform.until(
        lambda: platform.rows("SELECT 1 FROM price_versions WHERE price_version = 'price_author'")
    )
    await platform.fund(1_000_000)
    await charged(platform, price="price_author")
    third = Money(amount=33_333)

    for number, amount in enumerate((third, third, None)):
        await platform.ask(refund(amount=amount, reference=f"r{number}"))

    assert [
        {"author_earnings": 70_000, "customer_credit": -100_000, "platform_fee": 30_000}
    ] == await entries(platform, "charge")
    assert [-23_333, -23_333, -23_334] == [
        posting["author_earnings"] for posting in await entries(platform, "refund")
    ]
    assert ["acme-labs"] == [
        row.author
        for row in await platform.rows("SELECT DISTINCT author FROM postings WHERE run IS NOT NULL")
    ]
    report = await verify(platform.database)
    assert (True, 0, 30_000, 30_000) == (
        report.ok, report.author_earnings, report.platform_fee, report.refunds,
    ), report.faults  # fmt: skip


async def test_a_correction_after_a_refund_never_makes_the_run_cost_less_than_nothing(platform: Platform):
    """
    Ten cents, six refunded: usage corrected to three gives back four and no more, and says why; corrected up
    to twelve it charges six more; what is left can be refunded.
    """
    await platform.fund(1_000_000)
    await charged(platform)
    await platform.ask(refund(6))

    await platform.publish(TENANT, usage("run_1", 3, revision=2))
    down = await platform.adjusted("run_1", 2)
    assert (60_000, -40_000) == (down.amount.amount, down.difference.amount)
    assert (100, 0, 0) == await balance(platform)
    receipt = await platform.ask(GetReceipt(run="run_1", tenant=TENANT))
    assert "0.03 USD would be owed, but 0.06 USD was refunded before" in receipt.explanation
    assert "refund_exceeds_charge" == (await refused(platform, refund(None, reference="r2"))).slug

    await platform.publish(TENANT, usage("run_1", 12, revision=3))
    up = await platform.adjusted("run_1", 3)
    assert (120_000, 60_000) == (up.amount.amount, up.difference.amount)
    await platform.ask(refund(6, reference="r2"))
    assert (100, 0, 0) == await balance(platform)
    assert (await verify(platform.database)).ok


async def test_refunds_are_listed(platform: Platform):
    """
    Oldest first, with what was charged and given back in all; an unknown run is not found.
    """
    await platform.fund(1_000_000)
    await charged(platform)
    for number in (1, 2):
        await platform.ask(refund(number, reference=f"r{number}"))

    listed = await platform.ask(ListRefunds(run="run_1"))

    assert [10_000, 20_000] == [one.amount for one in listed.items]
    assert (100_000, 30_000) == (listed.charged, listed.refunded)
    with pytest.raises(AgoraError, match="knows no run"):
        await platform.ask(ListRefunds(run="run_none"))


async def test_references_of_two_runs_never_collide(platform: Platform):
    """
    The same reference for two runs, and references that hold what another run is called by, are refunds of
    their own.
    """
    await platform.fund(1_000_000)
    for run in ("run_1", "run_1:a"):
        await charged(platform, run=run)

    for run, reference in (("run_1", "a:1"), ("run_1:a", "1"), ("run_1", "1"), ("run_1:a", "a:1")):
        await platform.ask(refund(1, run=run, reference=reference))

    assert (84, 0, 0) == await balance(platform)
    assert 4 == len(await entries(platform, "refund"))
    assert (await verify(platform.database)).ok
