"""A period: one meter's calendar month (UTC) of a deployment, or of an account's runs of one package without one.

    owed   = round(rate(used by runs + reported outside of runs))
    posted = what its runs were charged for it + the period's own postings

A run is charged the difference that it makes: what is owed with it, less what was posted before it. So `posted` is
`owed` after each run, in whatever order runs are settled. Where the difference is negative (the charge falls by
volume, or usage was corrected) the run is charged nothing and the period gives it back by a posting of its own.

A period belongs to one account and changes only while that account is locked.
"""

from copy import replace
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import msgspec
from agora_contracts.billing import QuoteLine
from agora_contracts.catalog import OfferedPrice
from agora_contracts.ids import derived
from agora_contracts.money import MICRO

from agora_billing.periods.months import month_after, month_of
from agora_billing.prices.model import PriceVersion
from agora_billing.rating.exact import EXACT, ONE, ZERO, add, to_micro
from agora_billing.rating.model import amount, between, line
from agora_billing.rating.usage import NOTHING, Usage


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a period stood when one of its runs was charged: everything that the run's part depends on.

    `quantity` and `events` are what was used in all, of which `counted` and `counted_events` by this run (when its
    usage was corrected) for the `lines`. `carried` is what is owed less what was posted, in whole currency units:
    not zero only where something could not be given back. `least` is what the run's lines come to at least: where runs
    of the month were refunded, no more goes back than is left of what was paid for it.
    """

    period: str
    quantity: Decimal = ZERO
    events: int = 0
    counted: Decimal = ZERO
    counted_events: int = 0
    carried: Decimal = ZERO
    lines: list[QuoteLine] = []
    least: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What of a period is one run's; `amount` in micro-units."""

    usage: Usage = NOTHING
    amount: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A period's sums; amounts in micro-units.

    `revision` is that of the newest total that was reported, `postings` how many of its own it has.
    """

    id: str
    tenant: str
    account: str
    currency: str
    package: str
    deployment: str | None
    basis: str
    meter: str
    starts_at: datetime
    price_version: str
    runs: int = 0
    by_runs: Usage = NOTHING
    by_runs_amount: int = 0
    reported: Usage = NOTHING
    revision: int = 0
    own_amount: int = 0
    postings: int = 0

    @property
    def used(self) -> Usage:
        """Everything that counts."""
        return self.by_runs.plus(self.reported)

    @property
    def posted(self) -> int:
        """What was charged for it in all."""
        return self.by_runs_amount + self.own_amount

    @property
    def ends_at(self) -> datetime:
        """When the month ends, not included."""
        return month_after(self.starts_at)

    def standing(self, price: OfferedPrice, share: Share, lines: list[QuoteLine]) -> Standing:
        """How it stands for a run that has this share of it, charged by these lines."""
        used = self.used
        missing = owed(price, self) - self.posted
        return Standing(
            period=self.id,
            quantity=used.quantity,
            events=used.events,
            counted=share.usage.quantity,
            counted_events=share.usage.events,
            carried=EXACT.divide(Decimal(missing), Decimal(MICRO)) if missing else ZERO,
            lines=lines,
        )

    def count(self, before: Share | None, after: Share) -> "Period":
        """Count what is a run's share now, instead of what it was before."""
        was = before or Share()
        return replace(
            self,
            runs=self.runs + (before is None),
            by_runs=_exchange(self.by_runs, was.usage, after.usage),
            by_runs_amount=self.by_runs_amount + after.amount - was.amount,
        )


def owed(price: OfferedPrice, period: Period) -> int:
    """What the whole period comes to, in micro-units, after the one rounding."""
    return to_micro(amount(price, period.used))


def run_lines(price: OfferedPrice, standing: Standing, usage: Usage) -> list[QuoteLine]:
    """What a run is charged that has used `usage` of a period; the lines add up to whole micro-units, none below zero."""
    before = Usage(standing.quantity, standing.events)
    after = _exchange(before, Usage(standing.counted, standing.counted_events), usage)
    meter = price.meter or price.basis
    lines = standing.lines + between(price, before, after).lines
    if standing.carried:
        text = f"{meter} by {price.basis}, charged before in this month beyond what it came to"
        lines = [*lines, line(meter, text, ONE, standing.carried)]
    total = add(one.amount for one in lines)
    if total < standing.least:
        how = "by refunds and the month before" if standing.least else "by an adjustment of the month"
        text = f"{meter} by {price.basis}, given back {how}"
        lines = [*lines, line(meter, text, ONE, EXACT.subtract(standing.least, total))]
    return lines


def _exchange(total: Usage, old: Usage, new: Usage) -> Usage:
    quantity = EXACT.add(EXACT.subtract(total.quantity, old.quantity), new.quantity)
    return Usage(quantity, total.events - old.events + new.events)


# --- which period it is --------------------------------------------------------------------------


def opened(
    price: PriceVersion,
    offered: OfferedPrice,
    meter: str,
    *,
    tenant: str,
    account: str,
    deployment: str | None,
    at: datetime,
) -> Period:
    """The period of a moment, as long as nothing has been used.

    Its id depends on what the meter costs and who earns it, not on the price version: a new version of the package
    with the same price goes on in the same period, one with another price begins its own.
    """
    start = month_of(at)
    terms = _terms.encode((price.currency, price.author, price.author_share, offered))
    scope = ("deployment", deployment) if deployment else ("package", price.package)
    return Period(
        id=derived("per", account, *scope, meter, start.isoformat(), terms.decode()),
        tenant=tenant,
        account=account,
        currency=price.currency,
        package=price.package,
        deployment=deployment,
        basis=offered.basis,
        meter=meter,
        starts_at=start,
        price_version=price.id,
    )


_terms = msgspec.json.Encoder(decimal_format="string")
