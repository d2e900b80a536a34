"""Model calls with the customer's own key: shown, not charged, but for the platform's fee."""

from dataclasses import replace
from decimal import Decimal

import pytest
from agora_billing.prices.comparing import is_rise
from agora_contracts.billing import GetReceipt, Quantity
from agora_contracts.catalog import OWN_KEY_METER, OfferedPrice, OwnKeyFee

from .conftest import TENANT, Platform, hold_request, usage
from .test_periods import by_the_month, cents, in_order, pinned
from .test_prices_model import a_price

OWN = "price_own"


@pytest.mark.parametrize(
    ("fee", "expected"),
    [
        (OwnKeyFee(), 10_000),
        (OwnKeyFee(rate=Decimal("0.05")), 10_000 + 20_000),
        (OwnKeyFee(per_call=Decimal("0.001")), 10_000 + 3_000),
        (OwnKeyFee(rate=Decimal("0.05"), per_call=Decimal("0.001")), 10_000 + 23_000),
    ],
    ids=["none", "rate", "per call", "both"],
)
async def test_only_the_fee_is_charged(platform: Platform, fee: OwnKeyFee, expected: int):
    """
    Three calls that cost 0.40 at their vendor: the receipt shows them at zero, and the fee goes to the platform.
    """
    await platform.fund(10_000_000)
    task = OfferedPrice(basis="task", unit_price=Decimal("0.01"), meter="tasks")
    published = by_the_month(
        price_id=OWN, prices=[task], own_key_fee=fee, author="ann", author_share=Decimal("0.7")
    )
    await pinned(platform, published)
    await platform.ask(hold_request("run_1", 1, price_version=OWN))
    own = Quantity(meter=OWN_KEY_METER, quantity=Decimal("0.40"), events=3)

    await platform.publish(TENANT, usage("run_1", totals=[Quantity(meter="tasks", quantity=Decimal(1)), own]))

    assert expected == (await platform.settled("run_1")).amount.amount
    receipt = await platform.ask(GetReceipt(run="run_1", tenant=TENANT))
    shown = [line for line in receipt.lines if line.meter == OWN_KEY_METER]
    assert (Decimal("0.40"), Decimal(0)) == (shown[0].quantity, shown[0].amount)
    [earned] = await platform.rows("SELECT amount FROM entries WHERE ledger = 'author_earnings'")
    assert 7_000 == earned.amount
    assert (1000 - expected / 10_000) // 1 == (await cents(platform))[0]
    await in_order(platform)


def test_a_higher_fee_is_a_rise():
    """
    Standing customers get the notice period for it.
    """
    old = a_price()
    new = replace(old, own_key_fee=OwnKeyFee(per_call=Decimal("0.001")))

    assert is_rise(old, new, "task")
    assert not is_rise(new, old, "task")
