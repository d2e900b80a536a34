"""Price versions as pinned, and the quote of a run: all-in, before it starts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

from agora_contracts.billing import Quantity, Quote, QuoteLine
from agora_contracts.catalog import (
    AGENTS_COST_METER,
    MODEL_COST_METER,
    OWN_KEY_METER,
    ChargePolicy,
    OfferedPrice,
    OwnKeyFee,
)
from agora_contracts.money import Money
from agora_contracts.periods import RENTAL_METERS
from agora_contracts.problems import AgoraError, FieldError

from agora_billing.rating.exact import EXACT, ONE, ZERO
from agora_billing.rating.model import line, total, worst
from agora_billing.rating.usage import NOTHING, Usage, by_meter

_NO_FEE = OwnKeyFee()
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceVersion:
    """The prices of one package version as they were when they were published. Never changes.

    `model_cost_limit` is the most that a run's model calls may cost, in whole currency units. `author` earns
    `author_share` (0 to 1) of the work; both are None for a package of the platform's own. `number` is its place in
    the package's price book; with `revises` it applies to every version of the package that was published before.
    """

    id: str
    package: str
    version: str
    currency: str
    prices: tuple[OfferedPrice, ...]
    charges: ChargePolicy
    model_cost_limit: Decimal
    author: str | None = None
    author_share: Decimal | None = None
    number: int = 0
    revises: bool = False
    published_at: datetime = _LONG_AGO
    effective_at: datetime = _LONG_AGO
    notice_days: int = 30
    own_key_fee: OwnKeyFee = _NO_FEE

    @property
    def effective_from(self) -> datetime:
        """Since when it applies to new customers."""
        return max(self.effective_at, self.published_at)

    def offers(self, basis: str) -> dict[str, OfferedPrice]:
        """The prices under `basis` that rate runs, by meter; none under a rental, whose time is paid for.

        Raises:
            AgoraError: `invalid_price` when the version is not offered by this basis, or its price names no meter.
        """
        offered = [price for price in self.prices if price.basis == basis]
        if not offered:
            bases = ", ".join(sorted({price.basis for price in self.prices})) or "nothing"
            raise AgoraError(
                "invalid_price",
                f"{self.package} {self.version} is not offered by {basis[:40]}, but by: {bases}",
            )
        if basis in RENTAL_METERS:
            return {}
        if any(price.meter is None for price in offered):
            raise AgoraError("invalid_price", f"the price of {self.package} by {basis} names no meter")
        return {price.meter: price for price in offered if price.meter is not None}

    def monthly(self, basis: str) -> dict[str, OfferedPrice]:
        """The prices under `basis` that rate what a month's runs add up to, by meter; none where none do."""
        return {
            price.meter: price
            for price in self.prices
            if price.basis == basis and price.window == "month" and price.meter is not None
        }

    def prices_of(self, basis: str) -> dict[str, OfferedPrice]:
        """The prices under `basis` by the meter that each rates; a rental's meter is its time."""
        named = {
            price.meter or RENTAL_METERS.get(price.basis): price
            for price in self.prices
            if price.basis == basis
        }
        return {meter: price for meter, price in named.items() if meter is not None}

    def of_meter(self, basis: str, meter: str) -> OfferedPrice:
        """The price of a meter under `basis`, which must be there."""
        return self.prices_of(basis)[meter]


def model_cost_lines(price: PriceVersion, used: Mapping[str, Usage], more: Decimal = ZERO) -> list[QuoteLine]:
    """Model calls at cost, up to the version's limit, and the fee for those with the customer's own key.

    What the vendor charges for calls with an own key is shown and not charged. No line where nothing was used.

    Args:
        more: by how much the run's customer has let them cost more than that.
    """
    limit = EXACT.add(price.model_cost_limit, more)
    cost = min(used.get(MODEL_COST_METER, NOTHING).quantity, limit)
    lines = [line(MODEL_COST_METER, "model calls at cost", cost, ONE)] if cost > ZERO else []
    own, fee = used.get(OWN_KEY_METER, NOTHING), price.own_key_fee
    if own.quantity > ZERO:
        shown = "model calls with your own key, charged by their vendor"
        lines.append(line(OWN_KEY_METER, shown, own.quantity, ZERO))
        if fee.rate:
            lines.append(line(OWN_KEY_METER, "fee on model calls with your own key", own.quantity, fee.rate))
    if fee.per_call and own.events:
        text = "fee by model call with your own key"
        lines.append(line(OWN_KEY_METER, text, Decimal(own.events), fee.per_call))
    return lines


def quote(
    price: PriceVersion,
    basis: str,
    estimates: Iterable[Quantity],
    before: Mapping[str, Usage] = MappingProxyType({}),
) -> Quote:
    """What a run costs at most: the estimated quantities at their worst price.

    Args:
        before: what this month has used of the meters that are priced by the month.

    Raises:
        AgoraError: `malformed_request` when a priced meter has no estimate; see also `offers`.
    """
    estimates = list(estimates)
    used = by_meter(estimates, "estimates")
    offers = price.offers(basis)
    missing = [meter for meter in offers if meter not in used]
    if missing:
        raise AgoraError(
            "malformed_request",
            f"estimates lack {', '.join(missing)}, which {basis} is billed by",
            errors=[
                FieldError(field="/estimates", detail=f"add a quantity for {meter}") for meter in missing
            ],
        )
    lines = [
        one
        for meter, offered in offers.items()
        for one in worst(offered, used[meter], before.get(meter, NOTHING))
    ]
    lines += model_cost_lines(price, used) + _calls_lines(used)
    return Quote(
        price_version=price.id,
        basis=basis,
        lines=lines,
        amount=Money(amount=total(lines), currency=price.currency),
        policy=policy_text(price.charges),
        estimates=estimates,
    )


def _calls_lines(used: Mapping[str, Usage]) -> list[QuoteLine]:
    """What the runs that it calls may cost: set aside with the run, and charged by those runs themselves."""
    cost = used.get(AGENTS_COST_METER, NOTHING).quantity
    return [line(AGENTS_COST_METER, "calls of other agents, at most", cost, ONE)] if cost > ZERO else []


def policy_text(policy: ChargePolicy) -> str:
    """The charge policy as the customer reads it on the quote."""
    share = share_of(policy)
    partial = "the units delivered" if share is None else f"{share.normalize():f} of the full price"
    full = {"nothing": "nothing", "full": "the full price"}
    return (
        f"Delivered in full: the units used. In part: {partial}. Empty: {full[policy.empty]}. "
        f"Failed or timed out: {full[policy.failed]}. Cancelled: model calls so far, at most this quote."
    )


def share_of(policy: ChargePolicy) -> Decimal | None:
    """The share owed for a partial deliverable, or None when delivered units count as they are."""
    return Decimal(policy.partial.removeprefix("share:")) if policy.partial.startswith("share:") else None
