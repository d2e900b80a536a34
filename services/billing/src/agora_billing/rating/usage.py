"""How much of one meter a window has used."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from agora_contracts.billing import TRANSACTIONS_MAX, Quantity, TransactionGroup
from agora_contracts.problems import AgoraError, FieldError

from agora_billing.rating.exact import EXACT, ZERO, add

QUANTITY_MAX = Decimal(10) ** 12
PLACES_MAX = 18
EXPANDED_MAX = 100_000
"""How many transactions of a run are rated one by one at most."""


class TransactionsUnlisted(AgoraError):
    """Usage does not say what a price by transaction needs."""


@dataclass(frozen=True, slots=True)
class Usage:
    """A meter's total in a window, in how many events it came, and each event's quantity where they are listed.

    `events` is 0 where it is not known.
    """

    quantity: Decimal = ZERO
    events: int = 0
    transactions: tuple[Decimal, ...] = ()

    def plus(self, other: "Usage") -> "Usage":
        """Both together. The transactions are listed only where both list all of theirs."""
        listed = self._lists_all() and other._lists_all()
        return Usage(
            EXACT.add(self.quantity, other.quantity),
            self.events + other.events,
            self.transactions + other.transactions if listed else (),
        )

    def _lists_all(self) -> bool:
        return len(self.transactions) == self.events and add(self.transactions) == self.quantity

    def all_transactions(self, name: str) -> tuple[Decimal, ...]:
        """Every transaction.

        Raises:
            TransactionsUnlisted: they are not listed, or not all of them.
        """
        if not self._lists_all():
            raise self.lacks_transactions(name)
        return self.transactions

    def lacks_transactions(self, name: str) -> TransactionsUnlisted:
        """The answer to usage that does not say what a price by transaction needs."""
        return TransactionsUnlisted(
            "malformed_request",
            f"{name} is priced by transaction: its total must say in how many events it came, and list each of"
            f" them (at most {TRANSACTIONS_MAX}) where one transaction has a minimum or a maximum; got"
            f" {len(self.transactions)} listed of {self.events}",
        )


NOTHING = Usage()


def by_meter(quantities: Iterable[Quantity], where: str) -> dict[str, Usage]:
    """Add quantities up by meter.

    Raises:
        AgoraError: `malformed_request`, naming each quantity that is not a plain number from 0 to 10^12.
    """
    found: dict[str, Usage] = {}
    errors: list[FieldError] = []
    for index, one in enumerate(quantities):
        wrong = [f"/{where}/{index}/{field}" for field, value in _numbers(one) if not _is_plain(value)]
        if wrong:
            detail = f"{one.meter}: must be from 0 to 10^12 with at most {PLACES_MAX} decimal places"
            errors += [FieldError(field=field, detail=detail) for field in wrong]
            continue
        usage = Usage(one.quantity, one.events, tuple(one.transactions) or _expanded(one.groups))
        known = found.get(one.meter)
        found[one.meter] = usage if known is None else known.plus(usage)
    if errors:
        raise AgoraError("malformed_request", "quantities cannot be rated", errors=errors)
    return found


def _numbers(one: Quantity) -> Iterable[tuple[str, Decimal]]:
    yield "quantity", one.quantity
    for number, transaction in enumerate(one.transactions):
        yield f"transactions/{number}", transaction
    for number, group in enumerate(one.groups):
        yield f"groups/{number}", group.quantity


def _expanded(groups: Sequence[TransactionGroup]) -> tuple[Decimal, ...]:
    """The transactions of groups one by one; none where they are more than anybody would rate."""
    if sum(group.count for group in groups) > EXPANDED_MAX:
        return ()
    return tuple(group.quantity for group in groups for _ in range(group.count))


def _is_plain(value: Decimal) -> bool:
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and -PLACES_MAX <= exponent <= PLACES_MAX and 0 <= value <= QUANTITY_MAX
