"""Prices in a few words, as the command's tables show them."""

from typing import Any

import msgspec
import pytest
from agora.cli.prices import price_text
from agora_contracts.catalog import OfferedPrice

TIERS = [{"up_to": "10", "unit_price": "0.10"}, {"unit_price": "0.08"}]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"unit_price": "0.50"}, "0.50/task"),
        ({"model": {"type": "standard", "unit_price": "0.50"}}, "0.50/task"),
        ({"model": {"type": "package", "size": "100", "price": "2"}}, "2 per 100 of task"),
        ({"model": {"type": "graduated", "tiers": TIERS}}, "graduated from 0.10/task"),
        ({"model": {"type": "volume", "tiers": TIERS}, "window": "month", "free_units": "5", "maximum": "9"},
         "volume from 0.10/task by the month, 5 free, at most 9"),
        ({"model": {"type": "percentage", "rate": "0.029", "fixed": "0.30"}}, "2.9 % + 0.30 each"),
        ({"model": {"type": "percentage", "rate": "0.5"}, "minimum": "1"}, "50 %, at least 1"),
        ({"model": {"type": "graduated_percentage", "tiers": [{"rate": "0.02"}]}}, "graduated from 2 %"),
        ({"model": {"type": "flat", "amount": "20"}}, "20 flat"),
        ({"model": {"type": "dynamic"}}, "as reported"),
    ],
)  # fmt: skip
def test_every_price_has_a_few_words(written: dict[str, Any], said: str) -> None:
    """
    Each charge model, its window and its bounds are told without a table of their own.
    """
    price = msgspec.convert({"basis": "task", "meter": "tasks", **written}, OfferedPrice)

    assert said == price_text(price)
