"""The guide to prices says what is charged: each of its tables is rated with the price above it."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from agora_billing.rating.model import amount
from agora_contracts.catalog import OfferedPrice

from .rating_oracle import MODELS, of

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "prices.md").read_text()
EXAMPLES = re.findall(
    r"```toml\n(model = .*?)```\n\n\| used \| costs \|\n\|---\|---\|\n((?:\|[^\n]*\|\n)+)", GUIDE, re.DOTALL
)


@pytest.mark.parametrize(("written", "table"), EXAMPLES)
def test_the_guides_tables_are_what_is_charged(written: str, table: str):
    """
    Every row of a table costs what it says, under the price as an author would write it.
    """
    price = msgspec.convert({"basis": "task", "meter": "tasks", **tomllib.loads(written)}, OfferedPrice)

    for row in table.splitlines():
        used, costs = (cell.strip() for cell in row.strip("|").split("|"))
        usage = of([Decimal(one) for one in used.split("+")])
        assert Decimal(costs) == amount(price, usage), row


def test_the_guide_has_an_example_of_every_model():
    """
    No charge model is without a worked example.
    """
    shown = set(re.findall(r'^model = \{ type = "(\w+)"', GUIDE, re.MULTILINE))

    assert {name.removesuffix(" by transaction").replace(" ", "_") for name in MODELS} == shown
