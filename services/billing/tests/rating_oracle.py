"""What usage costs, worked out a second time: by exact fractions, from the definitions in docs/guides/prices.md.

Shares no code with `agora_billing.rating` and goes another way where there is one, so that the two agree only when
both are right. Also: prices and usages of every kind for Hypothesis.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil

from agora_billing.rating.usage import Usage
from agora_contracts.catalog import OfferedPrice, Window
from agora_contracts.pricing import (
    ChargeModel,
    DynamicModel,
    FlatModel,
    GraduatedModel,
    GraduatedPercentageModel,
    PackageModel,
    PercentageModel,
    PercentageTier,
    StandardModel,
    Tier,
    VolumeModel,
)
from hypothesis import strategies as st

ENDLESS = Fraction(10**40)


def cost(price: OfferedPrice, usage: Usage) -> Fraction:
    """What a window with this usage costs."""
    model = price.charge_model
    quantity = Fraction(usage.quantity)
    amount = of_model(model, max(quantity - Fraction(price.free_units), Fraction(0)), usage)
    if not quantity and not (isinstance(model, PercentageModel) and usage.events):
        return amount
    if price.minimum is not None:
        amount = max(amount, Fraction(price.minimum))
    if price.maximum is not None:
        amount = min(amount, Fraction(price.maximum))
    return amount


def of_model(model: ChargeModel, units: Fraction, usage: Usage) -> Fraction:
    """The model's own part of it."""
    match model:
        case StandardModel():
            return units * Fraction(model.unit_price)
        case PackageModel():
            return ceil(units / Fraction(model.size)) * Fraction(model.price)
        case GraduatedModel():
            return graduated(units, [(tier.up_to, tier.unit_price, tier.flat) for tier in model.tiers])
        case GraduatedPercentageModel():
            return graduated(units, [(tier.up_to, tier.rate, tier.flat) for tier in model.tiers])
        case VolumeModel():
            below = [tier for tier in model.tiers if tier.up_to is not None and Fraction(tier.up_to) < units]
            tier = model.tiers[len(below)]
            return units * Fraction(tier.unit_price) + (Fraction(tier.flat) if units else 0)
        case PercentageModel():
            return by_transaction(model, usage) if model.by_transaction else in_total(model, usage)
        case FlatModel():
            return Fraction(model.amount) if units else Fraction(0)
        case DynamicModel():
            return units
    raise AssertionError(model)


def graduated(units: Fraction, tiers: Sequence[tuple[Decimal | None, Decimal, Decimal]]) -> Fraction:
    """Every tier by itself: what of the units lies between its borders."""
    borders = [Fraction(0)] + [ENDLESS if up_to is None else Fraction(up_to) for up_to, _, _ in tiers]
    amount = Fraction(0)
    for (_, unit_price, flat), low, high in zip(tiers, borders, borders[1:], strict=False):
        amount += max(min(units, high) - low, Fraction(0)) * Fraction(unit_price)
        amount += Fraction(flat) if units > low else 0
    return amount


def in_total(model: PercentageModel, usage: Usage) -> Fraction:
    """Rate and fixed part on what is left of the totals."""
    rated = max(Fraction(usage.quantity) - Fraction(model.free_amount), Fraction(0))
    return rated * Fraction(model.rate) + max(usage.events - model.free_transactions, 0) * Fraction(
        model.fixed
    )


def by_transaction(model: PercentageModel, usage: Usage) -> Fraction:
    """Each transaction by itself, the smallest first to what is free."""
    amount = Fraction(0)
    ordered = sorted(Fraction(one) for one in usage.transactions)
    for place, one in enumerate(ordered):
        before = min(sum(ordered[:place], Fraction(0)), Fraction(model.free_amount))
        free = min(one, Fraction(model.free_amount) - before)
        waived = place < model.free_transactions
        own = (one - free) * Fraction(model.rate) + (0 if waived else Fraction(model.fixed))
        if one == free and own == 0 and (free or waived):
            continue
        if model.transaction_minimum is not None:
            own = max(own, Fraction(model.transaction_minimum))
        if model.transaction_maximum is not None:
            own = min(own, Fraction(model.transaction_maximum))
        amount += own
    return amount


def half_even(amount: Fraction) -> int:
    """An amount in micro-units."""
    return round(amount * 10**6)


# --- prices and usages of every kind -------------------------------------------------------------

PRICES = st.decimals(0, 1000, places=12) | st.sampled_from([Decimal(0), Decimal("0.0000005"), Decimal(1)])
RATES = st.decimals(0, 1, places=12)
FLATS = st.just(Decimal(0)) | st.decimals(0, 50, places=6)
QUANTITIES = (
    st.integers(0, 300).map(Decimal) | st.decimals(0, 300, places=3) | st.decimals(0, 10**12, places=18)
)
SOMEWHAT = st.integers(0, 40).map(Decimal) | st.decimals(0, 40, places=2)
"""Quantities near the borders of the tiers below, so that borders are met and crossed."""


@st.composite
def borders(draw: st.DrawFn) -> list[Decimal | None]:
    """Where tiers end: ascending, the last one open."""
    ends = draw(
        st.lists(st.integers(1, 60).map(Decimal) | st.decimals("0.01", 60, places=2), max_size=4, unique=True)
    )
    return [*sorted(ends), None]


@st.composite
def tiers(draw: st.DrawFn) -> list[Tier]:
    """Tiers of units."""
    return [Tier(up_to=end, unit_price=draw(PRICES), flat=draw(FLATS)) for end in draw(borders())]


@st.composite
def percentage_tiers(draw: st.DrawFn) -> list[PercentageTier]:
    """Tiers of an amount."""
    return [PercentageTier(up_to=end, rate=draw(RATES), flat=draw(FLATS)) for end in draw(borders())]


@st.composite
def percentages(draw: st.DrawFn, *, bounded: bool) -> PercentageModel:
    """A percentage, each transaction bounded by itself or not."""
    low, high = sorted([draw(FLATS), draw(FLATS)])
    return PercentageModel(
        rate=draw(RATES),
        fixed=draw(FLATS),
        free_transactions=draw(st.integers(0, 5)),
        free_amount=draw(FLATS),
        transaction_minimum=draw(st.none() | st.just(low)) if bounded else None,
        transaction_maximum=high if bounded else None,
    )


MODELS: dict[str, st.SearchStrategy[ChargeModel]] = {
    "standard": st.builds(StandardModel, unit_price=PRICES),
    "package": st.builds(
        PackageModel, size=st.integers(1, 20).map(Decimal) | st.decimals("0.01", 20, places=2), price=PRICES
    ),
    "graduated": st.builds(GraduatedModel, tiers=tiers()),
    "volume": st.builds(VolumeModel, tiers=tiers()),
    "percentage": percentages(bounded=False),
    "percentage by transaction": percentages(bounded=True),
    "graduated percentage": st.builds(GraduatedPercentageModel, tiers=percentage_tiers()),
    "flat": st.builds(FlatModel, amount=PRICES),
    "dynamic": st.builds(DynamicModel),
}
COUNTS_UNITS = ("standard", "package", "graduated", "volume")
BY_MONTH = [name for name in MODELS if name != "percentage by transaction"]


@st.composite
def prices(draw: st.DrawFn, name: str, window: Window = "run", *, bounds: bool = True) -> OfferedPrice:
    """A price of this model, with free units and bounds of its window now and then."""
    low, high = sorted([draw(FLATS), draw(FLATS)])
    return OfferedPrice(
        basis="task",
        meter="tasks",
        model=draw(MODELS[name]),
        window=window,
        free_units=draw(SOMEWHAT) if bounds and name in COUNTS_UNITS else Decimal(0),
        minimum=draw(st.none() | st.just(low)) if bounds else None,
        maximum=draw(st.none() | st.just(high)) if bounds else None,
    )


@st.composite
def usages(draw: st.DrawFn, quantities: st.SearchStrategy[Decimal] = SOMEWHAT) -> Usage:
    """Some transactions and what they come to."""
    return of(draw(st.lists(quantities, max_size=8)))


def of(transactions: Sequence[Decimal]) -> Usage:
    """The usage that these transactions make."""
    total = sum((Fraction(one) for one in transactions), Fraction(0))
    # From text, because arithmetic would round to the digits of a context.
    return Usage(Decimal(f"{int(total * 10**18)}E-18"), len(transactions), tuple(transactions))
