"""Why a run's charge is not its quote, meter by meter. Amounts are exact, in whole currency units."""

from collections.abc import Iterable
from decimal import Decimal

from agora_contracts.billing import ChargeDifference, QuoteLine
from agora_contracts.catalog import AGENTS_COST_METER

from agora_billing.charges.model import Owed, quantities_of
from agora_billing.holds.model import RunHold
from agora_billing.rating.exact import EXACT, ZERO, plain
from agora_billing.rating.usage import by_meter

_CALLS = "the runs that it called are charged by themselves"


def differences(hold: RunHold, owed: Owed) -> list[ChargeDifference]:
    """One row for each meter whose lines came to something else than quoted, in the order of the quote.

    The rows' charged minus quoted amounts add up to charge minus quote, before each is rounded once.
    """
    quoted, charged = _by_meter(hold.quote.lines), _by_meter(owed.rated.lines)
    estimated = quantities_of(hold.quote.lines, by_meter(hold.quote.estimates, "estimates"))
    paid_for = owed.quantities()
    return [
        ChargeDifference(
            meter=meter,
            quoted=quoted.get(meter, ZERO),
            charged=charged.get(meter, ZERO),
            why=_CALLS
            if meter == AGENTS_COST_METER
            else _why(owed, estimated.get(meter), paid_for.get(meter)),
        )
        for meter in quoted | charged
        if quoted.get(meter, ZERO) != charged.get(meter, ZERO)
    ]


def _by_meter(lines: Iterable[QuoteLine]) -> dict[str, Decimal]:
    amounts: dict[str, Decimal] = {}
    for one in lines:
        amounts[one.meter] = EXACT.add(amounts.get(one.meter, ZERO), one.amount)
    return amounts


def _why(owed: Owed, estimated: Decimal | None, paid_for: Decimal | None) -> str:
    if paid_for is None:
        return f"none of {plain(estimated)} estimated was used" if owed.by_use and estimated else owed.reason
    if estimated is None:
        return f"{plain(paid_for)} used, which was not estimated"
    if paid_for > estimated:
        more = plain(EXACT.subtract(paid_for, estimated))
        return f"{plain(paid_for)} used, {more} more than the {plain(estimated)} estimated"
    if paid_for < estimated:
        return f"{plain(paid_for)} of {plain(estimated)} estimated"
    if not owed.by_use:
        return owed.reason
    return f"{plain(paid_for)} as estimated, at less than the dearest price that was quoted for it"
