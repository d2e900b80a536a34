"""What a price may be: each thing that cannot be rated is refused with what to change."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from agora_contracts.catalog import OfferedPrice
from agora_contracts.pricing import StandardModel

TIERS = [{"up_to": "10", "unit_price": "1"}, {"up_to": "20", "unit_price": "0.5"}, {"unit_price": "0.1"}]


def read(**written: Any) -> OfferedPrice:
    """A price as an author writes it."""
    return msgspec.convert({"basis": "task", "meter": "tasks", **written}, OfferedPrice)


def tiers(*borders: str | None) -> list[dict[str, Any]]:
    """Tiers that end at these borders."""
    return [{"unit_price": "1"} | ({} if border is None else {"up_to": border}) for border in borders]


@pytest.mark.parametrize("price", ["0", "0.000000000001", "999999.999999999999", "1000000", "1e6"])
def test_a_price_has_up_to_twelve_decimal_places(price: str):
    """
    From nothing to a million, to the trillionth of a dollar, and exactly as written.
    """
    short, model = read(unit_price=price), read(model={"type": "standard", "unit_price": price})

    assert Decimal(price) == short.unit_price
    assert short.charge_model == model.charge_model == StandardModel(unit_price=Decimal(price))


@pytest.mark.parametrize(
    "price", ["-0.01", "1000000.01", "0.0000000000001", "NaN", "sNaN", "Infinity", "-Infinity", "0e99"]
)
@pytest.mark.parametrize(
    "written",
    [
        lambda bad: {"unit_price": bad},
        lambda bad: {"model": {"type": "standard", "unit_price": bad}},
        lambda bad: {"model": {"type": "package", "size": "1", "price": bad}},
        lambda bad: {"model": {"type": "graduated", "tiers": [{"unit_price": bad}]}},
        lambda bad: {"model": {"type": "volume", "tiers": [{"unit_price": "1", "flat": bad}]}},
        lambda bad: {"model": {"type": "percentage", "rate": "0.1", "fixed": bad}},
        lambda bad: {"model": {"type": "percentage", "rate": "0.1", "transaction_maximum": bad}},
        lambda bad: {"model": {"type": "graduated_percentage", "tiers": [{"rate": "0.1", "flat": bad}]}},
        lambda bad: {"model": {"type": "flat", "amount": bad}},
        lambda bad: {"unit_price": "1", "minimum": bad},
        lambda bad: {"unit_price": "1", "maximum": bad},
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_refused_wherever_it_stands(price: str, written: Any):
    """
    Negative, too large, too fine and not finite numbers are refused in every field, which the message names.
    """
    with pytest.raises(msgspec.ValidationError, match=r"at most 12 decimal places, not|Invalid decimal"):
        read(**written(price))


@pytest.mark.parametrize("rate", ["-0.01", "1.01", "2.9", "0.0000000000001"])
def test_a_rate_is_a_fraction(rate: str):
    """
    A rate is from 0 to 1: 2.9 % is written 0.029, and 2.9 is refused.
    """
    for model in (
        {"type": "percentage", "rate": rate},
        {"type": "graduated_percentage", "tiers": [{"rate": rate}]},
    ):
        with pytest.raises(msgspec.ValidationError, match="rate must be from 0 to 1 with"):
            read(model=model)


@pytest.mark.parametrize(
    ("borders", "message"),
    [
        (["10", "10", None], "up_to of tier 2 is 10 and must be more than 10"),
        (["10", "5", None], "up_to of tier 2 is 5 and must be more than 10"),
        (["0", None], "up_to of tier 1 must be more than 0"),
        ([None, None], "tier 1 has no up_to: only the last tier"),
        (["10"], "the last tier (tier 1) must go on without end"),
        (["10", "20"], "the last tier (tier 2) must go on without end"),
        (["1000000000001", None], "at most 1000000000000"),
    ],
)
@pytest.mark.parametrize("kind", ["graduated", "volume", "graduated_percentage"])
def test_tiers_ascend_and_the_last_one_is_open(kind: str, borders: list[str | None], message: str):
    """
    Tiers that leave a gap, overlap or end are refused by number.
    """
    written = tiers(*borders)
    if kind == "graduated_percentage":
        written = [{"rate": "0.1"} | {key: one[key] for key in one if key == "up_to"} for one in written]

    with pytest.raises(msgspec.ValidationError) as refused:
        read(model={"type": kind, "tiers": written})

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({}, "exactly one of unit_price and model"),
        ({"unit_price": "1", "model": {"type": "dynamic"}}, "exactly one of unit_price and model"),
        ({"model": {"type": "weekly"}}, "Invalid value 'weekly'"),
        ({"model": {"unit_price": "1"}}, "missing required field `type`"),
        ({"model": {"type": "flat", "amount": "1", "size": "2"}}, "unknown field `size`"),
        ({"model": {"type": "graduated", "tiers": []}}, "length >= 1"),
        ({"model": {"type": "flat", "amount": "1"}, "free_units": "1"}, "free_units goes with standard"),
        (
            {"model": {"type": "percentage", "rate": "0.1"}, "free_units": "1"},
            "use free_amount and free_transactions",
        ),
        ({"unit_price": "1", "free_units": "-1"}, "free_units must be from 0"),
        ({"unit_price": "1", "minimum": "3", "maximum": "2"}, "minimum 3 is more than maximum 2"),
        ({"unit_price": "1", "window": "week"}, "Invalid enum value 'week'"),
        ({"model": {"type": "percentage", "rate": "0.1", "free_transactions": -1}}, ">= 0"),
        (
            {
                "model": {
                    "type": "percentage",
                    "rate": "0.1",
                    "transaction_minimum": "2",
                    "transaction_maximum": "1",
                }
            },
            "transaction_minimum 2 is more than transaction_maximum 1",
        ),
        (
            {"model": {"type": "percentage", "rate": "0.1", "transaction_minimum": "2"}, "window": "month"},
            'use window = "run", or minimum and maximum of the price',
        ),
    ],
)
def test_what_does_not_go_together_is_refused(written: dict[str, Any], message: str):
    """
    A price that contradicts itself, or would be free by mistake, is refused with what to write instead.
    """
    with pytest.raises(msgspec.ValidationError) as refused:
        read(**written)

    assert message in str(refused.value)


def test_a_price_is_sent_as_it_was_written():
    """
    A price survives the wire with every field; a price in short stays short.
    """
    for price in (
        read(unit_price="0.50"),
        read(model={"type": "graduated", "tiers": TIERS}, window="month", free_units="5", maximum="9"),
    ):
        sent = msgspec.json.encode(price)

        assert price == msgspec.json.decode(sent, type=OfferedPrice)
        assert ("unit_price" in msgspec.json.decode(sent)) == (price.model is None)
