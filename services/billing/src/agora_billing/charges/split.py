"""Who earns a charge, and who gives it back when it is refunded. Amounts are whole micro-units.

A charge has up to three parts by its lines: model calls at cost (the platform gets back what it paid), the fee for
runs with the customer's own key (the platform's), and the work. The work of a package of the platform's own is
revenue; that of an author's package is divided:

    author   = half-even(share x work)
    platform = half-even((1 - share) x work)
    rounding = work - author - platform        (-1, 0 or 1 micro-unit)

When part of a charge is refunded, its author gives back in proportion. What a run's postings add up to depends only
on the charge and the sum of its refunds, never on the way there: `earned` says it, and each posting books the
difference of two of them.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow, localcontext
from functools import lru_cache

from agora_contracts.billing import QuoteLine
from agora_contracts.catalog import MODEL_COST_METER, OWN_KEY_METER
from agora_contracts.money import round_to_micro

from agora_billing.ledger.model import Ledger

_EXACT = Context(prec=80, traps=[Inexact, InvalidOperation, Overflow])


def earned(
    amount: int, lines: Iterable[QuoteLine], author_share: Decimal | None, refunded: int = 0
) -> dict[Ledger, int]:
    """What a charge of `amount` with these lines, of which `refunded` was given back, leaves on each ledger.

    The values add up to `amount - refunded`. Ledgers on which nothing is left are left out.

    Args:
        author_share: what of the work is the author's, from 0 to 1; None for a package of the platform's own.
    """
    model_cost, own_key_fee = _parts(amount, tuple(lines))
    work = amount - model_cost - own_key_fee
    books = {Ledger.MODEL_COST: model_cost, Ledger.PLATFORM_FEE: own_key_fee}
    if author_share is None:
        books[Ledger.REVENUE] = work
        books[Ledger.REFUNDS] = -refunded
    else:
        author = _of(work, author_share)
        platform = _of(work, 1 - author_share)
        kept = author - given_back(author, amount, refunded)
        books[Ledger.AUTHOR_EARNINGS] = kept
        books[Ledger.PLATFORM_FEE] += platform
        books[Ledger.ROUNDING] = work - author - platform
        books[Ledger.REFUNDS] = author - kept - refunded
    return {ledger: left for ledger, left in books.items() if left}


def given_back(author: int, amount: int, refunded: int) -> int:
    """What of its earnings from a charge of `amount` an author gives back when `refunded` of it is refunded."""
    return round_half_even(author * refunded, amount) if refunded else 0


def change(before: dict[Ledger, int], after: dict[Ledger, int]) -> dict[Ledger, int]:
    """The entries that lead from one state of a run's books to another; those of zero are left out."""
    if not before:
        return after
    found = {ledger: after.get(ledger, 0) - before.get(ledger, 0) for ledger in before | after}
    return {ledger: amount for ledger, amount in found.items() if amount}


@lru_cache(maxsize=10_000)
def _parts(amount: int, lines: tuple[QuoteLine, ...]) -> tuple[int, int]:
    cost = fee = Decimal(0)
    with localcontext(_EXACT):
        for line in lines:
            if line.meter == MODEL_COST_METER:
                cost += line.amount
            elif line.meter == OWN_KEY_METER:
                fee += line.amount
        model_cost = min(round_to_micro(cost), amount) if cost else 0
        own_key_fee = min(round_to_micro(fee), amount - model_cost) if fee else 0
    return model_cost, own_key_fee


def _of(work: int, share: Decimal) -> int:
    with localcontext(_EXACT):
        return int((work * share).to_integral_value(rounding=ROUND_HALF_EVEN))


def round_half_even(dividend: int, divisor: int) -> int:
    """The quotient of two whole numbers of which none is negative, rounded half to even."""
    quotient, rest = divmod(dividend, divisor)
    return quotient + (1 if 2 * rest > divisor or (2 * rest == divisor and quotient % 2) else 0)
