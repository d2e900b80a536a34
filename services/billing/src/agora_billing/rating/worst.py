"""What a run can cost at most: the bound that is quoted and set aside before it starts.

Let A(x) be what a window costs that has used x. A run whose window is its own owes A(q) for some q up to its
estimate Q. A run in a longer window owes A(b + q) - A(b), where b is what the window has used by the time of its
settlement: at least what it has used now, and nobody knows how much more, because other runs add to it.

| model                | window of a run    | longer window                                                   |
|----------------------|--------------------|-----------------------------------------------------------------|
| rises with quantity  | A(Q)               | Q at the highest unit price of a tier that may still be met, and |
| (all but volume)     |                    | the flat parts of the dearest tiers that Q can enter in one go   |
| volume               | highest A at Q or  | the same, where entering a tier costs (or saves) what it changes |
|                      | at a tier's end    | for all units before                                             |

A minimum is met once; a maximum leaves no more than what is not charged yet. Rounding two totals half to even can
make their difference up to one micro-unit more than exact: what is charged in whole micro-units is then at most the
next one above the exact bound, and that is what is quoted. A charge adds such differences to the rounded rest of a run;
a quote must add its parts up in the same way.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from agora_contracts.billing import TRANSACTIONS_MAX
from agora_contracts.catalog import OfferedPrice
from agora_contracts.pricing import (
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
from agora_billing.rating.parts import Part, is_used, parts, reach
from agora_billing.rating.usage import PLACES_MAX, Usage

_MICRO_UNIT = Decimal("0.000001")
_NEXT = Decimal(1).scaleb(-PLACES_MAX)
"""The smallest difference between two quantities: what lies just behind a border."""


def worst_parts(price: OfferedPrice, usage: Usage, before: Usage) -> list[Part]:
    """The parts of the highest charge that a run can come to; see `rating.model.worst`."""
    if price.window == "run":
        return _worst_alone(price, usage)
    if not is_used(price.model, usage):
        return []
    found = _worst_addition(price, usage, before)
    name = f"{price.meter} by {price.basis}"
    bound = add(part.amount for part in found)
    if price.maximum is not None:
        left = EXACT.subtract(price.maximum, _lowest_later(price, before))
        if bound > left:
            text = f"{name}, lowered to what the maximum of the {price.window} leaves"
            found.append(Part("maximum", text, ONE, EXACT.subtract(left, bound)))
            bound = left
    if price.minimum is not None and not is_used(price.model, before) and bound < price.minimum:
        text = f"{name}, raised to the minimum of {plain(price.minimum)} per {price.window}"
        found.append(Part("minimum", text, ONE, EXACT.subtract(price.minimum, bound)))
        bound = price.minimum
    if bound:
        text = f"{name}, rounding of the {price.window}'s total, at most"
        found.append(Part("rounding", text, ONE, EXACT.subtract(_next_micro_unit(bound), bound)))
    return found


def _next_micro_unit(amount: Decimal) -> Decimal:
    """The next whole micro-unit above an amount."""
    return EXACT.multiply(EXACT.add(EXACT.divide_int(amount, _MICRO_UNIT), ONE), _MICRO_UNIT)


# --- a run by itself -----------------------------------------------------------------------------


def _worst_alone(price: OfferedPrice, usage: Usage) -> list[Part]:
    model = price.charge_model
    if isinstance(model, VolumeModel):
        return _dearest_volume(price, usage, model)
    if isinstance(model, PercentageModel) and model.by_transaction:
        return _worst_transactions(price, usage, model)
    return parts(price, usage)


def _dearest_volume(price: OfferedPrice, usage: Usage, model: VolumeModel) -> list[Part]:
    """Within a tier the charge rises, so it is highest at a tier's end or at the estimate."""
    ends = [EXACT.add(price.free_units, tier.up_to) for tier in model.tiers if tier.up_to is not None]
    quantities = [end for end in ends if end < usage.quantity] + [usage.quantity]
    each = [parts(price, Usage(quantity, usage.events)) for quantity in quantities]
    dearest = max(each, key=lambda some: add(part.amount for part in some))
    if dearest is each[-1]:
        return dearest
    return [part._replace(text=f"{part.text}, dearest up to {plain(usage.quantity)}") for part in dearest]


def _worst_transactions(price: OfferedPrice, usage: Usage, model: PercentageModel) -> list[Part]:
    """Whatever the transactions are: none costs more than its least cost and the rate, and none more than the maximum.

    Nothing is taken off for what is free: it may go to transactions that cost their minimum anyway.
    """
    name = f"{price.meter} by {price.basis}"
    if (usage.quantity and not usage.events) or usage.events > TRANSACTIONS_MAX:
        # More than can be listed could not be rated at its end: better no run than one that cannot be settled.
        raise usage.lacks_transactions(name)
    events = Decimal(usage.events)
    least = max(model.transaction_minimum or ZERO, model.fixed)
    found = [
        Part("rate", f"{name}, rate on the amount", usage.quantity, model.rate),
        Part("fixed", f"{name}, least cost of a transaction", events, least),
    ]
    bound = add(part.amount for part in found)
    limits: list[tuple[Decimal, str]] = []
    if model.transaction_maximum is not None:
        each = plain(model.transaction_maximum)
        limits.append(
            (EXACT.multiply(events, model.transaction_maximum), f"lowered to {each} by transaction")
        )
    if price.maximum is not None:
        limits.append((price.maximum, f"lowered to the maximum of {plain(price.maximum)} per run"))
    for limit, text in limits:
        if bound > limit:
            found.append(Part("lowered", f"{name}, {text}", ONE, EXACT.subtract(limit, bound)))
            bound = limit
    if price.minimum is not None and usage.events and bound < price.minimum:
        text = f"{name}, raised to the minimum of {plain(price.minimum)} per run"
        found.append(Part("minimum", text, ONE, EXACT.subtract(price.minimum, bound)))
    return found


# --- a run in a longer window --------------------------------------------------------------------


def _worst_addition(price: OfferedPrice, usage: Usage, before: Usage) -> list[Part]:
    name = f"{price.meter} by {price.basis}"
    quantity, model = usage.quantity, price.charge_model
    match model:
        case StandardModel():
            return [Part("units", name, quantity, model.unit_price)]
        case PackageModel():
            text = f"{name}, packages of {plain(model.size)}, at most"
            return [Part("packages", text, pieces(quantity, model.size), model.price)]
        case GraduatedModel() | VolumeModel() | GraduatedPercentageModel():
            return _worst_of_tiers(price, model, quantity, before)
        case PercentageModel():
            if model.fixed and quantity and not usage.events:
                raise usage.lacks_transactions(name)
            found = [Part("rate", f"{name}, rate on the amount", quantity, model.rate)]
            if model.fixed:
                text = f"{name}, fixed part by transaction"
                found.append(Part("fixed", text, Decimal(usage.events), model.fixed))
            return found
        case FlatModel() if is_used(model, before):
            return []
    return parts(price, usage)  # flat for the first time, or dynamic: nothing before changes them


def _worst_of_tiers(
    price: OfferedPrice,
    model: GraduatedModel | VolumeModel | GraduatedPercentageModel,
    quantity: Decimal,
    before: Usage,
) -> list[Part]:
    name = f"{price.meter} by {price.basis}"
    used = _billed(price, before)
    tiers = _tiers(model)
    reachable = [n for n, tier in enumerate(tiers) if tier.up_to is None or tier.up_to > used]
    slopes = {n: _slope(tiers[n]) for n in reachable}
    dearest = max(reachable, key=lambda n: slopes[n])
    text = f"{name}, at most as in {reach(tiers, dearest)}"
    found = [Part(f"tier {dearest}", text, quantity, slopes[dearest])]
    steps = [step for step in _steps(model) if step[1] >= used]
    first, last, cost = _dearest_entry(steps, quantity)
    if cost > 0:
        said = f"tier {first + 1}" if first == last else f"tiers {first + 1} to {last + 1}"
        found.append(Part("entry", f"{name}, entering {said}, at most", ONE, cost))
    return found


def _tiers(
    model: GraduatedModel | VolumeModel | GraduatedPercentageModel,
) -> Sequence[Tier | PercentageTier]:
    return model.tiers


def _billed(price: OfferedPrice, usage: Usage) -> Decimal:
    return max(EXACT.subtract(usage.quantity, price.free_units), ZERO)


def _lowest_later(price: OfferedPrice, before: Usage) -> Decimal:
    """The least that the window can come to once it has used `before` or more; by volume it may fall."""
    quantities = [before.quantity]
    if isinstance(price.charge_model, VolumeModel):
        ends = (tier.up_to for tier in price.charge_model.tiers if tier.up_to is not None)
        borders = (EXACT.add(price.free_units, end) for end in ends)
        quantities += [EXACT.add(end, _NEXT) for end in borders if end >= before.quantity]
    return min(add(part.amount for part in parts(price, Usage(one, before.events))) for one in quantities)


def _slope(tier: Tier | PercentageTier) -> Decimal:
    return tier.unit_price if isinstance(tier, Tier) else tier.rate


def _steps(
    model: GraduatedModel | VolumeModel | GraduatedPercentageModel,
) -> Iterator[tuple[int, Decimal, Decimal]]:
    """Each tier, the border behind which it begins, and what crossing that border costs at once."""
    border, unit_price, flat = ZERO, ZERO, ZERO
    for number, tier in enumerate(_tiers(model)):
        if isinstance(model, VolumeModel):
            change = EXACT.subtract(_slope(tier), unit_price) if number else ZERO
            yield number, border, EXACT.fma(change, border, EXACT.subtract(tier.flat, flat))
        else:
            yield number, border, tier.flat
        unit_price, flat = _slope(tier), tier.flat
        border = tier.up_to or border


def _dearest_entry(
    steps: Sequence[tuple[int, Decimal, Decimal]], quantity: Decimal
) -> tuple[int, int, Decimal]:
    """The neighbouring borders that `quantity` can cross in one go and that cost most together.

    A run that starts on the first of them crosses all that lie less than `quantity` further.
    """
    best = (0, 0, ZERO)
    for start, (first, begin, _) in enumerate(steps):
        cost = ZERO
        for number, border, step in steps[start:]:
            if EXACT.subtract(border, begin) >= quantity:
                break
            cost = EXACT.add(cost, step)
            if cost > best[2]:
                best = (first, number, cost)
    return best
