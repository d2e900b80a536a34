"""Holds over NATS, on the real database."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from agora_billing.app import build
from agora_billing.audit.service import verify
from agora_billing.settings import BillingSettings
from agora_contracts.billing import (
    ConfirmHold,
    GetBalance,
    GetReceipt,
    IncreaseHold,
    ListOpenHolds,
    Quantity,
    QuoteRun,
)
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunAccepted

from .conftest import ACCOUNT, PRICE, TENANT, Platform, hold_request, usage

LAPSED = timedelta(seconds=121)


def confirm(run: str = "run_1", tenant: str = TENANT) -> ConfirmHold:
    """A request to confirm."""
    return ConfirmHold(run=run, tenant=tenant)


def increase(by: int, request: str = "more", run: str = "run_1") -> IncreaseHold:
    """A request for more."""
    return IncreaseHold(run=run, tenant=TENANT, by=Money(amount=by), request=request)


def accepted(run: str = "run_1", price: str = PRICE) -> RunAccepted:
    """What execution says of a run that it accepted with a hold of one task."""
    return RunAccepted(
        run=run,
        account=ACCOUNT,
        package="echo",
        version="1.0.0",
        price_version=price,
        basis="task",
        hold_epoch=1,
        quoted=Money(amount=10_000),
    )


async def balance(platform: Platform) -> tuple[int, int]:
    """Credit and held."""
    found = await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))
    return found.credit, found.held


async def refusal(platform: Platform, command) -> AgoraError:
    """Ask for something that must be refused."""
    with pytest.raises(AgoraError) as refused:
        await platform.ask(command)
    return refused.value


async def test_a_hold_sets_the_quote_aside(platform: Platform):
    """
    A placed hold is tentative and holds what the quote says; credit stays, available shrinks.
    """
    await platform.fund(100_000)

    hold = await platform.ask(hold_request("run_1", 3))

    assert ("tentative", 1, 30_000, 30_000) == (
        hold.state,
        hold.epoch,
        hold.amount.amount,
        hold.quote.amount.amount,
    )
    assert (100_000, 30_000) == await balance(platform)


async def test_the_same_request_gets_the_same_hold(platform: Platform):
    """
    Placed thirty times at once, also once confirmed: one hold.
    """
    await platform.fund(100_000)

    holds = await asyncio.gather(*(platform.ask(hold_request("run_1")) for _ in range(30)))
    await platform.ask(confirm())
    again = await platform.ask(hold_request("run_1", epoch=1))

    assert {(1, "tentative", 10_000)} == {(hold.epoch, hold.state, hold.amount.amount) for hold in holds}
    assert (1, "firm") == (again.epoch, again.state)
    assert (100_000, 10_000) == await balance(platform)


async def test_another_fingerprint_conflicts(platform: Platform):
    """
    The run's id with another request is refused and changes nothing.
    """
    await platform.fund(100_000)
    await platform.ask(hold_request("run_1"))

    error = await refusal(platform, hold_request("run_1", 5, fingerprint="f2"))

    assert "idempotency_conflict" == error.slug
    assert (100_000, 10_000) == await balance(platform)


@pytest.mark.parametrize(
    ("other", "slug"),
    [
        ({"price_version": "price_not_here_yet"}, "unavailable"),
        ({"account": "acc_none"}, "not_found"),
        ({"tenant": "ten_other"}, "not_found"),
        ({"basis": "hour"}, "invalid_price"),
        ({"basis": "query"}, "invalid_price"),
        ({"estimates": []}, "malformed_request"),
        ({"estimates": [Quantity(meter="tasks", quantity=Decimal(-1))]}, "malformed_request"),
        ({"estimates": [Quantity(meter="tasks", quantity=Decimal(11))]}, "insufficient_credit"),
        ({"epoch": 2}, "conflict"),
    ],
)
async def test_a_hold_that_cannot_be_is_refused(platform: Platform, other, slug):
    """
    Each refusal has its own problem and sets nothing aside.
    """
    await platform.fund(100_000)

    error = await refusal(platform, hold_request("run_1", **other))

    assert slug == error.slug
    assert (error.problem.retry_after_seconds is not None) == (slug == "unavailable")
    assert (100_000, 0) == await balance(platform)
    assert [] == await platform.rows("SELECT 1 FROM holds")


async def test_another_tenants_run_looks_like_none(platform: Platform):
    """
    Every command on another tenant's run answers not_found.
    """
    await platform.fund(100_000)
    await platform.ask(hold_request("run_1"))

    for command in (
        confirm(tenant="ten_other"),
        IncreaseHold(run="run_1", tenant="ten_other", by=Money(amount=1), request="r"),
        GetReceipt(run="run_1", tenant="ten_other"),
        confirm("run_unknown"),
    ):
        assert "not_found" == (await refusal(platform, command)).slug
    assert (100_000, 10_000) == await balance(platform)


async def test_room_for_a_hundred_admits_exactly_a_hundred(platform: Platform):
    """
    Of 200 runs at once on an account with room for 100, 100 are held and 100 refused, to the micro-unit.
    """
    await platform.fund(1_000_000)

    answers = await asyncio.gather(
        *(platform.ask(hold_request(f"run_{number}")) for number in range(200)), return_exceptions=True
    )

    refused = [answer for answer in answers if isinstance(answer, AgoraError)]
    assert {"insufficient_credit"} == {error.slug for error in refused}
    assert 100 == len(refused)
    assert (1_000_000, 1_000_000) == await balance(platform)
    assert 100 == (await platform.ask(ListOpenHolds(limit=5))).total


async def test_two_replicas_never_hold_the_same_credit_twice(platform: Platform, settings: BillingSettings):
    """
    With two processes answering, the account's lock keeps the sum exact.
    """
    other = build(settings, platform.clock)
    await other.start()
    try:
        await platform.fund(500_000)
        runs = [f"run_{number % 80}" for number in range(160)]  # each asked for twice, perhaps of both
        answers = await asyncio.gather(
            *(platform.ask(hold_request(run)) for run in runs), return_exceptions=True
        )
    finally:
        await other.stop()

    held = {answer.run for answer in answers if not isinstance(answer, BaseException)}
    assert {"insufficient_credit"} == {error.slug for error in answers if isinstance(error, AgoraError)}
    assert 50 == len(held)
    assert (500_000, 500_000) == await balance(platform)
    assert (await verify(platform.database)).ok


async def test_an_unconfirmed_hold_lapses(platform: Platform):
    """
    After two minutes the sweep gives the credit back, once, and the receipt says so.
    """
    await platform.fund(100_000)
    await platform.ask(hold_request("run_1"))
    platform.clock.ahead = LAPSED

    await asyncio.gather(platform.sweep(), platform.sweep())
    await platform.sweep()

    assert (100_000, 0) == await balance(platform)
    receipt = await platform.ask(GetReceipt(run="run_1", tenant=TENANT))
    assert ("lapsed", 0) == (receipt.state, receipt.charged)


async def test_a_firm_hold_never_lapses(platform: Platform):
    """
    Once confirmed, a hold stays, however long the run takes.
    """
    await platform.fund(100_000)
    await platform.ask(hold_request("run_1"))
    await platform.ask(confirm())
    platform.clock.ahead = timedelta(days=30)

    await platform.sweep()

    assert (100_000, 10_000) == await balance(platform)
    assert "firm" == (await platform.ask(confirm())).state


@pytest.mark.parametrize("swept", [True, False])
async def test_a_lapsed_hold_is_placed_again_under_the_next_epoch(platform: Platform, swept):
    """
    PlaceHold on a lapsed hold opens the next epoch, whether a sweep has noticed or not.
    """
    await platform.fund(10_000)
    await platform.ask(hold_request("run_1"))
    platform.clock.ahead = LAPSED
    if swept:
        await platform.sweep()

    hold = await platform.ask(hold_request("run_1"))

    assert (2, "tentative") == (hold.epoch, hold.state)
    assert (10_000, 10_000) == await balance(platform)


@pytest.mark.parametrize("swept", [True, False])
async def test_confirming_a_lapsed_hold_places_it_again(platform: Platform, swept):
    """
    A run that comes late to its confirmation still gets its hold, firm at once, if the credit is there.
    """
    await platform.fund(10_000)
    await platform.ask(hold_request("run_1"))
    platform.clock.ahead = LAPSED
    if swept:
        await platform.sweep()

    holds = await asyncio.gather(*(platform.ask(confirm()) for _ in range(10)))

    assert {(2, "firm")} == {(hold.epoch, hold.state) for hold in holds}
    assert (10_000, 10_000) == await balance(platform)


async def test_confirming_a_lapsed_hold_without_credit_is_refused(platform: Platform):
    """
    When others took the credit meanwhile, the run learns it before its first step.
    """
    await platform.fund(10_000)
    await platform.ask(hold_request("run_1"))
    platform.clock.ahead = LAPSED
    await platform.sweep()
    await platform.ask(hold_request("run_2"))

    error = await refusal(platform, confirm("run_1"))

    assert "insufficient_credit" == error.slug
    assert "firm" == (await platform.ask(confirm("run_2"))).state
    assert (10_000, 10_000) == await balance(platform)


async def test_an_accepted_run_confirms_its_hold(platform: Platform):
    """
    RunAccepted makes a hold firm that no ConfirmHold came for; twice changes nothing.
    """
    await platform.fund(100_000)
    await platform.ask(hold_request("run_1"))

    await platform.publish(TENANT, accepted(), accepted())

    await platform.until(lambda: platform.rows("SELECT 1 FROM holds WHERE state = 'firm'"))
    assert (100_000, 10_000) == await balance(platform)


async def test_an_accepted_run_places_a_lapsed_or_missing_hold(platform: Platform):
    """
    An acceptance that comes late places the hold again; one whose hold is missing gets one.
    """
    await platform.fund(100_000)
    await platform.ask(hold_request("run_1"))
    platform.clock.ahead = LAPSED

    await platform.publish(TENANT, accepted(), accepted("run_2"))

    rows = await platform.until(
        lambda: platform.rows(
            "SELECT run, epoch FROM holds WHERE state = 'firm' AND "
            "(SELECT count(*) FROM holds WHERE state = 'firm') = 2 ORDER BY run"
        )
    )
    assert ["run_1", "run_2"] == [row.run for row in rows]
    assert (100_000, 20_000) == await balance(platform)
    assert (await verify(platform.database)).ok


async def test_an_accepted_run_without_credit_is_known_and_not_held(platform: Platform):
    """
    A missing hold that the account cannot pay stays lapsed, so that the run's end can still be settled.
    """
    await platform.fund(0)

    await platform.publish(TENANT, accepted())
    await platform.until(lambda: platform.rows("SELECT 1 FROM holds WHERE state = 'lapsed'"))
    await platform.publish(TENANT, usage("run_1"))

    charge = await platform.settled("run_1")
    assert (10_000, 10_000) == (charge.amount.amount, charge.platform_cost.amount)


async def test_a_hold_grows_once_per_request(platform: Platform):
    """
    Ten deliveries of one IncreaseHold set its amount aside once; another request adds more.
    """
    await platform.fund(100_000)
    await platform.ask(hold_request("run_1"))
    await platform.ask(confirm())

    await asyncio.gather(*(platform.ask(increase(20_000)) for _ in range(10)))
    hold = await platform.ask(increase(5_000, "even more"))

    assert 35_000 == hold.amount.amount
    assert 10_000 == hold.quote.amount.amount
    assert (100_000, 35_000) == await balance(platform)


@pytest.mark.parametrize(
    ("command", "slug"),
    [
        (increase(95_000), "insufficient_credit"),
        (increase(0), "malformed_request"),
        (increase(7, "known"), "idempotency_conflict"),
        (IncreaseHold(run="run_1", tenant=TENANT, by=Money(amount=1, currency="EUR"), request="r"), "currency_mismatch"),
    ],
)  # fmt: skip
async def test_an_increase_that_cannot_be_is_refused(platform: Platform, command, slug):
    """
    Beyond the credit, by nothing, in another currency, or a known request with another amount.
    """
    await platform.fund(100_000)
    await platform.ask(hold_request("run_1"))
    await platform.ask(confirm())
    await platform.ask(increase(1, "known"))

    assert slug == (await refusal(platform, command)).slug
    assert (100_000, 10_001) == await balance(platform)


async def test_a_settled_hold_is_closed(platform: Platform):
    """
    After settlement nothing opens the hold again: not a confirmation, an increase, or a late acceptance.
    """
    await platform.fund(100_000)
    await platform.ask(hold_request("run_1"))
    await platform.publish(TENANT, usage("run_1"))
    await platform.settled("run_1")

    assert "hold_closed" == (await refusal(platform, confirm())).slug
    assert "hold_closed" == (await refusal(platform, increase(1))).slug
    assert "settled" == (await platform.ask(hold_request("run_1"))).state
    await platform.publish(TENANT, accepted(), accepted("run_2"))
    await platform.until(lambda: platform.rows("SELECT 1 FROM holds WHERE run = 'run_2'"))
    assert (90_000, 10_000) == await balance(platform)


async def test_an_increase_needs_a_firm_hold(platform: Platform):
    """
    Only a run that has confirmed its hold may ask for more.
    """
    await platform.fund(100_000)
    await platform.ask(hold_request("run_1"))

    assert "hold_closed" == (await refusal(platform, increase(1))).slug


async def test_a_quote_sets_nothing_aside(platform: Platform):
    """
    QuoteRun answers what PlaceHold would hold, and holds nothing.
    """
    await platform.fund(100_000)

    quote = await platform.ask(
        QuoteRun(
            tenant=TENANT,
            price_version=PRICE,
            basis="task",
            estimates=[Quantity(meter="tasks", quantity=Decimal(2))],
        )
    )

    assert 20_000 == quote.amount.amount
    assert (100_000, 0) == await balance(platform)


async def test_holds_survive_a_restart(platform: Platform, settings: BillingSettings):
    """
    A process that starts anew knows every hold.
    """
    await platform.fund(100_000)
    placed = await platform.ask(hold_request("run_1"))
    again = build(settings, platform.clock)
    await again.start()
    try:
        await platform.service.broker.stop()
        assert placed == await platform.ask(hold_request("run_1"))
    finally:
        await again.stop()
