"""What a run was quoted, what it was charged, why they differ, and that both can be worked out again."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest
from agora_billing.audit.ratings import RULE
from agora_billing.audit.service import verify
from agora_contracts.billing import (
    ChargeDifference,
    GetReceipt,
    PlaceHold,
    Quantity,
    QuoteLine,
    Receipt,
    TransactionGroup,
)
from agora_contracts.catalog import ChargePolicy, OfferedPrice
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.provision import DatabaseUrls

from .conftest import TENANT, Platform, hold_request, price_version, usage

TIERS = [{"up_to": "10", "unit_price": "1"}, {"unit_price": "0.5", "flat": "2"}]
GRADUATED = {"type": "graduated", "tiers": TIERS}
VOLUME = {"type": "volume", "tiers": [{"up_to": "10", "unit_price": "1"}, {"unit_price": "0.8"}]}
PERCENTAGE = {"type": "percentage", "rate": "0.01", "fixed": "0.10", "transaction_minimum": "0.50"}
PAYMENTS = [Decimal(1), Decimal(100), Decimal(1000)]


def a_price(model: dict[str, Any], **other: Any) -> OfferedPrice:
    """A price as an author writes it."""
    return msgspec.convert({"basis": "task", "meter": "tasks", "model": model, **other}, OfferedPrice)


async def charged(
    platform: Platform,
    price: OfferedPrice,
    held: PlaceHold,
    *,
    policy: ChargePolicy | None = None,
    **ended: Any,
) -> Receipt:
    """The receipt of a run that was held for and has ended under this price."""
    own = f"price_of_{held.run}"
    published = price_version(own, charges=policy)
    await platform.publish(PLATFORM_TENANT, msgspec.structs.replace(published, prices=[price]))
    await platform.until(
        lambda: platform.rows("SELECT 1 FROM price_versions WHERE price_version = :id", id=own)
    )
    await platform.ask(msgspec.structs.replace(held, price_version=own))
    await platform.publish(TENANT, usage(held.run, **ended))
    await platform.settled(held.run)
    receipt: Receipt = await platform.ask(GetReceipt(run=held.run, tenant=TENANT))
    return receipt


def sums(lines: list[QuoteLine]) -> list[str]:
    """What lines came to."""
    return [str(line.amount) for line in lines]


async def test_a_receipt_says_meter_by_meter_why_it_is_not_the_quote(platform: Platform):
    """
    Twelve units were quoted in two tiers, eight were used: the receipt says so of each meter that differs.
    """
    await platform.fund(1_000_000_000)
    held = hold_request("run_tiers", 12)
    held = msgspec.structs.replace(
        held, estimates=[*held.estimates, Quantity(meter="model.cost", quantity=Decimal("0.05"))]
    )

    receipt = await charged(platform, a_price(GRADUATED), held, tasks=8, model_cost="0.02")

    assert (13_050_000, 8_020_000) == (receipt.quoted, receipt.charged)
    assert ["10", "1.0", "2", "0.05"] == sums(receipt.quote_lines)
    assert ["8", "0.02"] == sums(receipt.lines)
    assert [
        ChargeDifference(meter="tasks", quoted=Decimal(13), charged=Decimal(8), why="8 of 12 estimated"),
        ChargeDifference(
            meter="model.cost", quoted=Decimal("0.05"), charged=Decimal("0.02"), why="0.02 of 0.05 estimated"
        ),
    ] == receipt.differences
    assert "(tasks: 8 of 12 quoted, model.cost: 0.02 of 0.05 quoted)" in receipt.explanation
    assert (await verify(platform.database)).ok


async def test_each_model_is_quoted_and_charged(platform: Platform):
    """
    The quote covers whatever keeps to the estimate; where the charge is another, the receipt says why.
    """
    await platform.fund(1_000_000_000)
    # model, units used of 12 estimated, quoted, charged, why they differ
    cases: list[tuple[dict[str, Any], int | None, int, int, list[str]]] = [
        # by volume ten units cost more than twelve, so ten are quoted
        (VOLUME, 12, 10_000_000, 9_600_000,
         ["12 as estimated, at less than the dearest price that was quoted for it"]),
        (VOLUME, 10, 10_000_000, 10_000_000, []),
        (VOLUME, 14, 10_000_000, 11_200_000, ["14 used, 2 more than the 12 estimated"]),
        (VOLUME, None, 10_000_000, 0, ["none of 12 estimated was used"]),
        ({"type": "package", "size": "5", "price": "3"}, 11, 9_000_000, 9_000_000, []),
        ({"type": "flat", "amount": "4"}, 1, 4_000_000, 4_000_000, []),
        ({"type": "dynamic"}, 11, 12_000_000, 11_000_000, ["11 of 12 estimated"]),
    ]  # fmt: skip
    for number, (model, tasks, quoted, owed, why) in enumerate(cases):
        receipt = await charged(platform, a_price(model), hold_request(f"run_{number}", 12), tasks=tasks)

        found = (receipt.quoted, receipt.charged, [one.why for one in receipt.differences])
        assert (quoted, owed, why) == found
    report = await verify(platform.database)
    assert (True, len(cases)) == (report.ok, report.rated_again)


async def test_a_price_by_transaction_is_rated_by_each_of_them(platform: Platform):
    """
    The quote knows the amount and in how many transactions it comes; the charge bounds each of them by itself.
    """
    await platform.fund(1_000_000_000)
    estimate = Quantity(meter="tasks", quantity=Decimal(1200), events=4)
    held = msgspec.structs.replace(hold_request("run_payments"), estimates=[estimate])
    counted = Quantity(meter="tasks", quantity=Decimal(1101), events=3, transactions=PAYMENTS)

    receipt = await charged(platform, a_price(PERCENTAGE), held, totals=[counted])

    assert ["12.00", "2.00"] == sums(receipt.quote_lines)
    assert ["11.01", "0.30", "0.39"] == sums(receipt.lines)
    assert ["1101 of 1200 estimated"] == [one.why for one in receipt.differences]
    report = await verify(platform.database)
    assert (True, 1) == (report.ok, report.rated_again)


async def test_a_run_of_more_transactions_than_are_listed_is_rated(platform: Platform):
    """
    More than a thousand are rated by groups of equal ones; where these are too many as well, the run costs what was quoted.
    """
    await platform.fund(1_000_000_000)
    estimate = Quantity(meter="tasks", quantity=Decimal(1200), events=4)
    price = a_price(PERCENTAGE)
    many: dict[str, Any] = {"meter": "tasks", "quantity": Decimal(1500), "events": 1500}
    equal = Quantity(**many, groups=[TransactionGroup(quantity=Decimal(1), count=1500)])
    receipts = []
    for run, counted in (("run_equal", equal), ("run_untold", Quantity(**many))):
        held = msgspec.structs.replace(hold_request(run), estimates=[estimate])
        receipts.append(await charged(platform, price, held, totals=[counted]))

    assert 1500 * 500_000 == receipts[0].charged
    assert receipts[1].quoted == receipts[1].charged
    assert all("1500 transactions are too many" in one.description for one in receipts[1].lines)
    report = await verify(platform.database)
    assert (True, 2) == (report.ok, report.rated_again)


async def test_the_full_price_of_transactions_is_what_was_quoted(platform: Platform):
    """
    Where the full price is asked for a run that failed, its estimate says how many transactions, but not which.
    """
    await platform.fund(1_000_000_000)
    estimate = Quantity(meter="tasks", quantity=Decimal(1200), events=4)
    held = msgspec.structs.replace(hold_request("run_1"), estimates=[estimate])

    receipt = await charged(
        platform,
        a_price(PERCENTAGE),
        held,
        policy=ChargePolicy(failed="full"),
        tasks=3,
        outcome="failed",
        deliverable="empty",
    )

    assert receipt.quoted == receipt.charged > 0
    assert (await verify(platform.database)).ok


async def test_the_full_price_is_that_of_the_estimate(platform: Platform):
    """
    Where the policy asks for the full price or a share, it is that of the estimated units, not of the dearest quote.
    """
    await platform.fund(1_000_000_000)
    empty = {"deliverable": "empty"}
    cases: list[tuple[dict[str, Any], dict[str, Any], int, str]] = [
        ({}, empty | {"outcome": "failed"}, 0, "failed, so nothing is owed"),
        ({}, empty | {"outcome": "cancelled"}, 0, "cancelled, so model calls until then at cost"),
        ({"failed": "full"}, empty | {"outcome": "failed"}, 9_600_000,
         "failed, for which the listing asks the full price"),
        ({"partial": "share:0.333333"}, {"deliverable": "partial"}, 3_199_997,
         "delivered in part, for 0.333333 of the full price"),
    ]  # fmt: skip
    for number, (policy, ended, owed, why) in enumerate(cases):
        held = hold_request(f"run_{number}", 12)
        receipt = await charged(
            platform, a_price(VOLUME), held, policy=ChargePolicy(**policy), tasks=3, **ended
        )

        found = (receipt.quoted, receipt.charged, [one.why for one in receipt.differences])
        assert (10_000_000, owed, [why]) == found
    assert (await verify(platform.database)).ok


async def test_a_receipt_of_a_run_that_is_charged_as_quoted_has_no_differences(platform: Platform):
    """
    Where nothing differs nothing is explained; nor is before the charge.
    """
    await platform.fund(1_000_000)
    await platform.ask(hold_request("run_same", 3))
    before = await platform.ask(GetReceipt(run="run_same", tenant=TENANT))
    await platform.publish(TENANT, usage("run_same", 3))
    await platform.settled("run_same")
    after = await platform.ask(GetReceipt(run="run_same", tenant=TENANT))

    assert ([], []) == (before.differences, after.differences)


@pytest.fixture
async def owner(platform: Platform, billing_urls: DatabaseUrls) -> AsyncIterator[asyncpg.Connection]:
    """Somebody with all rights who has taken the guards of charges away."""
    connection = await asyncpg.connect(billing_urls.owner.replace("+asyncpg", ""))
    await connection.execute("ALTER TABLE charges DISABLE TRIGGER USER")
    yield connection
    await connection.close()


async def test_an_audit_rates_every_charge_again(platform: Platform, owner: asyncpg.Connection):
    """
    A charge whose inputs or lines were changed does not come to the same again, and is named.
    """
    tamperings = {
        "run_quantity": ("inputs = jsonb_set(inputs, '{usage,totals,0,quantity}', '\"9\"')", 90_000, ""),
        "run_outcome": ("inputs = jsonb_set(inputs, '{usage,outcome}', '\"failed\"')", 0, ""),
        "run_lines": ("lines = jsonb_set(lines, '{0,quantity}', '\"9\"')", 70_000, "the lines are not"),
        "run_nothing": ("inputs = '{}'", 0, "missing required field `usage`"),
    }
    await platform.fund(1_000_000)
    for run in ("run_good", *tamperings):
        await platform.ask(hold_request(run, 10))
        await platform.publish(TENANT, usage(run, 7))
        await platform.settled(run)
    assert (await verify(platform.database)).ok

    for run, (tampering, _, _) in tamperings.items():
        await owner.execute(f"UPDATE charges SET {tampering} WHERE run = $1", run)

    report = await verify(platform.database)
    faults = {fault.subject: fault for fault in report.faults if fault.rule == RULE}
    assert {f"{run}:1" for run in tamperings} == faults.keys()
    for run, (_, expected, detail) in tamperings.items():
        fault = faults[f"{run}:1"]
        assert (expected, 70_000) == (fault.expected, fault.found)
        assert detail in fault.detail
