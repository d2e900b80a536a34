"""Settlement and adjustment of runs, over JetStream and on the real database."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from agora_billing.app import build
from agora_billing.audit.service import verify
from agora_billing.settings import BillingSettings
from agora_contracts.billing import (
    ChargeAdjusted,
    ChargeSettled,
    ConfirmHold,
    GetBalance,
    GetReceipt,
    GetStatement,
    IncreaseHold,
)
from agora_contracts.catalog import ChargePolicy
from agora_contracts.money import Money
from agora_contracts.platform import ListDeadLetters, ReplayDeadLetters
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.outbox import Event, encode

from .conftest import ACCOUNT, TENANT, Platform, hold_request, price_version, usage


async def balance(platform: Platform) -> tuple[int, int, int]:
    """Credit, held and receivable."""
    found = await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))
    return found.credit, found.held, found.receivable


async def started(platform: Platform, run: str = "run_1", tasks: int = 10) -> None:
    """A run with a firm hold of `tasks` cents."""
    await platform.ask(hold_request(run, tasks))
    await platform.ask(ConfirmHold(run=run, tenant=TENANT))


async def dead_letters(platform: Platform):
    """What billing refused."""
    return (await platform.asker.ask_shared(ListDeadLetters(), "billing")).items


@pytest.mark.emits.with_args(ChargeSettled)
async def test_a_run_is_charged_from_its_hold_and_the_rest_is_released(platform: Platform):
    """
    Four tasks of ten quoted: four cents are charged, six go back, one ChargeSettled says so.
    """
    await platform.fund(1_000_000)
    await started(platform)

    await platform.publish(TENANT, usage("run_1", 4))
    charge = await platform.settled("run_1")

    assert (40_000, 60_000, 100_000, 0) == (
        charge.amount.amount,
        charge.released.amount,
        charge.quoted.amount,
        charge.platform_cost.amount,
    )
    assert (960_000, 0, 0) == await balance(platform)


async def test_a_charge_of_zero_is_settled_too(platform: Platform):
    """
    A failed run costs nothing: its hold is released and ChargeSettled says zero; the ledger has no posting.
    """
    await platform.fund(1_000_000)
    await started(platform)

    await platform.publish(TENANT, usage("run_1", 3, outcome="failed", deliverable="empty"))
    charge = await platform.settled("run_1")

    assert (0, 100_000, []) == (charge.amount.amount, charge.released.amount, charge.lines)
    assert (1_000_000, 0, 0) == await balance(platform)
    assert ["top_up"] == [row.kind for row in await platform.rows("SELECT kind FROM postings")]


async def test_the_same_revision_is_charged_once(platform: Platform):
    """
    Redelivered, sent again under other event ids, and by two replicas at once: one charge, one event.
    """
    await platform.fund(1_000_000)
    await started(platform)

    await platform.publish(TENANT, *(usage("run_1", 4) for _ in range(8)))
    await platform.settled("run_1")
    await platform.publish(TENANT, usage("run_1", 4), usage("run_2", 1))
    await platform.ask(hold_request("run_2"))
    await platform.settled("run_2")

    assert 1 == len(await platform.charges_of("run_1"))
    assert (950_000, 0, 0) == await balance(platform)


@pytest.mark.emits.with_args(ChargeAdjusted)
async def test_a_later_revision_posts_the_difference(platform: Platform):
    """
    Corrected usage moves only the difference, up or down, each revision once.
    """
    await platform.fund(1_000_000)
    await started(platform)
    await platform.publish(TENANT, usage("run_1", 4))
    await platform.settled("run_1")

    await platform.publish(TENANT, usage("run_1", 7, revision=2))
    up = await platform.adjusted("run_1", 2)
    await platform.publish(TENANT, usage("run_1", 1, revision=3), usage("run_1", 1, revision=3))
    down = await platform.adjusted("run_1", 3)

    assert [(70_000, 30_000), (10_000, -60_000)] == [
        (one.amount.amount, one.difference.amount) for one in (up, down)
    ]
    assert (990_000, 0, 0) == await balance(platform)
    assert 3 == len(await platform.charges_of("run_1"))


async def test_an_older_revision_that_comes_late_changes_nothing(platform: Platform):
    """
    Revision 2 before revision 1: the newer one settles, the older one is ignored.
    """
    await platform.fund(1_000_000)
    await started(platform)

    await platform.publish(TENANT, usage("run_1", 7, revision=2))
    await platform.settled("run_1", 2)
    await platform.publish(TENANT, usage("run_1", 4, revision=1), usage("run_1", 8, revision=3))
    await platform.adjusted("run_1", 3)

    assert [2, 3] == [one.revision for one in await platform.charges_of("run_1")]
    assert (920_000, 0, 0) == await balance(platform)


async def test_a_revision_without_a_difference_is_announced_and_not_posted(platform: Platform):
    """
    ChargeAdjusted says zero, so that listeners know the newest revision; the ledger stays as it is.
    """
    await platform.fund(1_000_000)
    await started(platform)

    await platform.publish(TENANT, usage("run_1", 4), usage("run_1", 4, revision=2))
    charge = await platform.adjusted("run_1", 2)

    assert 0 == charge.difference.amount
    assert 2 == len(await platform.rows("SELECT 1 FROM postings"))


async def test_what_exceeds_the_hold_comes_from_credit_then_receivable_then_the_platform(platform: Platform):
    """
    The order of who pays: hold, free credit (never what other runs hold), the account's limit, the platform.
    """
    await platform.fund(300_000, receivable_limit=50_000)
    await started(platform, "run_other", 15)
    await started(platform)

    await platform.publish(TENANT, usage("run_1", 30))
    charge = await platform.settled("run_1")

    assert (300_000, 100_000) == (charge.amount.amount, charge.platform_cost.amount)
    assert (150_000, 150_000, 50_000) == await balance(platform)
    assert "the platform bears 0.10 USD" in charge.explanation
    assert (await verify(platform.database)).ok


async def test_what_the_platform_bore_comes_back_to_it_first(platform: Platform):
    """
    A correction downwards gives back in the opposite order: platform, receivable, credit.
    """
    await platform.fund(100_000, receivable_limit=50_000)
    await started(platform)
    await platform.publish(TENANT, usage("run_1", 25))
    await platform.settled("run_1")
    assert (0, 0, 50_000) == await balance(platform)

    await platform.publish(TENANT, usage("run_1", 12, revision=2))
    await platform.adjusted("run_1", 2)
    assert (0, 0, 20_000) == await balance(platform)
    await platform.publish(TENANT, usage("run_1", 9, revision=3))
    await platform.adjusted("run_1", 3)

    assert (10_000, 0, 0) == await balance(platform)
    report = await verify(platform.database)
    assert (True, 0, 90_000, 90_000) == (report.ok, report.platform_cost, report.revenue, report.charged)


async def test_a_grown_hold_pays_and_releases_as_a_whole(platform: Platform):
    """
    What a run asked for in mid-run is part of the hold that settlement takes from and releases.
    """
    await platform.fund(200_000)
    await started(platform)
    await platform.ask(IncreaseHold(run="run_1", tenant=TENANT, by=Money(amount=100_000), request="r"))

    await platform.publish(TENANT, usage("run_1", 15))
    charge = await platform.settled("run_1")

    assert (150_000, 50_000) == (charge.amount.amount, charge.released.amount)
    assert (50_000, 0, 0) == await balance(platform)


async def test_a_run_whose_hold_lapsed_is_still_charged(platform: Platform):
    """
    Usage of a run without an open hold is paid from free credit.
    """
    await platform.fund(200_000)
    await platform.ask(hold_request("run_1", 10))
    platform.clock.ahead = timedelta(minutes=3)
    await platform.sweep()

    await platform.publish(TENANT, usage("run_1", 4))
    charge = await platform.settled("run_1")

    assert (40_000, 0) == (charge.amount.amount, charge.released.amount)
    assert (160_000, 0, 0) == await balance(platform)


async def test_a_run_may_end_before_it_is_confirmed(platform: Platform):
    """
    A tentative hold is settled as a firm one is: the run was cancelled before its first step.
    """
    await platform.fund(200_000)
    await platform.ask(hold_request("run_1", 10))

    await platform.publish(TENANT, usage("run_1", None, outcome="cancelled", deliverable="empty"))
    await platform.settled("run_1")

    assert (200_000, 0, 0) == await balance(platform)


async def test_a_shared_price_is_what_the_listing_says(platform: Platform):
    """
    The charge policy is that of the pinned price version, also after a newer one was published.
    """
    await platform.publish(
        PLATFORM_TENANT,
        price_version("price_half", charges=ChargePolicy(partial="share:0.5")),
        price_version("price_new", unit_price="0.99"),
    )
    await platform.until(
        lambda: platform.rows("SELECT 1 FROM price_versions WHERE price_version = 'price_new'")
    )
    await platform.fund(1_000_000)
    await platform.ask(hold_request("run_1", 10, price_version="price_half"))

    await platform.publish(TENANT, usage("run_1", 3, deliverable="partial"))

    assert 50_000 == (await platform.settled("run_1")).amount.amount


async def test_usage_of_an_unknown_run_waits_for_it(platform: Platform):
    """
    Usage that arrives before its run's hold is handed back and charged once the hold is there; its
    neighbours in the batch are charged at once.
    """
    await platform.fund(1_000_000)
    await started(platform)

    await platform.publish(TENANT, usage("run_late", 2), usage("run_1", 4))
    await platform.settled("run_1")
    await platform.ask(hold_request("run_late", 2))
    await platform.settled("run_late")

    assert (940_000, 0, 0) == await balance(platform)


async def test_usage_under_another_tenant_is_not_charged(platform: Platform):
    """
    A run's usage on another tenant's subject finds no such run: nothing is charged or told.
    """
    await platform.fund(1_000_000)
    await started(platform)

    await platform.publish("ten_other", usage("run_1", 4))
    await started(platform, "run_2")
    await platform.publish(TENANT, usage("run_2", 4))
    await platform.settled("run_2")

    assert [] == await platform.charges_of("run_1")


async def test_malformed_usage_becomes_a_dead_letter_and_can_be_replayed(platform: Platform):
    """
    Bytes that are no contract, and quantities that are none, stop nobody else; the reason is listed.
    """
    await platform.fund(1_000_000)
    await started(platform)
    _, subject, _ = encode(Event(tenant=TENANT, entity="x", data=usage("run_1")))

    await platform.publish_raw(subject, b'{"id": 7}')
    await platform.publish(TENANT, usage("run_1", -3, revision=3), usage("run_1", 4, revision=2))
    await platform.settled("run_1", 2)

    async def both():
        letters = await dead_letters(platform)
        return letters if len(letters) == 2 else None

    reasons = sorted(letter.reason for letter in await platform.until(both))
    assert reasons[0].startswith("cannot be decoded")
    assert reasons[1].startswith("quantities cannot be rated")
    report = await platform.asker.ask_shared(ReplayDeadLetters(), "billing")
    assert (0, 2) == (report.accepted, len(report.refused))
    assert (960_000, 0, 0) == await balance(platform)


async def test_many_runs_are_settled_exactly(platform: Platform, settings: BillingSettings):
    """
    Three hundred runs, their usage shuffled, doubled and taken by two replicas: each is charged once.
    """
    other = build(settings, platform.clock)
    await other.start()
    try:
        await platform.fund(300 * 20_000)
        runs = [f"run_{number}" for number in range(300)]
        await asyncio.gather(*(platform.ask(hold_request(run, 2)) for run in runs))
        for run in [*runs[::2], *runs, *runs[1::2]]:
            await platform.publish(TENANT, usage(run, 1))
        await platform.until(lambda: platform.rows("SELECT 1 FROM charges HAVING count(*) = 300"))
    finally:
        await other.stop()

    report = await verify(platform.database)
    assert (True, 300, 0, 3_000_000, 3_000_000) == (
        report.ok,
        report.settled_runs,
        report.open_holds,
        report.credit,
        report.charged,
    )
    assert 300 == len(await platform.events(ChargeSettled))


async def test_usage_that_came_while_billing_was_down_is_settled_after(
    platform: Platform, settings: BillingSettings
):
    """
    A stopped process loses nothing: the next one charges what came meanwhile, once.
    """
    await platform.fund(1_000_000)
    await started(platform)
    await platform.service.broker.stop()

    await platform.publish(TENANT, usage("run_1", 4))
    again = build(settings, platform.clock)
    await again.start()
    try:
        await platform.settled("run_1")
        assert (960_000, 0, 0) == await balance(platform)
    finally:
        await again.stop()


async def test_the_receipt_explains_the_charge(platform: Platform):
    """
    A receipt shows what was quoted, held, charged and released, before and after the run's end.
    """
    await platform.fund(1_000_000)
    await started(platform)
    before = await platform.ask(GetReceipt(run="run_1", tenant=TENANT))

    await platform.publish(TENANT, usage("run_1", 4), usage("run_1", 5, revision=2))
    await platform.adjusted("run_1", 2)
    after = await platform.ask(GetReceipt(run="run_1", tenant=TENANT))

    assert ("held", 100_000, 0, None) == (before.state, before.held, before.charged, before.settled_at)
    assert ("settled", 100_000, 100_000, 50_000, 60_000, 2) == (
        after.state,
        after.quoted,
        after.held,
        after.charged,
        after.released,
        after.revision,
    )
    assert "corrected from 0.04 USD" in after.explanation
    assert ["tasks"] == [line.meter for line in after.lines] == [line.meter for line in after.quote_lines]


async def test_a_statement_shows_every_posting_and_agrees_with_the_ledger(platform: Platform):
    """
    Page by page, newest first: signed amounts lead from balance to balance and add up to the entries.
    """
    await platform.fund(1_000_000)
    for number in range(5):
        await started(platform, f"run_{number}")
        await platform.publish(TENANT, usage(f"run_{number}", number + 1))
        await platform.settled(f"run_{number}")

    lines, cursor = [], None
    while True:
        page = await platform.ask(GetStatement(account=ACCOUNT, tenant=TENANT, cursor=cursor, limit=4))
        lines += page.items
        if (cursor := page.next_cursor) is None:
            break

    assert ["charge"] * 5 + ["top_up"] == [line.kind for line in lines]
    assert page.entries_sum == page.balance.credit == lines[0].balance == sum(line.amount for line in lines)
    for newer, older in pairwise(lines):
        assert newer.balance == older.balance + newer.amount
