"""Lines rated per second, by charge model, in one process: `./dev bench rating [--seconds S] [--rounds N]`.

Each model rates usages on both sides of its borders; a round goes through all models once, and what is printed is the
median over the rounds. Beside `rate` the same for a run's addition to a month and for the worst case of a quote. Every
line is checked once before: quantity times unit price is its amount.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from agora_billing.rating.model import added, rate, worst
from agora_billing.rating.usage import Usage
from agora_contracts.billing import QuoteLine
from agora_contracts.catalog import OfferedPrice

_TIERS = [
    {"up_to": "100", "unit_price": "0.12"},
    {"up_to": "1000", "unit_price": "0.10", "flat": "5"},
    {"up_to": "10000", "unit_price": "0.080000000001", "flat": "20"},
    {"unit_price": "0.05"},
]
_RATES = [
    {"up_to": "1000", "rate": "0.029", "flat": "2"},
    {"up_to": "10000", "rate": "0.021"},
    {"rate": "0.0175"},
]
_BOUNDED = {"rate": "0.029", "fixed": "0.30", "free_transactions": 2, "free_amount": "50"}
MODELS: dict[str, dict[str, Any]] = {
    "standard": {"type": "standard", "unit_price": "0.000000000123"},
    "package": {"type": "package", "size": "100", "price": "2.50"},
    "graduated": {"type": "graduated", "tiers": _TIERS},
    "volume": {"type": "volume", "tiers": _TIERS},
    "percentage": {"type": "percentage", **_BOUNDED},
    "percentage_by_transaction": {
        "type": "percentage",
        **_BOUNDED,
        "transaction_minimum": "0.50",
        "transaction_maximum": "25",
    },
    "graduated_percentage": {"type": "graduated_percentage", "tiers": _RATES},
    "flat": {"type": "flat", "amount": "20"},
    "dynamic": {"type": "dynamic"},
}
TRANSACTIONS = tuple(Decimal(cents) / 100 for cents in range(1, 40_000, 3_999))
QUANTITIES = [
    Decimal(text) for text in ("0", "1", "99.5", "100", "100.000001", "1000", "4321", "10000", "123456.789")
]

type Rates = Callable[[OfferedPrice, Usage], list[QuoteLine]]


def offered(model: dict[str, Any], window: str = "run") -> OfferedPrice:
    """A price of this model with a minimum and a maximum of its window."""
    written = {
        "basis": "task",
        "meter": "tasks",
        "model": model,
        "window": window,
        "minimum": "1",
        "maximum": "5000",
    }
    return msgspec.convert(written, OfferedPrice)


def usages(name: str) -> list[Usage]:
    """What is rated: totals around the borders, or transactions one by one."""
    if name == "percentage_by_transaction":
        lists = [TRANSACTIONS[:count] for count in range(1, len(TRANSACTIONS) + 1)]
        return [Usage(sum(one, Decimal(0)), len(one), one) for one in lists]
    return [Usage(quantity, 10) for quantity in QUANTITIES]


def check(lines: list[QuoteLine]) -> None:
    """Every line is exact.

    Raises:
        AssertionError: one is not.
    """
    for one in lines:
        assert Fraction(one.quantity) * Fraction(one.unit_price) == Fraction(one.amount), one


def lines_per_second(price: OfferedPrice, rated: list[Usage], work: Rates, seconds: float) -> float:
    """How many lines `work` makes of these usages, again and again for `seconds`."""
    for usage in rated:
        check(work(price, usage))
    lines = 0
    begin = time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        for usage in rated:
            lines += len(work(price, usage))
    return lines / passed


def main() -> None:
    """Measure, tell progress, print one JSON line last."""
    parser = argparse.ArgumentParser(prog="rating", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="for each model and round")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    by_run = {name: (offered(model), usages(name)) for name, model in MODELS.items()}
    month = offered(MODELS["graduated"], "month"), usages("graduated")
    before = Usage(Decimal(950), 40)
    figures: dict[str, list[float]] = {}
    for number in range(asked.rounds):
        for name, (price, rated) in by_run.items():
            figures.setdefault(name, []).append(lines_per_second(price, rated, rate, asked.seconds))
        for name, work in (
            ("added_to_a_month", lambda price, usage: added(price, before, usage).lines),
            ("worst_of_a_month", lambda price, usage: worst(price, usage, before)),
        ):
            figures.setdefault(name, []).append(lines_per_second(*month, work, asked.seconds))
        said = ", ".join(f"{name} {values[-1]:,.0f}" for name, values in figures.items())
        print(f"round {number + 1} of {asked.rounds}: {said}")
    medians = {name: round(statistics.median(values)) for name, values in figures.items()}
    models = {name: medians[name] for name in MODELS}
    line = {
        "bench": "rating",
        "lines_per_second": round(statistics.harmonic_mean(models.values())),
        "models": models,
        "added_to_a_month": medians["added_to_a_month"],
        "worst_of_a_month": medians["worst_of_a_month"],
        "rounds": asked.rounds,
    }
    print(msgspec.json.encode(line).decode())


if __name__ == "__main__":
    main()
