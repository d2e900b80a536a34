"""Money as integers: signed micro-units of an ISO currency (1_000_000 is 1 USD). Never float."""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow

import msgspec

MICRO = 1_000_000
"""Micro-units in one unit of a currency."""

MAX_MICRO = 2**63 - 1
"""The largest amount a ledger column can hold (signed 64 bit)."""

# Whatever context the caller computes in: 28 digits, Python's default, would round long amounts twice.
_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation, Overflow])

_PUBLIC_AMOUNT = re.compile(r"-?[0-9]{1,13}(\.[0-9]{1,6})?")
_TOO_LARGE = re.compile(r"-?[0-9]{14,}(\.[0-9]{1,6})?")


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """An amount in micro-units of `currency`; `Money(amount=500_000, currency="USD")` is 50 cents."""

    amount: int
    currency: str = "USD"


class PublicMoney(msgspec.Struct, frozen=True, kw_only=True):
    """Money as the public API shows it: a decimal string with six places and the currency."""

    amount: str
    currency: str = "USD"


def to_public(money: Money) -> PublicMoney:
    """Render micro-units as a decimal string with exactly six places."""
    return PublicMoney(amount=format_amount(money.amount), currency=money.currency)


def from_public(money: PublicMoney) -> Money:
    """Read public money back into micro-units.

    Raises:
        ValueError: not a plain decimal number, more than six places, or beyond 64 bits.
    """
    return Money(amount=parse_amount(money.amount), currency=money.currency)


def format_amount(amount: int) -> str:
    """`500_000` -> `"0.500000"`; the sign stands in front."""
    sign = "-" if amount < 0 else ""
    whole, micro = divmod(abs(amount), MICRO)
    return f"{sign}{whole}.{micro:06d}"


def parse_amount(text: str) -> int:
    """`"0.5"` -> `500_000`.

    Raises:
        ValueError: not a plain decimal number with at most six places.
    """
    if _TOO_LARGE.fullmatch(text):
        raise ValueError("amount is beyond what an account can hold")
    if not _PUBLIC_AMOUNT.fullmatch(text):
        raise ValueError(
            f"amount must be a decimal number with at most 6 places, such as 12.50; got {text[:40]!r}"
        )
    amount = int(Decimal(text) * MICRO)
    if abs(amount) > MAX_MICRO:
        raise ValueError("amount is beyond what an account can hold")
    return amount


def round_to_micro(value: Decimal) -> int:
    """Round an exact amount in currency units to micro-units, half to even: the only rounding of money."""
    return int(_EXACT.multiply(value, MICRO).to_integral_value(rounding=ROUND_HALF_EVEN))
