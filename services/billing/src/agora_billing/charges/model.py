"""What a run owes once it has ended, and who pays it. Amounts are whole micro-units of the account's currency."""

from collections.abc import Iterable, Mapping
from copy import replace
from decimal import Decimal
from types import MappingProxyType

import msgspec
from agora_contracts.billing import TRANSACTIONS_MAX, QuoteLine
from agora_contracts.catalog import MODEL_COST_METER, OWN_KEY_METER, OfferedPrice
from agora_contracts.metering import RunUsageClosed
from agora_contracts.money import MICRO, format_amount

from agora_billing.accounts.model import Account
from agora_billing.holds.model import RunHold
from agora_billing.ledger.model import Ledger, balanced
from agora_billing.periods.model import Share, Standing, run_lines
from agora_billing.prices.model import PriceVersion, model_cost_lines, share_of
from agora_billing.rating.exact import EXACT, ONE, plain
from agora_billing.rating.model import Rated, line, rate, total
from agora_billing.rating.usage import NOTHING, TransactionsUnlisted, Usage, by_meter

_NO_WINDOWS: Mapping[str, Standing] = MappingProxyType({})
_NEW = Standing(period="")

NEVER_CHARGED = frozenset({"terminated", "hold_lost"})
"""Codes of failures that are not the customer's: nothing is owed, whatever the listing's policy says."""


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """What a run owes and, in words, why.

    `used` is what it is rated by: the usage, or the estimate where the full price is owed; `by_use` says which.
    `shares` is what of the month it is, for the meters that are priced by the month.
    """

    rated: Rated
    reason: str
    used: Mapping[str, Usage] = {}
    by_use: bool = False
    shares: Mapping[str, Share] = {}

    def quantities(self) -> dict[str, Decimal]:
        """What is paid for, by meter, in the order of the lines; model calls as far as they are passed through."""
        return quantities_of(self.rated.lines, self.used)


class Funding(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays an amount: promotional credit, paid credit, the account later (receivable), or the platform.

    In a difference the parts may be negative: money that goes back. In a sum `credit` may be negative, too: a
    receivable that was paid in the meantime comes back as credit.
    """

    promotional: int = 0
    credit: int = 0
    receivable: int = 0
    platform: int = 0

    @property
    def total(self) -> int:
        """What the parts add up to."""
        return self.promotional + self.credit + self.receivable + self.platform

    @property
    def by_customer(self) -> int:
        """What of it the customer pays, which is what budgets count."""
        return self.promotional + self.credit + self.receivable

    def plus(self, other: "Funding") -> "Funding":
        """Both together, part by part."""
        return Funding(
            promotional=self.promotional + other.promotional,
            credit=self.credit + other.credit,
            receivable=self.receivable + other.receivable,
            platform=self.platform + other.platform,
        )

    def minus(self, other: "Funding") -> "Funding":
        """The difference, part by part."""
        return Funding(
            promotional=self.promotional - other.promotional,
            credit=self.credit - other.credit,
            receivable=self.receivable - other.receivable,
            platform=self.platform - other.platform,
        )


def quantities_of(lines: Iterable[QuoteLine], used: Mapping[str, Usage]) -> dict[str, Decimal]:
    """How much of each meter lines are for: a price may have several lines for the same units."""
    return {
        one.meter: used[one.meter].quantity
        if one.meter in used and one.meter not in (MODEL_COST_METER, OWN_KEY_METER)
        else one.quantity
        for one in lines
    }


NOBODY = Funding()
"""Nobody pays anything."""


# --- what is owed --------------------------------------------------------------------------------


def owed(
    price: PriceVersion, hold: RunHold, usage: RunUsageClosed, windows: Mapping[str, Standing] = _NO_WINDOWS
) -> Owed:
    """Rate a run's usage by how it ended.

    | ended                          | owed                                                    |
    |--------------------------------|---------------------------------------------------------|
    | succeeded, deliverable full    | the units used, model calls at cost                     |
    | succeeded, deliverable partial | by policy: the units used, or a share of the full price |
    | succeeded, deliverable empty   | by policy: nothing, or the full price                   |
    | failed, timed out              | by policy: nothing, or the full price                   |
    | terminated, hold lost          | nothing                                                 |
    | cancelled                      | model calls so far at cost, at most the quote           |

    The full price is that of the estimated units; model calls come on top wherever something is owed. Where the
    month is priced, units count in it: a share of the full price is the price of that share of the units.

    Args:
        windows: how the months stand that are priced as a whole, by meter.

    Raises:
        AgoraError: a quantity that cannot be rated (`malformed_request`), or a basis that the price
            version is not offered by.
    """
    used = by_meter(usage.totals, "totals")
    policy = price.charges
    if usage.outcome == "cancelled":
        model_cost = _cost_so_far(price, hold, used)
        return _owed(price, hold, windows, {}, model_cost, "cancelled, so model calls until then at cost")
    if usage.outcome != "succeeded":
        if usage.error_code in NEVER_CHARGED:
            return _owed(price, hold, windows, {}, [], f"{usage.error_code}, so nothing is owed")
        ended = "failed" if usage.outcome == "failed" else "timed out"
        return _full_or_nothing(policy.failed == "full", ended, price, hold, used, windows)
    if usage.deliverable == "empty":
        return _full_or_nothing(policy.empty == "full", "nothing was delivered", price, hold, used, windows)
    share = share_of(policy)
    if usage.deliverable == "partial" and share is not None:
        reason = f"delivered in part, for {plain(share)} of the full price"
        return _full_price(price, hold, share, used, windows, reason)
    reason = "delivered in full" if usage.deliverable == "full" else "delivered in part, for the units used"
    model_cost = model_cost_lines(price, used, _more(hold))
    return replace(_owed(price, hold, windows, used, model_cost, reason), used=used, by_use=True)


def _full_or_nothing(
    full: bool,
    ended: str,
    price: PriceVersion,
    hold: RunHold,
    used: dict[str, Usage],
    windows: Mapping[str, Standing],
) -> Owed:
    if not full:
        return _owed(price, hold, windows, {}, [], f"{ended}, so nothing is owed")
    reason = f"{ended}, for which the listing asks the full price"
    return _full_price(price, hold, ONE, used, windows, reason)


def _full_price(
    price: PriceVersion,
    hold: RunHold,
    share: Decimal,
    used: dict[str, Usage],
    windows: Mapping[str, Standing],
    reason: str,
) -> Owed:
    estimated = by_meter(hold.quote.estimates, "estimates")
    model_cost = model_cost_lines(price, used, _more(hold))
    found = _owed(price, hold, windows, estimated, model_cost, reason, share, as_estimated=True)
    return replace(found, used=estimated)


def _owed(
    price: PriceVersion,
    hold: RunHold,
    windows: Mapping[str, Standing],
    units: Mapping[str, Usage],
    model_cost: list[QuoteLine],
    reason: str,
    share: Decimal = ONE,
    *,
    as_estimated: bool = False,
) -> Owed:
    """The lines for `units`, or for a share of them, and for model calls."""
    lines: list[QuoteLine] = []
    shares: dict[str, Share] = {}
    for meter, offered in (price.offers(hold.basis) if units or windows else {}).items():
        if offered.window == "month":
            counted = _part_of(units.get(meter, NOTHING), share)
            standing = windows.get(meter, _NEW)
            if not (counted.quantity or counted.events):
                # A run that has used nothing costs nothing; what that leaves open is the month's.
                if standing.lines:
                    shares[meter] = Share()
                continue
            found = run_lines(offered, standing, counted)
            shares[meter] = Share(usage=counted, amount=total(found))
            lines += found
        elif meter in units:
            lines += [_part_of_line(one, share) for one in _rated(offered, units[meter], hold, as_estimated)]
    return Owed(rated=Rated.of(lines + model_cost), reason=reason, shares=shares)


def _rated(offered: OfferedPrice, usage: Usage, hold: RunHold, as_estimated: bool) -> list[QuoteLine]:
    """What usage comes to; as quoted, where a price by transaction needs to know each and they are not told.

    An estimate says only how many they are; and a run that has more than can be told has gone beyond its estimate.
    """
    try:
        return rate(offered, usage)
    except TransactionsUnlisted:
        if usage.events <= TRANSACTIONS_MAX and not as_estimated:
            raise
        said = ", as quoted"
        if not as_estimated:
            said = f"{said}: {usage.events} transactions are too many to be rated one by one"
        return [
            replace(one, description=f"{one.description}{said}")
            for one in hold.quote.lines
            if one.meter == offered.meter
        ]


def _part_of(units: Usage, share: Decimal) -> Usage:
    return Usage(EXACT.multiply(units.quantity, share), units.events if share else 0)


def _part_of_line(one: QuoteLine, share: Decimal) -> QuoteLine:
    if share == ONE:
        return one
    description = f"{one.description}, {plain(share)} of the price"
    return line(one.meter, description, one.quantity, EXACT.multiply(one.unit_price, share))


def _cost_so_far(price: PriceVersion, hold: RunHold, used: dict[str, Usage]) -> list[QuoteLine]:
    quoted = Decimal(hold.quoted + hold.models_more) / MICRO
    capped = {
        meter: Usage(min(usage.quantity, quoted))
        for meter, usage in used.items()
        if meter == MODEL_COST_METER
    }
    return model_cost_lines(price, capped, _more(hold))


def _more(hold: RunHold) -> Decimal:
    """By how much its model calls may cost more than the price version says, in whole currency units."""
    return Decimal(hold.models_more) / MICRO


# --- who pays ------------------------------------------------------------------------------------


def take(account: Account, amount: int, most: int | None = None) -> tuple[Account, Funding]:
    """Charge an account whose hold for this was given back just before.

    First what the hold had set aside and then other free credit (both are available credit here), promotional
    before paid; then a receivable up to the account's limit; the platform bears the rest.

    Args:
        most: what hard budgets let the customer pay at most; none: as much as there is.
    """
    asked = amount if most is None else min(amount, most)
    promotional = min(asked, account.promotional, account.available)
    credit = min(asked, account.available) - promotional
    rest = asked - promotional - credit
    receivable = min(rest, account.receivable_limit - account.receivable)
    account = replace(
        account,
        promotional=account.promotional - promotional,
        credit=account.credit - credit,
        receivable=account.receivable + receivable,
    )
    platform = amount - promotional - credit - receivable
    funding = Funding(promotional=promotional, credit=credit, receivable=receivable, platform=platform)
    return account, funding


def return_to(account: Account, paid: Funding, amount: int) -> tuple[Account, Funding]:
    """Give back `amount` of what was charged before, in the opposite order of `take`.

    What the platform bore comes first, then what the account still owes for this run, then paid credit (also
    for a receivable that was paid meanwhile), then promotional credit. The funding that comes back is negative.

    Args:
        paid: who has paid what is not given back yet; its total is at least `amount`.
    """
    platform = min(amount, paid.platform)
    # What of the receivable has come back as credit before must not come back a second time.
    owed = paid.receivable + min(paid.credit, 0)
    receivable = min(amount - platform, owed, account.receivable)
    credit = min(amount - platform - receivable, paid.credit + paid.receivable - receivable)
    promotional = amount - platform - receivable - credit
    account = replace(
        account,
        promotional=account.promotional + promotional,
        credit=account.credit + credit,
        receivable=account.receivable - receivable,
    )
    change = Funding(promotional=-promotional, credit=-credit, receivable=-receivable, platform=-platform)
    return account, change


def entries(change: Funding, earned: dict[Ledger, int], expired: int = 0) -> dict[Ledger, int]:
    """The balanced entries of a charge or of what is given back of one.

    Args:
        change: who pays more (negative: gets back) by this posting.
        earned: by how much what was earned grows on each ledger, see `split.change`.
        expired: what of the promotional credit that comes back belongs to grants that have expired.

    Raises:
        Unbalanced: the two do not come to the same amount.
    """
    return balanced(
        {
            Ledger.PROMOTIONAL_CREDIT: -change.promotional - expired,
            Ledger.CUSTOMER_CREDIT: -change.credit,
            Ledger.RECEIVABLE: -change.receivable,
            Ledger.PLATFORM_COST: -change.platform,
            Ledger.PROMOTION_COST: expired,
            **earned,
        }
    )


# --- in words ------------------------------------------------------------------------------------


def explain(
    hold: RunHold,
    owed: Owed,
    funding: Funding,
    released: int,
    before: int | None,
    refunded: int = 0,
    returns_to: str = "the account",
) -> str:
    """One sentence on how a run's charge relates to its quote.

    Args:
        released: what of the hold went back.
        before: the charge that this one corrects, if any.
        refunded: what was refunded of it before; a charge does not fall below that.
        returns_to: where what was released went.
    """

    def money(amount: int) -> str:
        return f"{_short(amount)} {hold.currency}"

    quoted = quantities_of(hold.quote.lines, by_meter(hold.quote.estimates, "estimates"))
    used = [_of_quoted(meter, one, quoted.get(meter)) for meter, one in owed.quantities().items()]
    parts = [
        f"{money(funding.total)} charged of {money(hold.quoted)} quoted: {owed.reason}"
        + (f" ({', '.join(used)})" if used else "")
    ]
    if before is not None:
        parts.append(f"corrected from {money(before)}")
    elif released:
        parts.append(f"{money(released)} went back to {returns_to}")
    if funding.total > owed.rated.amount:
        parts.append(
            f"{money(owed.rated.amount)} would be owed, but {money(refunded)} was refunded before, "
            "so nothing more goes back"
        )
    if funding.promotional:
        parts.append(f"{money(funding.promotional)} came from promotional credit")
    if funding.receivable:
        parts.append(f"{money(funding.receivable)} went beyond the credit and is owed")
    if funding.platform:
        parts.append(f"the platform bears {money(funding.platform)}")
    return "; ".join(parts) + "."


def _of_quoted(meter: str, used: Decimal, quoted: Decimal | None) -> str:
    of = "" if quoted is None or quoted == used else f" of {plain(quoted)} quoted"
    return f"{meter}: {plain(used)}{of}"


def _short(amount: int) -> str:
    text = format_amount(amount)
    # Cents at least; smaller digits only where there are any.
    return text[:-4] if text.endswith("0000") else text.rstrip("0")
