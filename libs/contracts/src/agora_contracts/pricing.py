"""Charge models: how the quantity of a meter becomes an amount, as an author offers it.

Prices are in whole currency units with at most twelve decimal places, rates are fractions (0.029 is 2.9 %), never
floats. What each model comes to is computed by billing (`agora_billing.rating`) and told in docs/guides/prices.md.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

PRICE_MAX = 1_000_000
"""The highest price of anything, in whole currency units."""

QUANTITY_MAX = 10**12
"""The largest quantity that is rated, and the highest border of a tier."""

PLACES_MAX = 12
"""How many decimal places a price, a rate or a border has at most."""

TIERS_MAX = 50

ZERO = Decimal(0)


def check_range(field: str, value: Decimal, *, most: int, above_zero: bool = False) -> None:
    """Refuse a number that is not from 0 to `most` with at most twelve decimal places.

    msgspec bounds int, float and str by Meta, but not Decimal; it turns a ValueError into a ValidationError.

    Raises:
        ValueError: naming the field, what it may be, and what it is.
    """
    exponent = value.as_tuple().exponent
    # A zero such as 0E+999999 is in range, but writing it out would fill the memory.
    plain = isinstance(exponent, int) and -PLACES_MAX <= exponent <= PLACES_MAX
    if not plain or not 0 <= value <= most or (above_zero and value == 0):
        least = "more than 0 and at most" if above_zero else "from 0 to"
        said = str(value)[:40]
        raise ValueError(
            f"{field} must be {least} {most} with at most {PLACES_MAX} decimal places, not {said}"
        )


class _Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class StandardModel(_Model, frozen=True, kw_only=True, tag="standard"):
    """Each unit costs the same."""

    unit_price: Decimal

    def __post_init__(self) -> None:
        check_range("unit_price", self.unit_price, most=PRICE_MAX)


class PackageModel(_Model, frozen=True, kw_only=True, tag="package"):
    """Units are sold by the package of `size`; one that is begun is paid whole."""

    size: Decimal
    price: Decimal

    def __post_init__(self) -> None:
        check_range("size", self.size, most=QUANTITY_MAX, above_zero=True)
        check_range("price", self.price, most=PRICE_MAX)


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tier: units up to and with `up_to` (none: without end), and what entering it costs once (`flat`)."""

    unit_price: Decimal
    up_to: Decimal | None = None
    flat: Decimal = ZERO

    def __post_init__(self) -> None:
        check_range("unit_price", self.unit_price, most=PRICE_MAX)
        check_range("flat", self.flat, most=PRICE_MAX)


class GraduatedModel(_Model, frozen=True, kw_only=True, tag="graduated"):
    """Each unit costs what its own tier says; entering a tier costs its flat part once."""

    tiers: Annotated[list[Tier], Meta(min_length=1, max_length=TIERS_MAX)]

    def __post_init__(self) -> None:
        _check_borders([tier.up_to for tier in self.tiers])


class VolumeModel(_Model, frozen=True, kw_only=True, tag="volume"):
    """All units cost what the tier says that the whole quantity reaches, and its flat part once.

    The amount may fall when a border is crossed: ten units at 1.00 cost more than eleven at 0.80.
    """

    tiers: Annotated[list[Tier], Meta(min_length=1, max_length=TIERS_MAX)]

    def __post_init__(self) -> None:
        _check_borders([tier.up_to for tier in self.tiers])


class PercentageModel(_Model, frozen=True, kw_only=True, tag="percentage"):
    """A share of an amount of money (the quantity), and a fixed part for each transaction (usage event).

    `free_transactions` pay no fixed part, `free_amount` no rate. `transaction_minimum` and
    `transaction_maximum` bound what one transaction costs; they need every transaction by itself, so they go
    with the window of a run only.
    """

    rate: Decimal
    fixed: Decimal = ZERO
    free_transactions: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    free_amount: Decimal = ZERO
    transaction_minimum: Decimal | None = None
    transaction_maximum: Decimal | None = None

    def __post_init__(self) -> None:
        check_range("rate", self.rate, most=1)
        check_range("fixed", self.fixed, most=PRICE_MAX)
        check_range("free_amount", self.free_amount, most=QUANTITY_MAX)
        _check_bounds("transaction_minimum", self.transaction_minimum, self.transaction_maximum)

    @property
    def by_transaction(self) -> bool:
        """Whether each transaction is bounded by itself."""
        return self.transaction_minimum is not None or self.transaction_maximum is not None


class PercentageTier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tier of an amount: its rate up to and with `up_to`, and what entering it costs once (`flat`)."""

    rate: Decimal
    up_to: Decimal | None = None
    flat: Decimal = ZERO

    def __post_init__(self) -> None:
        check_range("rate", self.rate, most=1)
        check_range("flat", self.flat, most=PRICE_MAX)


class GraduatedPercentageModel(_Model, frozen=True, kw_only=True, tag="graduated_percentage"):
    """A share of an amount of money (the quantity), each part of it at the rate of its own tier."""

    tiers: Annotated[list[PercentageTier], Meta(min_length=1, max_length=TIERS_MAX)]

    def __post_init__(self) -> None:
        _check_borders([tier.up_to for tier in self.tiers])


class FlatModel(_Model, frozen=True, kw_only=True, tag="flat"):
    """One amount for each window in which anything is used, however much."""

    amount: Decimal

    def __post_init__(self) -> None:
        check_range("amount", self.amount, most=PRICE_MAX)


class DynamicModel(_Model, frozen=True, kw_only=True, tag="dynamic"):
    """The usage event carries its amount: its quantity is in whole currency units."""


ChargeModel = (
    StandardModel
    | PackageModel
    | GraduatedModel
    | VolumeModel
    | PercentageModel
    | GraduatedPercentageModel
    | FlatModel
    | DynamicModel
)

COUNTS_UNITS = (StandardModel, PackageModel, GraduatedModel, VolumeModel)
"""Models that rate units, so that some of them can be free; the others rate money, or do not count."""


def check_window(
    model: ChargeModel, window: str, free_units: Decimal, minimum: Decimal | None, maximum: Decimal | None
) -> None:
    """Refuse what does not go together in a price.

    Raises:
        ValueError: saying what to change.
    """
    check_range("free_units", free_units, most=QUANTITY_MAX)
    if free_units and not isinstance(model, COUNTS_UNITS):
        raise ValueError(
            "free_units goes with standard, package, graduated and volume;"
            " use free_amount and free_transactions of percentage, or a first tier at 0"
        )
    _check_bounds("minimum", minimum, maximum)
    if isinstance(model, PercentageModel) and model.by_transaction and window != "run":
        raise ValueError(
            "transaction_minimum and transaction_maximum need the transactions of one run:"
            ' use window = "run", or minimum and maximum of the price, which bound the whole window'
        )


def _check_bounds(name: str, minimum: Decimal | None, maximum: Decimal | None) -> None:
    other = name.replace("minimum", "maximum")
    if minimum is not None:
        check_range(name, minimum, most=PRICE_MAX)
    if maximum is not None:
        check_range(other, maximum, most=PRICE_MAX)
    if minimum is not None and maximum is not None and minimum > maximum:
        raise ValueError(f"{name} {minimum} is more than {other} {maximum}; swap them or leave one out")


def _check_borders(borders: Sequence[Decimal | None]) -> None:
    below = ZERO
    for number, border in enumerate(borders[:-1], start=1):
        if border is None:
            raise ValueError(f"tier {number} has no up_to: only the last tier goes on without end")
        check_range(f"up_to of tier {number}", border, most=QUANTITY_MAX, above_zero=True)
        if border <= below:
            raise ValueError(
                f"tiers ascend: up_to of tier {number} is {border} and must be more than {below}"
            )
        below = border
    if borders[-1] is not None:
        raise ValueError(f"the last tier (tier {len(borders)}) must go on without end; leave its up_to out")
