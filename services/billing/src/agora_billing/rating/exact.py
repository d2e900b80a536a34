"""Decimal arithmetic that never loses a digit, and the one rounding of money."""

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

from agora_contracts.money import MAX_MICRO, round_to_micro
from agora_contracts.problems import AgoraError

# Wide enough for every product and sum of bounded quantities and prices; anything that would still have to
# be rounded raises instead of losing a digit.
EXACT = Context(prec=80, traps=[Inexact, InvalidOperation, Overflow])

ZERO = Decimal(0)
ONE = Decimal(1)


def add(values: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    total = ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total


def pieces(quantity: Decimal, size: Decimal) -> Decimal:
    """How many pieces of `size` it takes to cover `quantity`; one that is begun counts whole."""
    whole, rest = EXACT.divmod(quantity, size)
    return EXACT.add(whole, ONE) if rest else whole


def to_micro(amount: Decimal) -> int:
    """An exact amount in micro-units, rounded half to even: nothing else rounds money.

    Raises:
        AgoraError: `malformed_request`, when it is beyond what an account can hold.
    """
    rounded = round_to_micro(amount)
    if abs(rounded) > MAX_MICRO:
        raise AgoraError("malformed_request", "the quantities come to more than an account can hold")
    return rounded


def plain(value: Decimal) -> str:
    """A number as people write it: no exponent, no zeros at the end."""
    return f"{EXACT.normalize(value):f}"
