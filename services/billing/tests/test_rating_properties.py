"""What is true of each charge model whatever the numbers: the table in docs/guides/prices.md, tried to break.

| model                     | adds up | rises | a part costs no more than | several windows cost |
|                           |         |       | the whole                 | at least one         |
|---------------------------|---------|-------|---------------------------|----------------------|
| standard, dynamic         | yes     | yes   | yes                       | the same             |
| percentage                | if nothing is free | yes | yes               | at most one, if free |
| percentage by transaction | if nothing is free | with each transaction | yes | at most one, if free |
| package, flat             | no      | yes   | yes                       | yes                  |
| graduated (percentage)    | no      | yes   | yes                       | depends on the tiers |
| volume                    | no      | no    | no                        | depends on the tiers |
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import pytest
from agora_billing.rating import model
from agora_billing.rating.usage import NOTHING, Usage
from agora_contracts.catalog import OfferedPrice
from agora_contracts.pricing import (
    FlatModel,
    GraduatedModel,
    PackageModel,
    PercentageModel,
    Tier,
    VolumeModel,
)
from hypothesis import given
from hypothesis import strategies as st

from .rating_oracle import (
    BY_MONTH,
    FLATS,
    MODELS,
    QUANTITIES,
    RATES,
    SOMEWHAT,
    cost,
    half_even,
    of,
    prices,
    usages,
)

EVERY = pytest.mark.parametrize("name", list(MODELS))
RISING = pytest.mark.parametrize("name", [name for name in MODELS if name != "volume"])
MONTHLY = pytest.mark.parametrize("name", BY_MONTH)


def offered(charge_model: object, window: str = "run") -> OfferedPrice:
    """A price of this model alone."""
    return OfferedPrice(basis="task", meter="tasks", model=charge_model, window=window)  # type: ignore[arg-type]


def exact(price: OfferedPrice, usage: Usage) -> Fraction:
    """What the code under test says that it costs."""
    return Fraction(model.amount(price, usage))


# --- of every model ------------------------------------------------------------------------------


@EVERY
@given(data=st.data())
def test_the_amount_is_the_exact_fraction(name: str, data: st.DataObject):
    """
    Whatever model, numbers, free units and bounds: the amount is what exact fractions say, with every digit.
    """
    price, usage = data.draw(prices(name)), data.draw(usages() | usages(QUANTITIES))

    assert cost(price, usage) == exact(price, usage)


@EVERY
@given(data=st.data())
def test_each_line_multiplies_and_all_of_them_add_up(name: str, data: st.DataObject):
    """
    On every line quantity times unit price is the amount; their sum rounded once, half to even, is the charge.
    """
    price, usage = data.draw(prices(name)), data.draw(usages())

    lines = model.rate(price, usage)

    assert all(Fraction(one.quantity) * Fraction(one.unit_price) == Fraction(one.amount) for one in lines)
    assert cost(price, usage) == sum((Fraction(one.amount) for one in lines), Fraction(0))
    assert half_even(cost(price, usage)) == model.total(lines)


@EVERY
@given(data=st.data())
def test_nothing_costs_nothing_and_no_usage_earns(name: str, data: st.DataObject):
    """
    Without usage nothing is owed, whatever flat parts and minimums say; and nothing is ever owed to the customer.
    """
    price = data.draw(prices(name))

    assert 0 == exact(price, NOTHING)
    assert exact(price, data.draw(usages())) >= 0


@EVERY
@given(data=st.data())
def test_the_order_of_events_changes_nothing(name: str, data: st.DataObject):
    """
    The same transactions in another order cost the same: only the totals, or the sorted list, are looked at.
    """
    price, usage = data.draw(prices(name)), data.draw(usages())
    shuffled = data.draw(st.permutations(usage.transactions))

    assert exact(price, usage) == exact(price, of(shuffled))


@EVERY
@given(data=st.data())
def test_a_quote_covers_every_run_that_keeps_to_its_estimate(name: str, data: st.DataObject):
    """
    Whatever a run uses up to its estimate costs no more than the quote, also where less costs more (volume).
    """
    price = data.draw(prices(name))
    used = data.draw(usages())
    spare = data.draw(SOMEWHAT)
    estimate = Usage(of([used.quantity, spare]).quantity, used.events + data.draw(st.integers(1, 2)))

    assert half_even(cost(price, used)) <= model.total(model.worst(price, estimate))


@pytest.mark.parametrize(
    "name", [name for name in MODELS if name not in ("volume", "percentage by transaction")]
)
@given(data=st.data())
def test_a_quote_for_one_run_is_tight(name: str, data: st.DataObject):
    """
    Where the charge rises with the quantity, the quote is what the estimate itself would cost, and not more.
    """
    price, usage = data.draw(prices(name)), data.draw(usages())

    assert model.rate(price, usage) == model.worst(price, usage)


# --- rising --------------------------------------------------------------------------------------


@RISING
@given(data=st.data())
def test_more_usage_never_costs_less(name: str, data: st.DataObject):
    """
    Every model but volume rises: another transaction, or a bound of the window, never lowers what is owed.
    """
    price, usage, more = data.draw(prices(name)), data.draw(usages()), data.draw(SOMEWHAT)

    assert exact(price, of([*usage.transactions, more])) >= exact(price, usage)


def test_by_volume_more_may_cost_less():
    """
    Volume does not rise: the eleventh unit makes all of them cheaper, and the charge falls from 10.00 to 8.80.
    """
    price = offered(
        VolumeModel(tiers=[Tier(up_to=Decimal(10), unit_price=Decimal(1)), Tier(unit_price=Decimal("0.8"))])
    )

    assert [10, Fraction("8.8")] == [exact(price, Usage(Decimal(quantity))) for quantity in (10, 11)]


# --- adding up -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["standard", "dynamic"])
@given(data=st.data())
def test_by_the_unit_windows_add_up(name: str, data: st.DataObject):
    """
    Standard and dynamic are additive: two windows cost together what one with both usages costs.
    """
    price = data.draw(prices(name, bounds=False))
    one, other = data.draw(usages()), data.draw(usages())

    assert exact(price, one) + exact(price, other) == exact(price, one.plus(other))


@given(one=usages(), other=usages(), rate=RATES, fixed=FLATS, least=FLATS, most=st.none() | FLATS)
def test_a_percentage_adds_up_where_nothing_is_free(
    one: Usage, other: Usage, rate: Decimal, fixed: Decimal, least: Decimal, most: Decimal | None
):
    """
    Rate and fixed part are additive over transactions, also with the bounds of each transaction.
    """
    if most is not None:
        least, most = sorted([least, most])
    bounded = PercentageModel(rate=rate, fixed=fixed, transaction_minimum=least, transaction_maximum=most)
    for charge_model in (PercentageModel(rate=rate, fixed=fixed), bounded):
        price = offered(charge_model)

        assert exact(price, one) + exact(price, other) == exact(price, one.plus(other))


@given(one=usages(), other=usages(), charge_model=MODELS["percentage"])
def test_what_is_free_is_free_once_per_window(one: Usage, other: Usage, charge_model: PercentageModel):
    """
    With something free, two windows cost at most what one costs with both usages: each has its own free part.
    """
    price = offered(charge_model)

    assert exact(price, one) + exact(price, other) <= exact(price, one.plus(other))


@pytest.mark.parametrize("name", ["package", "flat"])
@given(data=st.data())
def test_what_is_begun_is_begun_once_per_window(name: str, data: st.DataObject):
    """
    Package and flat are subadditive: two windows cost at least what one costs with both usages.
    """
    price = data.draw(prices(name, bounds=False))
    one, other = data.draw(usages()), data.draw(usages())

    assert exact(price, one) + exact(price, other) >= exact(price, one.plus(other))


def test_tiers_do_not_add_up_in_either_direction():
    """
    Graduated is additive in neither direction: falling prices make one window cheaper, rising ones dearer.
    """
    falling = [Tier(up_to=Decimal(10), unit_price=Decimal(2)), Tier(unit_price=Decimal(1))]
    rising = [Tier(up_to=Decimal(10), unit_price=Decimal(1)), Tier(unit_price=Decimal(2))]
    ten, twenty = Usage(Decimal(10)), Usage(Decimal(20))

    def difference(tiers: list[Tier]) -> Fraction:
        price = offered(GraduatedModel(tiers=tiers))
        return exact(price, twenty) - 2 * exact(price, ten)

    assert [-10, 10] == [difference(falling), difference(rising)]


# --- windows longer than a run -------------------------------------------------------------------


def charges(price: OfferedPrice, runs: Sequence[Usage]) -> list[int]:
    """What each of these runs owes when they are settled in this order."""
    before, amounts = NOTHING, []
    for run in runs:
        rated = model.added(price, before, run)
        assert rated.amount * Fraction(1, 10**6) == sum(
            (Fraction(one.amount) for one in rated.lines), Fraction(0)
        )
        assert all(
            Fraction(one.quantity) * Fraction(one.unit_price) == Fraction(one.amount) for one in rated.lines
        )
        before = before.plus(run)
        amounts.append(rated.amount)
    return amounts


@MONTHLY
@given(data=st.data())
def test_runs_of_a_window_owe_its_total_whatever_their_order(name: str, data: st.DataObject):
    """
    The charges of all runs are the rounded total of the window, in any order; lines add up without a remainder.
    """
    price = data.draw(prices(name, "month"))
    runs = data.draw(st.lists(usages(), max_size=5))
    other = data.draw(st.permutations(runs))
    whole = of([one for run in runs for one in run.transactions])

    assert half_even(cost(price, whole)) == sum(charges(price, runs)) == sum(charges(price, other))


@MONTHLY
@given(data=st.data())
def test_a_quote_holds_whatever_other_runs_do_to_the_window(name: str, data: st.DataObject):
    """
    However much other runs use between the quote and the settlement, a run that keeps to its estimate owes no more.
    """
    price = data.draw(prices(name, "month"))
    before, others, used = data.draw(usages()), data.draw(usages()), data.draw(usages())
    estimate = Usage(of([used.quantity, data.draw(SOMEWHAT)]).quantity, used.events + 1)

    lines = model.worst(price, estimate, before)
    quoted = model.total(lines)

    assert Fraction(quoted, 10**6) == sum((Fraction(one.amount) for one in lines), Fraction(0))
    assert model.added(price, before.plus(others), used).amount <= quoted


def test_crossing_a_tier_is_charged_from_where_the_window_stands():
    """
    Eight units on top of six: four are left in the first tier, four go into the second, whose flat part is due.
    """
    tiers = [Tier(up_to=Decimal(10), unit_price=Decimal(1)), Tier(unit_price=Decimal("0.5"), flat=Decimal(3))]
    price = offered(GraduatedModel(tiers=tiers), "month")

    rated = model.added(price, Usage(Decimal(6)), Usage(Decimal(8)))

    assert 9_000_000 == rated.amount
    assert ["4", "4", "1"] == [str(one.quantity) for one in rated.lines]


def test_a_charge_that_falls_by_volume_is_negative():
    """
    The eleventh unit makes ten cheaper that were charged before: the lines take those back and add all eleven.
    """
    tiers = [Tier(up_to=Decimal(10), unit_price=Decimal(1)), Tier(unit_price=Decimal("0.8"))]
    price = offered(VolumeModel(tiers=tiers), "month")

    rated = model.added(price, Usage(Decimal(10)), Usage(Decimal(1)))

    assert -1_200_000 == rated.amount
    assert [("11", "0.8"), ("-10", "1")] == [(str(one.quantity), str(one.unit_price)) for one in rated.lines]
    assert "charged before" in rated.lines[1].description


def test_the_quote_of_a_dearer_volume_stands_for_all_units_before():
    """
    Where a tier is dearer for all units, the run that crosses its border pays for the month: its quote says so.
    """
    tiers = [Tier(up_to=Decimal(100), unit_price=Decimal(1)), Tier(unit_price=Decimal(2))]
    price = offered(VolumeModel(tiers=tiers), "month")

    lines = model.worst(price, Usage(Decimal(1)), Usage(Decimal(40)))

    assert ["2", "100", "0.000001"] == [str(one.amount) for one in lines]
    assert "entering tier 2" in lines[1].description


@pytest.mark.parametrize(
    ("charge_model", "before", "expected"),
    [
        (FlatModel(amount=Decimal(20)), 0, "20.000001"),
        (FlatModel(amount=Decimal(20)), 1, "0"),
        (PackageModel(size=Decimal(100), price=Decimal(3)), 50, "3.000001"),
        (GraduatedModel(tiers=[Tier(up_to=Decimal(10), unit_price=Decimal(2)), Tier(unit_price=Decimal(1))]), 0,
         "2.000001"),
        (GraduatedModel(tiers=[Tier(up_to=Decimal(10), unit_price=Decimal(2)), Tier(unit_price=Decimal(1))]), 10,
         "1.000001"),
    ],
)  # fmt: skip
def test_a_quote_takes_what_is_behind_as_behind(charge_model: object, before: int, expected: str):
    """
    A flat price that is paid and a tier that is full are not quoted again; the rest is at its dearest.
    """
    lines = model.worst(offered(charge_model, "month"), Usage(Decimal(1)), Usage(Decimal(before)))

    assert Decimal(expected) == sum((one.amount for one in lines), Decimal(0))
