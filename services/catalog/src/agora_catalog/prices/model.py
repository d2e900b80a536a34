"""The rules of a price book: what may be published into it."""

from collections.abc import Iterator
from datetime import datetime

from agora_contracts.catalog import ChargePolicy, Manifest, PriceEntry, PublishPrices
from agora_contracts.problems import FieldError

from agora_catalog.listings.model import price_faults


def same(entry: PriceEntry, asked: PublishPrices, charges: ChargePolicy) -> bool:
    """Whether an entry is what is asked for (again)."""
    return (
        entry.version is None
        and entry.prices == asked.prices
        and entry.charges == charges
        and entry.notice_days == asked.notice_days
        and entry.effective_at == (asked.effective_at or entry.published_at)
    )


def faults(asked: PublishPrices, shown: Manifest, now: datetime) -> Iterator[FieldError]:
    """Everything wrong with prices that revise those of a package, each with its field.

    Args:
        shown: the manifest of the version that stands for the package.
    """
    for fault in price_faults(asked.prices):
        yield FieldError(field=fault.field.removeprefix("/manifest"), detail=fault.detail)
    offered = {price.basis for price in shown.prices}
    if {price.basis for price in asked.prices} != offered:
        detail = (
            f"must offer the same bases as {shown.version} ({', '.join(sorted(offered))}); "
            "publish a new version of the package to offer others"
        )
        yield FieldError(field="/prices", detail=detail)
    for number, price in enumerate(asked.prices):
        if price.meter is not None and price.meter not in shown.estimate:
            detail = "the package estimates no such meter; publish a new version of it that does"
            yield FieldError(field=f"/prices/{number}/meter", detail=detail)
    at = asked.effective_at
    if at is not None and at.tzinfo is None:
        yield FieldError(field="/effective_at", detail="must say its offset from UTC")
    elif at is not None and at < now:
        detail = "must not lie in the past: what was charged stays; leave it out for at once"
        yield FieldError(field="/effective_at", detail=detail)
