"""Rating: what a window's usage costs, what one run adds to it, and what a run can cost at most. Pure and exact.

`rate` is cumulative: it takes a window's whole usage and never looks at how it came about, so the order of runs
cannot matter. What a run owes under a window longer than itself is the difference of two such amounts (`added`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from agora_contracts.billing import QuoteLine
from agora_contracts.catalog import OfferedPrice
from agora_contracts.money import MICRO

from agora_billing.rating.exact import EXACT, ONE, add, to_micro
from agora_billing.rating.parts import Part, parts
from agora_billing.rating.usage import NOTHING, Usage
from agora_billing.rating.worst import worst_parts


@dataclass(frozen=True, slots=True)
class Rated:
    """Exact lines and what they add up to, in micro-units, after the one rounding."""

    lines: list[QuoteLine] = field(default_factory=list)
    amount: int = 0

    @classmethod
    def of(cls, lines: list[QuoteLine]) -> "Rated":
        """Lines with their rounded sum."""
        return cls(lines, total(lines))


def line(meter: str, description: str, quantity: Decimal, unit_price: Decimal) -> QuoteLine:
    """One exact line: quantity times unit price."""
    return QuoteLine(
        meter=meter,
        description=description,
        quantity=quantity,
        unit_price=unit_price,
        amount=EXACT.multiply(quantity, unit_price),
    )


def total(lines: Iterable[QuoteLine]) -> int:
    """What lines come to in micro-units: added exactly, then rounded once, half to even.

    Raises:
        AgoraError: `malformed_request`, when the sum is beyond what an account can hold.
    """
    return to_micro(add(one.amount for one in lines))


def rate(price: OfferedPrice, usage: Usage) -> list[QuoteLine]:
    """What the whole usage of one window costs, line by line.

    Raises:
        AgoraError: `malformed_request`, when the price goes by transaction and the usage does not say them.
    """
    return _lines(price, parts(price, usage))


def amount(price: OfferedPrice, usage: Usage) -> Decimal:
    """What the whole usage of one window costs, exact, in whole currency units."""
    return add(part.amount for part in parts(price, usage))


def worst(price: OfferedPrice, usage: Usage, before: Usage = NOTHING) -> list[QuoteLine]:
    """What a run can cost at most that uses `usage` at most, when its window has used `before` or more.

    Under the window of a run: the dearest of all smaller usages. Under a longer one: the worst marginal price
    that it could meet, whatever other runs add to the window before it is settled; that comes to whole
    micro-units, and is added to the rounded rest of a quote as its charges are to the rest of a charge.
    """
    return _lines(price, worst_parts(price, usage, before))


def added(price: OfferedPrice, before: Usage, usage: Usage) -> Rated:
    """What `usage` adds to a window that has used `before`: the difference of the two rounded totals.

    Summed over all runs of a window, in whatever order, the amounts are the rounded total of the window.
    """
    return between(price, before, before.plus(usage))


def between(price: OfferedPrice, before: Usage, after: Usage) -> Rated:
    """What a window's usage changes in its charge by going from `before` to `after`.

    Negative where the charge falls, as it may by volume or when usage is corrected. The lines add up to the amount
    with no rounding left: what the rounding of the totals made of it is a line of its own.
    """
    earlier, later = parts(price, before), parts(price, after)
    changed = _difference(earlier, later)
    was, now = (add(part.amount for part in some) for some in (earlier, later))
    difference = to_micro(now) - to_micro(was)
    rounding = EXACT.subtract(EXACT.divide(difference, MICRO), EXACT.subtract(now, was))
    if rounding:
        text = f"{price.meter} by {price.basis}, rounding of the {price.window}'s total"
        changed.append(Part("rounding", text, ONE, rounding))
    return Rated(_lines(price, changed), difference)


def _lines(price: OfferedPrice, some: Iterable[Part]) -> list[QuoteLine]:
    meter = price.meter or price.basis
    return [line(meter, part.text, part.quantity, part.unit_price) for part in some]


def _difference(earlier: Sequence[Part], later: Sequence[Part]) -> list[Part]:
    """The parts that lead from one total of a window to a later one; parts that are the same in both cancel."""
    was = {part.key: part for part in earlier}
    changed: list[Part] = []
    for now in later:
        before = was.pop(now.key, None)
        if before is None:
            changed.append(now)
        elif before.unit_price == now.unit_price:
            quantity = EXACT.subtract(now.quantity, before.quantity)
            if quantity:
                changed.append(now._replace(quantity=quantity))
        else:  # bounds of the window: one unit, at what they change
            changed.append(now._replace(unit_price=EXACT.subtract(now.unit_price, before.unit_price)))
    changed += [_taken_back(part) for part in was.values() if part.quantity and part.unit_price]
    return changed


def _taken_back(part: Part) -> Part:
    return part._replace(text=f"{part.text}: charged before", quantity=EXACT.minus(part.quantity))
