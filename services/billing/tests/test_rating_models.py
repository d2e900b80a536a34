"""Each charge model at its borders, by worked examples: what stands here was worked out by hand."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from agora_billing.rating import model
from agora_billing.rating.usage import Usage, by_meter
from agora_contracts.billing import Quantity
from agora_contracts.catalog import OfferedPrice
from agora_contracts.problems import AgoraError

from .rating_oracle import cost, of

TIERS = [
    {"up_to": "10", "unit_price": "1.00", "flat": "2"},
    {"up_to": "100", "unit_price": "0.80", "flat": "5"},
    {"unit_price": "0.50"},
]
STANDARD = {"type": "standard", "unit_price": "0.000000000001"}
PACKAGE = {"type": "package", "size": "100", "price": "3"}
GRADUATED = {"type": "graduated", "tiers": TIERS}
VOLUME = {"type": "volume", "tiers": TIERS}
PERCENTAGE = {
    "type": "percentage",
    "rate": "0.029",
    "fixed": "0.30",
    "free_transactions": 2,
    "free_amount": "50",
}
BOUNDED = {"type": "percentage", "rate": "0.01", "fixed": "0.10", "transaction_minimum": "0.50",
           "transaction_maximum": "3"}  # fmt: skip
GRADUATED_PERCENTAGE = {
    "type": "graduated_percentage",
    "tiers": [{"up_to": "1000", "rate": "0.02", "flat": "5"}, {"rate": "0.01"}],
}
FLAT = {"type": "flat", "amount": "20"}
DYNAMIC = {"type": "dynamic"}


def a_price(charge_model: dict[str, Any], **other: Any) -> OfferedPrice:
    """A price as an author writes it."""
    written = {"basis": "task", "meter": "tasks", "model": charge_model, **other}
    return msgspec.convert(written, OfferedPrice)


@pytest.mark.parametrize(
    ("charge_model", "quantity", "expected"),
    [
        # 10^12 units at 10^-12 are one: the smallest price and the largest quantity keep every digit
        (STANDARD, "0", "0"),
        (STANDARD, "1", "1e-12"),
        (STANDARD, "1000000000000", "1"),
        (STANDARD, "0.000000000000000001", "1e-30"),
        # 100 by the package for 3: the 101st opens the second
        (PACKAGE, "0", "0"),
        (PACKAGE, "0.000000000000000001", "3"),
        (PACKAGE, "100", "3"),
        (PACKAGE, "100.000000000000000001", "6"),
        (PACKAGE, "101", "6"),
        (PACKAGE, "1000000000000", "30000000000"),
        # 10 at 1.00 after 2.00 once, 90 at 0.80 after 5.00 once, the rest at 0.50
        (GRADUATED, "0", "0"),
        (GRADUATED, "1", "3"),
        (GRADUATED, "10", "12"),
        (GRADUATED, "10.5", "17.4"),
        (GRADUATED, "11", "17.8"),
        (GRADUATED, "100", "89"),
        (GRADUATED, "101", "89.5"),
        # all of them at the price of the tier that is reached: it falls from 89.00 to 85.00 to 50.50
        (VOLUME, "0", "0"),
        (VOLUME, "1", "3"),
        (VOLUME, "10", "12"),
        (VOLUME, "11", "13.8"),
        (VOLUME, "100", "85"),
        (VOLUME, "101", "50.5"),
        # 2 % of the first 1,000 after 5.00 once, 1 % of the rest
        (GRADUATED_PERCENTAGE, "0", "0"),
        (GRADUATED_PERCENTAGE, "1000", "25"),
        (GRADUATED_PERCENTAGE, "1000.01", "25.0001"),
        (GRADUATED_PERCENTAGE, "3000", "45"),
        (FLAT, "0", "0"),
        (FLAT, "0.01", "20"),
        (FLAT, "1000000", "20"),
        (DYNAMIC, "0", "0"),
        (DYNAMIC, "12.345678901", "12.345678901"),
    ],
)  # fmt: skip
def test_what_a_quantity_costs(charge_model: dict[str, Any], quantity: str, expected: str):
    """
    Every model at, just before and just behind its borders; nothing used costs nothing.
    """
    price, usage = a_price(charge_model), Usage(Decimal(quantity), 1)

    assert Decimal(expected) == model.amount(price, usage)
    assert Fraction(expected) == cost(price, usage)


@pytest.mark.parametrize(
    ("charge_model", "transactions", "expected"),
    [
        # 2.9 % beyond 50, and 0.30 each beyond the second
        (PERCENTAGE, [], "0"),
        (PERCENTAGE, [50], "0"),
        (PERCENTAGE, ["50.01"], "0.00029"),
        (PERCENTAGE, [50, 50], "1.45"),
        (PERCENTAGE, [50, 50, 0], "1.75"),
        (PERCENTAGE, [100, 200, 300], "16.25"),
        # 1 % and 0.10, but at least 0.50 and at most 3.00: bounds are met exactly at 40 and at 290
        (BOUNDED, [], "0"),
        (BOUNDED, [0], "0.50"),
        (BOUNDED, [39], "0.50"),
        (BOUNDED, [40], "0.50"),
        (BOUNDED, [41], "0.51"),
        (BOUNDED, [290], "3.00"),
        (BOUNDED, [291], "3.00"),
        (BOUNDED, [1, 100, 1000], "4.60"),
        # free: the two smallest pay no fixed part, the first 50 of the amount (30, and 20 of 40) no rate; what
        # is free altogether is not raised to the minimum: 0 + 0.50 + 0.51 + 2.10
        (BOUNDED | {"free_transactions": 2, "free_amount": "50"}, [200, 40, 30, 41], "3.11"),
        (BOUNDED | {"free_transactions": 1}, [0], "0"),
        (BOUNDED | {"free_amount": "50", "fixed": "0"}, [50], "0"),
        (BOUNDED | {"free_amount": "50"}, [50], "0.50"),
    ],
)
def test_what_transactions_cost(charge_model: dict[str, Any], transactions: list[int | str], expected: str):
    """
    A percentage with its fixed part, what is free of each, and the bounds of one transaction.
    """
    price, usage = a_price(charge_model), of([Decimal(one) for one in transactions])

    assert Decimal(expected) == model.amount(price, usage)
    assert Fraction(expected) == cost(price, usage)


@pytest.mark.parametrize(
    ("charge_model", "free", "quantity", "expected"),
    [
        ({"type": "standard", "unit_price": "2"}, "10", "10", "0"),
        ({"type": "standard", "unit_price": "2"}, "10", "10.5", "1"),
        (PACKAGE, "100", "100", "0"),
        (PACKAGE, "100", "101", "3"),
        (GRADUATED, "10", "10", "0"),
        (GRADUATED, "10", "20", "12"),
        (GRADUATED, "10", "21", "17.8"),
        (VOLUME, "10", "20", "12"),
        (VOLUME, "10", "21", "13.8"),
    ],
)
def test_free_units_come_off_first(charge_model: dict[str, Any], free: str, quantity: str, expected: str):
    """
    What is free counts for no tier and no package: rating begins behind it.
    """
    price = a_price(charge_model, free_units=free)

    assert Decimal(expected) == model.amount(price, Usage(Decimal(quantity)))


@pytest.mark.parametrize(
    ("quantity", "expected", "said"),
    [("0", "0", []), ("1", "5", ["minimum of 5 per run"]), ("5", "5", []), ("6", "6", []), ("8", "8", []),
     ("9", "8", ["maximum of 8 per run"])],
)  # fmt: skip
def test_a_window_is_bounded(quantity: str, expected: str, said: list[str]):
    """
    A window with usage owes at least its minimum and at most its maximum, as a line of its own; one without, nothing.
    """
    price = a_price({"type": "standard", "unit_price": "1"}, minimum="5", maximum="8")

    lines = model.rate(price, Usage(Decimal(quantity)))

    assert Decimal(expected) == sum((one.amount for one in lines), Decimal(0))
    assert len(said) == len(lines) - 1
    assert all(text in lines[-1].description for text in said)


def test_the_lines_say_how_it_came_about():
    """
    One line for each tier, its flat part and what was free, each quantity times unit price.
    """
    lines = model.rate(a_price(GRADUATED, free_units="5"), Usage(Decimal(20)))

    assert [
        ("tasks by task, free", "5", "0"),
        ("tasks by task, tier 1 (up to 10)", "10", "1.00"),
        ("tasks by task, tier 1 (up to 10), flat part", "1", "2"),
        ("tasks by task, tier 2 (over 10 up to 100)", "5", "0.80"),
        ("tasks by task, tier 2 (over 10 up to 100), flat part", "1", "5"),
    ] == [(one.description, str(one.quantity), str(one.unit_price)) for one in lines]


def test_bounds_of_transactions_are_lines_of_their_own():
    """
    How many transactions were raised or lowered, and by how much in all, stands beside rate and fixed part.
    """
    lines = model.rate(a_price(BOUNDED), of([Decimal(1), Decimal(2), Decimal(1000)]))

    assert [
        ("rate on the amount", "10.03"),
        ("fixed part by transaction", "0.30"),
        ("transactions raised to 0.5: 2", "0.77"),
        ("transactions lowered to 3: 1", "-7.10"),
    ] == [(one.description.removeprefix("tasks by task, "), str(one.amount)) for one in lines]


@pytest.mark.parametrize(
    ("charge_model", "usage"),
    [
        (PERCENTAGE, Usage(Decimal(100))),
        (BOUNDED, Usage(Decimal(100), 2)),
        (BOUNDED, Usage(Decimal(100), 2, (Decimal(100),))),
        (BOUNDED, Usage(Decimal(100), 1, (Decimal(99),))),
    ],
)
def test_a_price_by_transaction_needs_the_transactions(charge_model: dict[str, Any], usage: Usage):
    """
    A total that does not say its events, or lists not all of them, is refused and not guessed at.
    """
    with pytest.raises(AgoraError, match="priced by transaction") as refused:
        model.rate(a_price(charge_model), usage)

    assert "malformed_request" == refused.value.slug


def test_more_transactions_than_can_be_listed_are_not_quoted():
    """
    A run that could not be rated at its end is refused before it starts: at most 1,000 transactions are listed.
    """
    price = a_price(BOUNDED)

    assert model.worst(price, Usage(Decimal(100), 1_000))
    with pytest.raises(AgoraError, match="at most 1000"):
        model.worst(price, Usage(Decimal(100), 1_001))


@pytest.mark.parametrize(
    "quantity", ["-1", "-1e-18", "NaN", "sNaN", "Infinity", "-Infinity", "1e13", "1e-19", "0e99"]
)
def test_quantities_that_are_no_plain_numbers_are_refused(quantity: str):
    """
    A quantity is a finite number from 0 to 10^12 of bounded places, each listed transaction too; each place is named.
    """
    wrong = Decimal(quantity)
    with pytest.raises(AgoraError) as refused:
        by_meter(
            [
                Quantity(meter="a", quantity=Decimal(1)),
                Quantity(meter="b", quantity=wrong),
                Quantity(meter="c", quantity=Decimal(1), events=2, transactions=[Decimal(1), wrong]),
            ],
            "totals",
        )

    assert "malformed_request" == refused.value.slug
    fields = [error.field for error in refused.value.problem.errors]
    assert ["/totals/1/quantity", "/totals/2/transactions/1"] == fields


def test_the_largest_quantity_is_rated():
    """
    10^12 units at the highest price are more than any account holds: refused with a clear answer, not rounded.
    """
    largest = by_meter([Quantity(meter="tasks", quantity=Decimal(10) ** 12)], "totals")["tasks"]
    price = a_price({"type": "standard", "unit_price": "1000000"})

    lines = model.rate(price, largest)

    assert Decimal("1e18") == lines[0].amount
    with pytest.raises(AgoraError, match="more than an account can hold"):
        model.total(lines)


def test_quantities_of_one_meter_add_up():
    """
    A meter that appears twice counts twice, with the events and transactions of both.
    """
    tenth = Quantity(meter="a", quantity=Decimal("0.1"), events=1, transactions=[Decimal("0.1")])
    unlisted = Quantity(meter="b", quantity=Decimal(2), events=2)
    found = by_meter([tenth, tenth, unlisted, unlisted], "totals")

    assert Usage(Decimal("0.2"), 2, (Decimal("0.1"), Decimal("0.1"))) == found["a"]
    assert Usage(Decimal(4), 4) == found["b"]


def test_lines_are_rounded_once_and_half_to_even():
    """
    Two halves of a micro-unit make one whole; a half alone goes to the even neighbour.
    """

    def halves(count: int) -> int:
        return model.total([model.line("m", "", Decimal(1), Decimal("0.0000005"))] * count)

    assert [0, 1, 2, 2, 2] == [halves(count) for count in (1, 2, 3, 4, 5)]
