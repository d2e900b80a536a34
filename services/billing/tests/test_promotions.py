"""Promotional credit over NATS, on the real database."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from agora_billing.audit.service import verify
from agora_billing.promotions import service as promotions
from agora_contracts.billing import ConfirmHold, GetBalance, GetReceipt, GetStatement
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.promotions import (
    GrantPromotion,
    ListPromotions,
    Promotion,
    PromotionExpired,
    PromotionGranted,
)
from agora_contracts.refunds import RefundRun

from .conftest import ACCOUNT, TENANT, Platform, hold_request, usage

CENT = 10_000


def grant(cents: int = 5, reference: str = "welcome", **other: Any) -> GrantPromotion:
    """A grant of some cents that does not expire unless said otherwise."""
    values: dict[str, Any] = {
        "account": ACCOUNT,
        "tenant": TENANT,
        "amount": Money(amount=cents * CENT),
        "reference": reference,
        "reason": "Welcome",
    }
    return GrantPromotion(**(values | other))


def in_days(platform: Platform, days: int) -> datetime:
    """A time that is so many days ahead of the real clock."""
    return platform.clock().replace(microsecond=0) - platform.clock.ahead + timedelta(days=days)


async def grants(platform: Platform) -> dict[str, tuple[int, int, int]]:
    """What of each grant is remaining, spent and expired, in cents."""
    page = await platform.ask(ListPromotions(account=ACCOUNT, tenant=TENANT))
    return {
        one.reference: (one.remaining // CENT, one.spent // CENT, one.expired // CENT) for one in page.items
    }


async def balance(platform: Platform) -> tuple[int, int, int, int]:
    """Paid credit, promotional credit, held and available, in cents."""
    found = await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))
    return found.credit // CENT, found.promotional // CENT, found.held // CENT, found.available // CENT


async def sweep(platform: Platform) -> None:
    """Let expire what is due, as the service does every minute."""
    await promotions.sweep(platform.database, platform.clock)


async def settle(platform: Platform, run: str, tasks: int, held: int | None = None) -> None:
    """Hold some tasks for a run and settle it."""
    await platform.ask(hold_request(run, tasks if held is None else held))
    await platform.publish(TENANT, usage(run, str(tasks)))
    await platform.settled(run)


async def refusal(platform: Platform, command: Any) -> AgoraError:
    """Ask for something that must be refused."""
    with pytest.raises(AgoraError) as refused:
        await platform.ask(command)
    return refused.value


@pytest.mark.emits.with_args(PromotionGranted)
async def test_a_grant_is_given_once(platform: Platform):
    """
    Asked for ten times at once it is one grant, with one posting that balances, and one event.
    """
    await platform.fund(10 * CENT)

    given = await asyncio.gather(*(platform.ask(grant()) for _ in range(10)))
    conflict = await refusal(platform, grant(6))

    assert 1 == len({one.id for one in given})
    assert "conflict" == conflict.slug
    assert (10, 5, 0, 15) == await balance(platform)
    [told] = await platform.events(PromotionGranted)
    assert (5 * CENT, "Welcome") == (told.data.amount.amount, told.data.reason)
    statement = await platform.ask(GetStatement(account=ACCOUNT, tenant=TENANT))
    line = statement.items[0]
    assert ("promotion_granted", 0, 5 * CENT, 5 * CENT) == (
        line.kind, line.amount, line.promotional, line.promotional_balance,
    )  # fmt: skip
    assert (10 * CENT, 5 * CENT) == (statement.entries_sum, statement.promotional_entries_sum)
    assert (await verify(platform.database)).ok


async def test_promotional_credit_is_spent_before_paid(platform: Platform):
    """
    The grant that expires first is spent first, one that does not expire last, and only then what was paid.
    """
    await platform.fund(10 * CENT)
    await platform.ask(grant(2, "for ever"))
    await platform.ask(grant(2, "late", expires_at=in_days(platform, 20)))
    await platform.ask(grant(2, "soon", expires_at=in_days(platform, 10)))

    await settle(platform, "run_1", 3)
    assert {"soon": (0, 2, 0), "late": (1, 1, 0), "for ever": (2, 0, 0)} == await grants(platform)
    await settle(platform, "run_2", 5)

    assert {"soon": (0, 2, 0), "late": (0, 2, 0), "for ever": (0, 2, 0)} == await grants(platform)
    assert (8, 0, 0, 8) == await balance(platform)
    assert (await verify(platform.database)).ok


@pytest.mark.emits.with_args(PromotionExpired)
async def test_a_grant_expires_as_far_as_it_is_not_held(platform: Platform):
    """
    What runs have set aside of a grant stays theirs past its time; the rest is gone, and what they give back too.
    """
    await platform.fund(CENT)
    await platform.ask(grant(10, expires_at=in_days(platform, 1)))
    await platform.ask(hold_request("run_1", 4))
    await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))
    platform.clock.ahead = timedelta(days=2)

    await asyncio.gather(sweep(platform), sweep(platform))
    assert (1, 4, 4, 1) == await balance(platform)
    await platform.publish(TENANT, usage("run_1", "3"))
    await platform.settled("run_1")
    await sweep(platform)

    assert {"welcome": (0, 3, 7)} == await grants(platform)
    assert (1, 0, 0, 1) == await balance(platform)
    told = [one.data.amount.amount // CENT for one in await platform.events(PromotionExpired)]
    assert [6, 1] == told
    assert (await verify(platform.database)).ok


async def test_nobody_spends_of_an_expired_grant(platform: Platform):
    """
    From the moment of its expiry a grant is no credit for new holds and charges, though no sweep came by.
    """
    await platform.fund(2 * CENT)
    await platform.ask(grant(10, expires_at=in_days(platform, 1)))
    await platform.ask(hold_request("run_1", 1))
    await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))
    platform.clock.ahead = timedelta(days=1, seconds=1)

    error = await refusal(platform, hold_request("run_2", 3))
    await platform.publish(TENANT, usage("run_1", "5"))
    charge = await platform.settled("run_1")

    assert "insufficient_credit" == error.slug
    # one cent of the grant was held, two were paid, and the account may owe nothing
    assert 2 * CENT == charge.platform_cost.amount
    assert {"welcome": (0, 1, 9)} == await grants(platform)
    assert (await verify(platform.database)).ok


async def test_what_is_given_back_returns_to_its_grant(platform: Platform):
    """
    Paid credit comes back before promotional credit; what comes back to an expired grant has expired.
    """
    await platform.fund(10 * CENT)
    await platform.ask(grant(2, "soon", expires_at=in_days(platform, 5)))
    await platform.ask(grant(2, "for ever"))
    await settle(platform, "run_1", 6)
    assert (8, 0, 0, 8) == await balance(platform)

    await platform.publish(TENANT, usage("run_1", "3", revision=2))
    await platform.adjusted("run_1", 2)
    assert {"soon": (0, 2, 0), "for ever": (1, 1, 0)} == await grants(platform)
    assert (10, 1, 0, 11) == await balance(platform)
    platform.clock.ahead = timedelta(days=6)
    refunded = await platform.ask(RefundRun(run="run_1", reason="sorry", reference="all"))

    assert (3 * CENT, 2 * CENT) == (refunded.refund.to_promotional, refunded.refund.expired)
    assert {"soon": (0, 0, 2), "for ever": (2, 0, 0)} == await grants(platform)
    assert (10, 2, 0, 12) == await balance(platform)
    receipt = await platform.ask(GetReceipt(run="run_1", tenant=TENANT))
    assert 3 * CENT == receipt.charged
    assert (await verify(platform.database)).ok


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"account": "acc_none"}, "not_found"),
        ({"tenant": "ten_other"}, "not_found"),
        ({"amount": Money(amount=CENT, currency="EUR")}, "currency_mismatch"),
        ({"amount": Money(amount=0)}, "invalid_input"),
        ({"amount": Money(amount=-CENT)}, "invalid_input"),
        ({"amount": Money(amount=2**63 - 1)}, "invalid_input"),
        ({"expires_at": datetime.fromisoformat("2020-01-01T00:00:00+00:00")}, "invalid_input"),
        ({"expires_at": datetime.fromisoformat("2100-01-01T00:00:00")}, "invalid_input"),
    ],
)
async def test_a_grant_that_cannot_be_is_refused(platform: Platform, change, slug):
    """
    Each refusal has its own problem and gives nothing.
    """
    await platform.fund(CENT)

    assert slug == (await refusal(platform, grant(**change))).slug
    assert (1, 0, 0, 1) == await balance(platform)


async def test_grants_are_listed_page_by_page(platform: Platform):
    """
    Newest first, each once, until there are no more; another tenant sees none.
    """
    await platform.fund(0)
    for number in range(5):
        await platform.ask(grant(1, f"number {number}"))

    seen: list[Promotion] = []
    cursor = None
    while True:
        page = await platform.ask(ListPromotions(account=ACCOUNT, tenant=TENANT, cursor=cursor, limit=2))
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break

    assert [f"number {number}" for number in (4, 3, 2, 1, 0)] == [one.reference for one in seen]
    assert "not_found" == (await refusal(platform, ListPromotions(account=ACCOUNT, tenant="ten_other"))).slug
