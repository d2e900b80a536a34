"""Rentals: what the time of a deployment costs, and that its runs owe model calls only."""

from decimal import Decimal
from typing import Any

import pytest
from agora_contracts.billing import Quantity
from agora_contracts.catalog import MODEL_COST_METER, OfferedPrice
from agora_contracts.deployments import DeploymentEnded
from agora_contracts.problems import AgoraError
from agora_contracts.rentals import CheckRental

from .conftest import ACCOUNT, TENANT, Platform, hold_request, usage
from .test_periods import DEPLOYMENT, by_the_month, cents, hired, in_order, pinned, told, total

RENT = "price_rent"


async def rented(platform: Platform, basis: str, unit_price: str) -> None:
    """A deployment that is hired for its time."""
    offered = OfferedPrice(basis=basis, unit_price=Decimal(unit_price))  # type: ignore[arg-type]
    await pinned(platform, by_the_month(price_id=RENT, prices=[offered]))
    await hired(platform, price=RENT, basis=basis)


def check(basis: str = "month", **other: Any) -> CheckRental:
    """Whether a hire is affordable."""
    return CheckRental(
        **({"tenant": TENANT, "account": ACCOUNT, "price_version": RENT, "basis": basis} | other)
    )


async def test_hours_cost_their_hundredths(platform: Platform):
    """
    An hour and a quarter at 2.00 come to 2.50; each total posts what was added.
    """
    await platform.fund(10_000_000)
    await rented(platform, "hour", "2")

    await platform.publish(TENANT, total("0.50", meter="deployment.hours"))
    await told(platform, 1)
    await platform.publish(TENANT, total("1.25", revision=2, meter="deployment.hours"))
    events = await told(platform, 2)

    assert [1_000_000, 1_500_000] == [one.difference.amount for one in events]
    assert (750, 0, 0) == await cents(platform)
    await in_order(platform)


async def test_a_month_is_flat_and_its_runs_owe_model_calls_only(platform: Platform):
    """
    Twenty dollars for the month, whatever it runs; a run pays its model calls at cost.
    """
    await platform.fund(30_000_000)
    await rented(platform, "month", "20")
    await platform.publish(TENANT, total(1, meter="deployment.months"))
    await told(platform, 1)

    estimates = [Quantity(meter=MODEL_COST_METER, quantity=Decimal("0.05"))]
    request = hold_request(
        "run_1", price_version=RENT, basis="month", deployment=DEPLOYMENT, estimates=estimates
    )
    assert 50_000 == (await platform.ask(request)).amount.amount
    await platform.publish(TENANT, usage("run_1", 7, model_cost="0.03"))

    assert 30_000 == (await platform.settled("run_1")).amount.amount
    assert (997, 0, 0) == await cents(platform)
    await in_order(platform)


async def test_a_hire_is_affordable_or_refused(platform: Platform):
    """
    The first month, or one hour, must be covered by what is available; promotional credit counts, what is held does not.
    """
    await platform.fund(20_000_000)
    offers = [
        OfferedPrice(basis="month", unit_price=Decimal(20)),
        OfferedPrice(basis="hour", unit_price=Decimal(2)),
    ]
    await pinned(platform, by_the_month(price_id=RENT, prices=offers))

    assert 20_000_000 == (await platform.ask(check())).amount.amount
    await platform.ask(hold_request("run_1", 1))
    assert 2_000_000 == (await platform.ask(check("hour"))).amount.amount
    for command, slug in (
        (check(), "insufficient_credit"),
        (check(account="acc_none"), "not_found"),
        (check(tenant="ten_other"), "not_found"),
        (check("task"), "invalid_price"),
        (check(price_version="price_none"), "unavailable"),
    ):
        with pytest.raises(AgoraError) as caught:
            await platform.ask(command)
        assert slug == caught.value.slug


async def test_the_end_of_a_deployment_is_known_once(platform: Platform):
    """
    The first end stands, and late totals of its time are still charged.
    """
    await platform.fund(10_000_000)
    await rented(platform, "hour", "2")
    [started] = await platform.rows("SELECT started_at FROM rentals")
    ended = DeploymentEnded(deployment=DEPLOYMENT, account=ACCOUNT, at=started.started_at)

    await platform.publish(TENANT, ended, entity=DEPLOYMENT)
    await platform.until(lambda: platform.rows("SELECT 1 FROM rentals WHERE ended_at IS NOT NULL"))
    await platform.publish(TENANT, total("0.01", meter="deployment.hours"))

    [event] = await told(platform, 1)
    assert 20_000 == event.amount.amount
