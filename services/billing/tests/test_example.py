"""The README's example in numbers, run step by step."""

from decimal import Decimal

import msgspec
from agora_billing.audit.service import verify
from agora_contracts.billing import ConfirmHold, GetBalance, GetStatement, TopUp
from agora_contracts.money import Money
from agora_contracts.refunds import RefundRun
from agora_contracts.subjects import PLATFORM_TENANT

from .conftest import ACCOUNT, TENANT, Platform, hold_request, price_version, usage

CENT = 10_000


async def state(platform: Platform) -> tuple[int, int, int]:
    """Credit, held and owed in cents."""
    balance = await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))
    return balance.credit // CENT, balance.held // CENT, balance.receivable // CENT


async def test_the_example_of_the_readme(platform: Platform):
    """
    Each step leaves the balance that the README's table shows, and its postings are the table's.
    """
    await platform.publish(PLATFORM_TENANT, price_version("price_10", unit_price="0.10"))
    await platform.until(
        lambda: platform.rows("SELECT 1 FROM price_versions WHERE price_version = 'price_10'")
    )
    await platform.fund(100 * CENT, receivable_limit=20 * CENT)
    assert (100, 0, 0) == await state(platform)

    await platform.ask(hold_request("run_1", 6, price_version="price_10"))
    await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))
    assert (100, 60, 0) == await state(platform)
    await platform.publish(TENANT, usage("run_1", 4))
    assert 20 * CENT == (await platform.settled("run_1")).released.amount
    assert (60, 0, 0) == await state(platform)
    await platform.publish(TENANT, usage("run_1", 3, revision=2))
    await platform.adjusted("run_1", 2)
    assert (70, 0, 0) == await state(platform)

    await platform.ask(hold_request("run_2", 5, price_version="price_10"))
    await platform.publish(TENANT, usage("run_2", 10))
    assert 10 * CENT == (await platform.settled("run_2")).platform_cost.amount
    assert (0, 0, 20) == await state(platform)

    await platform.ask(
        TopUp(account=ACCOUNT, tenant=TENANT, amount=Money(amount=50 * CENT), reference="second")
    )
    assert (30, 0, 0) == await state(platform)

    statement = await platform.ask(GetStatement(account=ACCOUNT, tenant=TENANT))
    assert 30 * CENT == statement.entries_sum == statement.balance.credit
    assert [
        ("top_up", 100), ("charge", -40), ("adjustment", 10), ("charge", -70), ("top_up", 50),
        ("receivable_paid", -20),
    ] == [(line.kind, line.amount // CENT) for line in reversed(statement.items)]  # fmt: skip
    report = await verify(platform.database)
    assert (True, 10 * CENT) == (report.ok, report.platform_cost)


async def test_a_charge_keeps_every_digit_until_its_total(platform: Platform):
    """
    The README's refined price: the line is exact, the charge is rounded once.
    """
    await platform.publish(PLATFORM_TENANT, price_version("price_fine", unit_price="0.1234567"))
    await platform.until(
        lambda: platform.rows("SELECT 1 FROM price_versions WHERE price_version = 'price_fine'")
    )
    await platform.fund(100 * CENT)
    await platform.ask(hold_request("run_1", 3, price_version="price_fine"))

    await platform.publish(TENANT, usage("run_1", 3))
    charge = await platform.settled("run_1")

    assert ("0.3703701", 370_370) == (str(charge.lines[0].amount), charge.amount.amount)


async def test_the_example_of_an_author_and_a_refund(platform: Platform):
    """
    The table of docs/money.md: a charge of 1.02 USD with model calls is divided, half of it refunded.
    """
    priced = price_version("price_author", unit_price="1.00")
    authored = msgspec.structs.replace(priced, author="acme-labs", author_share=Decimal("0.7"))
    await platform.publish(PLATFORM_TENANT, authored)
    await platform.until(
        lambda: platform.rows("SELECT 1 FROM price_versions WHERE price_version = 'price_author'")
    )
    await platform.fund(200 * CENT)
    await platform.ask(hold_request("run_1", 1, price_version="price_author"))
    await platform.publish(TENANT, usage("run_1", 1, model_cost="0.02"))
    await platform.settled("run_1")

    await platform.ask(
        RefundRun(run="run_1", amount=Money(amount=51 * CENT), reason="half was wrong", reference="r")
    )

    rows = await platform.rows(
        "SELECT p.kind, e.ledger, e.amount FROM postings p JOIN entries e USING (posting_id) WHERE run = 'run_1'"
    )
    assert {
        ("charge", "customer_credit", -102), ("charge", "author_earnings", 70),
        ("charge", "platform_fee", 30), ("charge", "model_cost", 2),
        ("refund", "customer_credit", 51), ("refund", "author_earnings", -35), ("refund", "refunds", -16),
    } == {(row.kind, row.ledger, row.amount // CENT) for row in rows}  # fmt: skip
    assert (await verify(platform.database)).ok
