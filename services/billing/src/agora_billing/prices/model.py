"""What quantities cost under a pinned price version. Lines are exact; one rounding, at one place, to micro-units."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, localcontext

from agora_contracts.billing import Quantity, Quote, QuoteLine
from agora_contracts.catalog import MODEL_COST_METER, PER_UNIT_BASES, ChargePolicy, OfferedPrice
from agora_contracts.money import MAX_MICRO, Money, round_to_micro
from agora_contracts.problems import AgoraError, FieldError

QUANTITY_MAX = Decimal(10) ** 12
_PLACES_MAX = 18

# Wide enough for every product and sum of bounded quantities and prices; anything that would still have to
# be rounded raises instead of losing a digit.
_EXACT = Context(prec=80, traps=[Inexact, InvalidOperation, Overflow])


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceVersion:
    """The prices of one package version as they were when they were published. Never changes.

    `model_cost_limit` is the most that a run's model calls may cost, in whole currency units. `author` earns
    `author_share` (0 to 1) of the work; both are None for a package of the platform's own.
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

    def unit_prices(self, basis: str) -> dict[str, Decimal]:
        """What one unit of each meter costs under `basis`.

        Raises:
            AgoraError: `basis_not_rated` for gb, hour and month; `invalid_price` when the version is not
                offered by this basis, or its price names no meter.
        """
        if basis not in PER_UNIT_BASES:
            raise AgoraError(
                "basis_not_rated",
                f"{self.package} cannot be billed by {basis[:40]} yet; choose one of: {self._rated()}",
            )
        offered = [price for price in self.prices if price.basis == basis]
        if not offered:
            raise AgoraError(
                "invalid_price",
                f"{self.package} {self.version} is not offered by {basis}, but by: {self._rated()}",
            )
        if any(price.meter is None for price in offered):
            raise AgoraError("invalid_price", f"the price of {self.package} by {basis} names no meter")
        return {price.meter: price.unit_price for price in offered if price.meter is not None}

    def _rated(self) -> str:
        bases = sorted({price.basis for price in self.prices if price.basis in PER_UNIT_BASES})
        return ", ".join(bases) or "none"


@dataclass(frozen=True, slots=True)
class Rated:
    """Exact lines and what they add up to, in micro-units, after the one rounding."""

    lines: list[QuoteLine] = field(default_factory=list)
    amount: int = 0


def line(meter: str, description: str, quantity: Decimal, unit_price: Decimal) -> QuoteLine:
    """One exact line: quantity times unit price."""
    with localcontext(_EXACT):
        amount = quantity * unit_price
    return QuoteLine(
        meter=meter, description=description, quantity=quantity, unit_price=unit_price, amount=amount
    )


def total(lines: Sequence[QuoteLine]) -> int:
    """What lines come to in micro-units: added exactly, then rounded once, half to even.

    Raises:
        AgoraError: `malformed_request`, when the sum is beyond what an account can hold.
    """
    with localcontext(_EXACT):
        amount = round_to_micro(sum((one.amount for one in lines), Decimal(0)))
    if amount > MAX_MICRO:
        raise AgoraError("malformed_request", "the quantities come to more than an account can hold")
    return amount


def rate(lines: list[QuoteLine]) -> Rated:
    """Lines with their rounded sum."""
    return Rated(lines, total(lines))


def quantities_by_meter(quantities: Iterable[Quantity], where: str) -> dict[str, Decimal]:
    """Add quantities up by meter.

    Raises:
        AgoraError: `malformed_request`, naming each quantity that is not a plain number from 0 to 10^12.
    """
    by_meter: dict[str, Decimal] = {}
    errors: list[FieldError] = []
    for index, one in enumerate(quantities):
        exponent = one.quantity.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -_PLACES_MAX or not 0 <= one.quantity <= QUANTITY_MAX:
            detail = f"{one.meter}: must be from 0 to 10^12 with at most {_PLACES_MAX} decimal places"
            errors.append(FieldError(field=f"/{where}/{index}/quantity", detail=detail))
            continue
        with localcontext(_EXACT):
            by_meter[one.meter] = by_meter.get(one.meter, Decimal(0)) + one.quantity
    if errors:
        raise AgoraError("malformed_request", "quantities cannot be rated", errors=errors)
    return by_meter


def unit_lines(price: PriceVersion, basis: str, quantities: dict[str, Decimal]) -> list[QuoteLine]:
    """A line for each meter that `basis` rates; meters without a quantity give none."""
    return [
        line(meter, f"{meter} by {basis}", quantities[meter], unit_price)
        for meter, unit_price in price.unit_prices(basis).items()
        if meter in quantities
    ]


def model_cost_lines(price: PriceVersion, quantities: dict[str, Decimal]) -> list[QuoteLine]:
    """Model calls at cost, up to the version's limit; no line when they cost nothing."""
    cost = min(quantities.get(MODEL_COST_METER, Decimal(0)), price.model_cost_limit)
    return [line(MODEL_COST_METER, "model calls at cost", cost, Decimal(1))] if cost > 0 else []


def quote(price: PriceVersion, basis: str, estimates: Iterable[Quantity]) -> Quote:
    """What a run costs at most: the estimated quantities at their worst price.

    Raises:
        AgoraError: `malformed_request` when a priced meter has no estimate; see also `unit_prices`.
    """
    quantities = quantities_by_meter(estimates, "estimates")
    missing = [meter for meter in price.unit_prices(basis) if meter not in quantities]
    if missing:
        raise AgoraError(
            "malformed_request",
            f"estimates lack {', '.join(missing)}, which {basis} is billed by",
            errors=[
                FieldError(field="/estimates", detail=f"add a quantity for {meter}") for meter in missing
            ],
        )
    rated = rate(unit_lines(price, basis, quantities) + model_cost_lines(price, quantities))
    return Quote(
        price_version=price.id,
        basis=basis,
        lines=rated.lines,
        amount=Money(amount=rated.amount, currency=price.currency),
        policy=policy_text(price.charges),
    )


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
