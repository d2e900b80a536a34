"""Which price version is in force for whom, and since when.

Prices come with a version of a package; later ones of the book revise them for every version that was published
before. A new customer, or a run without a deployment, takes the newest that is in effect. A deployment keeps what was
in force when it was hired; a later version reaches it

- at its effective date, where it is no rise for it (see `comparing`);
- otherwise not before its notice is over: published_at + notice_days;
- where a month is rated as a whole (prices by the month, rentals), at the beginning of the next month (UTC), so that
  every month is rated by one version.

All of it follows from what is written in the book: asked again for any moment, the answer is the same.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from agora_contracts.periods import RENTAL_METERS

from agora_billing.periods.months import month_after, month_of
from agora_billing.prices.comparing import is_rise
from agora_billing.prices.model import PriceVersion


class Change(NamedTuple):
    """A price version, since when it applies, and whether that is a rise on the one before it."""

    price: PriceVersion
    at: datetime
    rise: bool = False


def in_effect(book: Iterable[PriceVersion], base: PriceVersion, basis: str, at: datetime) -> PriceVersion:
    """What a new customer takes at a moment.

    Args:
        book: the package's price versions.
        base: the one that came with the package's version.
    """
    newest = base
    for price in _revisions(book, base, basis):
        if price.effective_from <= at:
            newest = price
    return newest


def changes(book: Iterable[PriceVersion], base: PriceVersion, basis: str, hired_at: datetime) -> list[Change]:
    """What applies to a deployment, and since when, in the order of the book; the first since it was hired."""
    book = list(book)
    first = in_effect(book, base, basis, hired_at)
    found = [Change(first, hired_at)]
    for price in _revisions(book, first, basis):
        effective = max(price.effective_from, hired_at)
        current = _at(found, effective)
        rise = is_rise(current, price, basis)
        reaches = (
            max(effective, price.published_at + timedelta(days=price.notice_days)) if rise else effective
        )
        if _by_the_month(current, basis) or _by_the_month(price, basis):
            start = month_of(reaches)
            reaches = reaches if start == reaches else month_after(start)
        found.append(Change(price, reaches, rise))
    return found


def in_force(
    book: Iterable[PriceVersion], base: PriceVersion, basis: str, hired_at: datetime, at: datetime
) -> PriceVersion:
    """What a deployment is rated by at a moment."""
    return _at(changes(book, base, basis, hired_at), at)


def _at(found: Sequence[Change], at: datetime) -> PriceVersion:
    # The newest in the book that applies: it was decided on last.
    return next((one.price for one in reversed(found) if one.at <= at), found[0].price)


def _revisions(book: Iterable[PriceVersion], since: PriceVersion, basis: str) -> list[PriceVersion]:
    later = [one for one in book if one.revises and one.number > since.number and one.prices_of(basis)]
    return sorted(later, key=lambda one: one.number)


def _by_the_month(price: PriceVersion, basis: str) -> bool:
    return basis in RENTAL_METERS or bool(price.monthly(basis))
