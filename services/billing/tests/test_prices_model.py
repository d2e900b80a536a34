"""The rules of prices: what quantities cost."""

from decimal import Decimal

import pytest
from agora_billing.prices import model
from agora_billing.prices.model import PriceVersion
from agora_contracts.billing import Quantity
from agora_contracts.catalog import MODEL_COST_METER, ChargePolicy, OfferedPrice
from agora_contracts.problems import AgoraError


def a_price(*prices: OfferedPrice, limit: str = "0.05", charges: ChargePolicy | None = None) -> PriceVersion:
    """A price version with these offers, or one cent by task."""
    return PriceVersion(
        id="price_1",
        package="echo",
        version="1.0.0",
        currency="USD",
        prices=prices or (OfferedPrice(basis="task", unit_price=Decimal("0.01"), meter="tasks"),),
        charges=charges or ChargePolicy(),
        model_cost_limit=Decimal(limit),
    )


def some(meter: str, quantity: str | int | Decimal) -> Quantity:
    """A quantity of a meter."""
    return Quantity(meter=meter, quantity=Decimal(quantity))


def test_a_quote_is_quantity_times_unit_price():
    """
    A quote lists each priced meter exactly and comes to their sum in micro-units.
    """
    quote = model.quote(a_price(), "task", [some("tasks", 3)])

    assert 30_000 == quote.amount.amount
    assert [("tasks", Decimal("0.03"))] == [(line.meter, line.amount) for line in quote.lines]


def test_model_calls_are_quoted_at_cost_up_to_the_limit():
    """
    An estimate of model costs is passed through, but never beyond what the version allows.
    """
    quote = model.quote(a_price(limit="0.05"), "task", [some("tasks", 1), some(MODEL_COST_METER, "0.20")])

    assert 60_000 == quote.amount.amount
    assert Decimal(1) == quote.lines[-1].unit_price


def test_lines_are_rounded_once_and_half_to_even():
    """
    Two lines of half a micro-unit make one whole: lines are added exactly before the one rounding.
    """
    half = OfferedPrice(basis="task", unit_price=Decimal("0.0000005"), meter="a")
    other = OfferedPrice(basis="task", unit_price=Decimal("0.0000005"), meter="b")

    assert 1 == model.quote(a_price(half, other), "task", [some("a", 1), some("b", 1)]).amount.amount
    assert 0 == model.quote(a_price(half), "task", [some("a", 1)]).amount.amount
    assert 2 == model.quote(a_price(half), "task", [some("a", 3)]).amount.amount


@pytest.mark.parametrize("basis", ["hour", "month"])
def test_a_run_of_a_rental_owes_model_calls_only(basis):
    """
    The time of the deployment is paid for: a run is quoted what its model calls may cost, and nothing else.
    """
    price = a_price(OfferedPrice(basis=basis, unit_price=Decimal(3)))

    quote = model.quote(price, basis, [some(MODEL_COST_METER, "0.02")])

    assert [(MODEL_COST_METER, Decimal("0.02"))] == [(line.meter, line.amount) for line in quote.lines]
    assert 0 == model.quote(price, basis, []).amount.amount


def test_a_basis_that_is_not_offered_is_refused():
    """
    A package is billed only by what its version offers.
    """
    with pytest.raises(AgoraError, match="not offered by query, but by: task") as refused:
        model.quote(a_price(), "query", [])

    assert "invalid_price" == refused.value.slug


def test_a_price_without_a_meter_is_refused():
    """
    A unit price that names no meter cannot be rated and is no free run.
    """
    with pytest.raises(AgoraError, match="names no meter"):
        model.quote(a_price(OfferedPrice(basis="task", unit_price=Decimal(1))), "task", [])


def test_a_quote_needs_an_estimate_of_every_priced_meter():
    """
    A missing estimate is an error and not a quantity of zero, which would hold too little.
    """
    with pytest.raises(AgoraError, match="estimates lack tasks") as refused:
        model.quote(a_price(), "task", [some("words", 5)])

    assert ["/estimates"] == [error.field for error in refused.value.problem.errors]


@pytest.mark.parametrize("quantity", ["-1", "NaN", "Infinity", "1e13", "1e-19"])
def test_quantities_that_are_no_plain_numbers_are_refused(quantity):
    """
    A quantity is a finite number from zero up, of bounded size and places; the refusal names its place.
    """
    with pytest.raises(AgoraError) as refused:
        model.quote(a_price(), "task", [some("tasks", quantity)])

    assert "malformed_request" == refused.value.slug
    assert "/estimates/0/quantity" == refused.value.problem.errors[0].field


def test_the_quote_says_what_the_policy_is():
    """
    What is owed when less than everything is delivered stands on the quote.
    """
    policy = ChargePolicy(partial="share:0.5", empty="full")

    said = model.quote(a_price(charges=policy), "task", [some("tasks", 1)]).policy

    assert "In part: 0.5 of the full price. Empty: the full price." in said
