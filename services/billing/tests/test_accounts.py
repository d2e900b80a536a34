"""Accounts over NATS, on the real database."""

import asyncio

import pytest
from agora_contracts.billing import CreditToppedUp, GetBalance, OpenAccount, TopUp
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError

from .conftest import ACCOUNT, TENANT, Platform, hold_request, usage


def a_top_up(amount: int, reference: str = "r1", *, currency: str = "USD", tenant: str = TENANT) -> TopUp:
    """A top-up of the test's account."""
    return TopUp(
        account=ACCOUNT, tenant=tenant, amount=Money(amount=amount, currency=currency), reference=reference
    )


async def test_opening_an_account_again_changes_nothing(platform: Platform):
    """
    The second OpenAccount answers the balance of the account that is there.
    """
    await platform.fund(5_000_000)

    again = await platform.ask(
        OpenAccount(account=ACCOUNT, tenant=TENANT, currency="EUR", receivable_limit=7)
    )

    assert ("USD", 5_000_000, 0, 5_000_000) == (again.currency, again.credit, again.held, again.available)


@pytest.mark.parametrize(
    "wrong", [{"currency": "usd"}, {"account": ""}, {"tenant": "a.b"}, {"receivable_limit": -1}]
)
async def test_an_account_that_cannot_be_is_refused(platform: Platform, wrong):
    """
    The refusal names the field at fault and nothing is stored.
    """
    values = {"account": ACCOUNT, "tenant": TENANT} | wrong

    with pytest.raises(AgoraError) as refused:
        await platform.ask(OpenAccount(**values))

    assert "malformed_request" == refused.value.slug
    assert list(wrong) == [error.field for error in refused.value.problem.errors]
    assert [] == await platform.rows("SELECT 1 FROM accounts")


@pytest.mark.emits.with_args(CreditToppedUp)
async def test_a_top_up_is_booked_once_per_reference(platform: Platform):
    """
    Twenty deliveries of one top-up, all at once, book it once and announce it once.
    """
    await platform.fund(0)

    balances = await asyncio.gather(*(platform.ask(a_top_up(2_500_000)) for _ in range(20)))

    assert {2_500_000} == {balance.credit for balance in balances}
    facts = await platform.events(CreditToppedUp)
    assert [(ACCOUNT, 2_500_000, "r1")] == [
        (fact.data.account, fact.data.amount.amount, fact.data.reference) for fact in facts
    ]


async def test_a_reference_cannot_bring_in_another_amount(platform: Platform):
    """
    The same reference with another amount is a conflict and books nothing.
    """
    await platform.fund(0)
    await platform.ask(a_top_up(1_000_000))

    with pytest.raises(AgoraError, match="brought in") as refused:
        await platform.ask(a_top_up(2_000_000))

    assert "conflict" == refused.value.slug
    assert 1_000_000 == (await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))).credit


@pytest.mark.parametrize(
    ("command", "slug"),
    [
        (a_top_up(0), "invalid_input"),
        (a_top_up(-5), "invalid_input"),
        (a_top_up(2**63 - 1), "invalid_input"),
        (a_top_up(5, currency="EUR"), "currency_mismatch"),
        (a_top_up(5, tenant="ten_other"), "not_found"),
    ],
)
async def test_a_top_up_that_cannot_be_is_refused(platform: Platform, command, slug):
    """
    No account takes nothing, less than nothing, more than fits, or another currency; another tenant's
    account does not exist.
    """
    await platform.fund(1)

    with pytest.raises(AgoraError) as refused:
        await platform.ask(command)

    assert slug == refused.value.slug
    assert 1 == (await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))).credit


async def test_another_tenants_account_looks_like_none(platform: Platform):
    """
    Reading, opening or paying into another tenant's account answers not_found.
    """
    await platform.fund(1_000_000)

    for command in (
        GetBalance(account=ACCOUNT, tenant="ten_other"),
        OpenAccount(account=ACCOUNT, tenant="ten_other"),
    ):
        with pytest.raises(AgoraError) as refused:
            await platform.ask(command)
        assert "not_found" == refused.value.slug


async def test_a_top_up_pays_what_is_owed_first(platform: Platform):
    """
    What a run went beyond the credit is paid from the next top-up; the rest becomes credit.
    """
    await platform.fund(10_000, receivable_limit=500_000)
    await platform.ask(hold_request("run_1"))
    await platform.publish(TENANT, usage("run_1", 31))
    await platform.settled("run_1")

    assert 300_000 == (await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))).receivable
    balance = await platform.ask(a_top_up(1_000_000))

    assert (700_000, 0) == (balance.credit, balance.receivable)
