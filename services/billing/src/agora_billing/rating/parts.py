"""What a quantity comes to under each charge model, part by part.

Where the models stand in the field: graduated and volume tiers with a flat part are Stripe's (`tiers_mode`,
`flat_amount`, `up_to` inclusive), package is Stripe's `transform_quantity` with rounding up and Lago's package
charge, percentage (rate, fixed part, free events, free amount, bounds of a transaction), graduated percentage and
dynamic are Lago's, minimum and maximum of a window are OpenMeter's commitments. Where those leave a choice:

- Nothing used costs nothing, also under a flat part, a flat price or a minimum (as Lago; Stripe charges the first
  tier's flat part for zero units).
- What is free does not depend on the order in which events arrived (Lago's does): units, amounts and transactions
  are taken off the totals, and where each transaction is bounded by itself, off the smallest first. Sorting makes
  the charge a function of the set of transactions alone.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, assert_never

from agora_contracts.catalog import OfferedPrice
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

from agora_billing.rating.exact import EXACT, ONE, ZERO, add, pieces, plain
from agora_billing.rating.usage import Usage


class Part(NamedTuple):
    """A line to be: `key` says which part of the price it is, whatever the quantity."""

    key: str
    text: str
    quantity: Decimal
    unit_price: Decimal

    @property
    def amount(self) -> Decimal:
        """Exactly quantity times unit price."""
        return EXACT.multiply(self.quantity, self.unit_price)


def parts(price: OfferedPrice, usage: Usage) -> list[Part]:
    """What a window's whole usage comes to: the model's parts, then what its minimum or maximum changes.

    Raises:
        AgoraError: `malformed_request`, when the price goes by transaction and the usage does not say them.
    """
    name = f"{price.meter} by {price.basis}"
    free = min(price.free_units, usage.quantity)
    billed = EXACT.subtract(usage.quantity, free) if free else usage.quantity
    if price.model is None and isinstance(price.unit_price, Decimal):
        found = [Part("units", name, billed, price.unit_price)]  # the most frequent price, in short
    else:
        found = _of_model(price.charge_model, name, billed, usage, price.window)
    if free:
        found.insert(0, Part("free units", f"{name}, free", free, ZERO))
    if (price.minimum is not None or price.maximum is not None) and is_used(price.model, usage):
        found += _bounds(price, name, add(part.amount for part in found))
    return found


def is_used(model: ChargeModel | None, usage: Usage) -> bool:
    """Whether there was any usage: a transaction of nothing is one, zero units are none."""
    return usage.quantity > 0 or (isinstance(model, PercentageModel) and usage.events > 0)


def _of_model(model: ChargeModel, name: str, billed: Decimal, usage: Usage, window: str) -> list[Part]:
    match model:
        case StandardModel():
            return [Part("units", name, billed, model.unit_price)]
        case PackageModel():
            text = f"{name}, packages of {plain(model.size)}"
            return [Part("packages", text, pieces(billed, model.size), model.price)]
        case GraduatedModel():
            return _graduated(name, billed, [(tier, tier.unit_price) for tier in model.tiers])
        case VolumeModel():
            return _volume(name, billed, model)
        case PercentageModel():
            return _by_transaction(name, usage, model) if model.by_transaction else _share(name, usage, model)
        case GraduatedPercentageModel():
            return _graduated(name, billed, [(tier, tier.rate) for tier in model.tiers])
        case FlatModel():
            return [Part("flat", f"{name}, once per {window}", ONE if billed else ZERO, model.amount)]
        case DynamicModel():
            return [Part("dynamic", f"{name}, as reported", billed, ONE)]
    assert_never(model)


def reach(tiers: Sequence[Tier | PercentageTier], number: int) -> str:
    """Which tier it is, in words; `number` counts from 0."""
    below = tiers[number - 1].up_to if number else None
    up_to = tiers[number].up_to
    over = "" if below is None else f"over {plain(below)}"
    until = "" if up_to is None else f"up to {plain(up_to)}"
    said = f"{over} {until}".strip()
    return f"tier {number + 1} ({said})" if said else f"tier {number + 1}"


def _graduated(
    name: str, billed: Decimal, tiers: Sequence[tuple[Tier | PercentageTier, Decimal]]
) -> list[Part]:
    found: list[Part] = []
    below = ZERO
    every = [tier for tier, _ in tiers]
    for number, (tier, unit_price) in enumerate(tiers):
        if number and billed <= below:
            break
        end = billed if tier.up_to is None else min(billed, tier.up_to)
        text = f"{name}, {reach(every, number)}"
        found.append(Part(f"tier {number}", text, EXACT.subtract(end, below), unit_price))
        if tier.flat and billed > below:
            found.append(Part(f"flat {number}", f"{text}, flat part", ONE, tier.flat))
        below = end
    return found


def _volume(name: str, billed: Decimal, model: VolumeModel) -> list[Part]:
    number = next(n for n, tier in enumerate(model.tiers) if tier.up_to is None or billed <= tier.up_to)
    tier = model.tiers[number]
    text = f"{name}, all at {reach(model.tiers, number)}"
    found = [Part(f"tier {number}", text, billed, tier.unit_price)]
    if tier.flat and billed:
        found.append(Part(f"flat {number}", f"{text}, flat part", ONE, tier.flat))
    return found


def _share(name: str, usage: Usage, model: PercentageModel) -> list[Part]:
    if model.fixed and usage.quantity and not usage.events:
        raise usage.lacks_transactions(name)
    free = min(model.free_amount, usage.quantity)
    waived = min(model.free_transactions, usage.events) if model.fixed else 0
    rated = EXACT.subtract(usage.quantity, free)
    fixed = usage.events - waived if model.fixed else 0
    return _percentage(name, model, free, rated, waived, fixed)


def _by_transaction(name: str, usage: Usage, model: PercentageModel) -> list[Part]:
    """Each transaction bounded by itself; what is free goes to the smallest first.

    A transaction of which nothing is left to charge, because it is free, costs nothing and not the minimum.
    """
    transactions = usage.all_transactions(name)
    free_left, free, rated = model.free_amount, ZERO, ZERO
    waived = fixed = raised = lowered = 0
    more = less = ZERO
    for number, amount in enumerate(sorted(transactions)):
        is_waived = number < model.free_transactions
        taken = min(free_left, amount)
        charged = EXACT.subtract(amount, taken)
        free_left, free, rated = (
            EXACT.subtract(free_left, taken),
            EXACT.add(free, taken),
            EXACT.add(rated, charged),
        )
        waived, fixed = waived + is_waived, fixed + (not is_waived)
        cost = EXACT.fma(charged, model.rate, ZERO if is_waived else model.fixed)
        if not cost and not charged and (taken or is_waived):
            continue
        if model.transaction_minimum is not None and cost < model.transaction_minimum:
            raised, more = raised + 1, EXACT.add(more, EXACT.subtract(model.transaction_minimum, cost))
        elif model.transaction_maximum is not None and cost > model.transaction_maximum:
            lowered, less = lowered + 1, EXACT.add(less, EXACT.subtract(model.transaction_maximum, cost))
    if not model.fixed:
        waived = fixed = 0
    found = _percentage(name, model, free, rated, waived, fixed)
    if raised and model.transaction_minimum is not None:
        text = f"{name}, transactions raised to {plain(model.transaction_minimum)}: {raised}"
        found.append(Part("raised", text, ONE, more))
    if lowered and model.transaction_maximum is not None:
        text = f"{name}, transactions lowered to {plain(model.transaction_maximum)}: {lowered}"
        found.append(Part("lowered", text, ONE, less))
    return found


def _percentage(
    name: str, model: PercentageModel, free: Decimal, rated: Decimal, waived: int, fixed: int
) -> list[Part]:
    found = [Part("rate", f"{name}, rate on the amount", rated, model.rate)]
    if free:
        found.insert(0, Part("free amount", f"{name}, amount free of the rate", free, ZERO))
    if waived:
        text = f"{name}, transactions free of the fixed part"
        found.append(Part("free transactions", text, Decimal(waived), ZERO))
    if fixed:
        found.append(Part("fixed", f"{name}, fixed part by transaction", Decimal(fixed), model.fixed))
    return found


def _bounds(price: OfferedPrice, name: str, amount: Decimal) -> list[Part]:
    if price.minimum is not None and amount < price.minimum:
        text = f"{name}, raised to the minimum of {plain(price.minimum)} per {price.window}"
        return [Part("minimum", text, ONE, EXACT.subtract(price.minimum, amount))]
    if price.maximum is not None and amount > price.maximum:
        text = f"{name}, lowered to the maximum of {plain(price.maximum)} per {price.window}"
        return [Part("maximum", text, ONE, EXACT.subtract(price.maximum, amount))]
    return []
