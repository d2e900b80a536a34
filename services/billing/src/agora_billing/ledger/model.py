"""Double entries. A posting is one event of money; its entries say where it came from and went.

Sign: a positive entry is a credit, a negative one a debit. Customers' credit and revenue grow by positive
entries; cash, receivables and the platform's cost grow by negative ones. Entries of a posting sum to zero.
Amounts are whole micro-units. Postings are never changed; a correction is a posting of its own.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agora_contracts.ids import derived


class Ledger(StrEnum):
    """The ledger accounts. The first two exist per customer account, the others are the platform's."""

    CUSTOMER_CREDIT = "customer_credit"
    RECEIVABLE = "receivable"
    CASH_CLEARING = "cash_clearing"
    REVENUE = "revenue"
    PLATFORM_COST = "platform_cost"


class PostingKind(StrEnum):
    """What happened."""

    TOP_UP = "top_up"
    RECEIVABLE_PAID = "receivable_paid"
    CHARGE = "charge"
    ADJUSTMENT = "adjustment"


class Unbalanced(ValueError):
    """Entries do not sum to zero, or are fewer than two: a fault of ours, never of a caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One event of money on one customer account.

    `number` counts the account's postings from 1 without gaps; `credit_after` is its credit after this one.
    """

    id: str
    tenant: str
    account: str
    number: int
    currency: str
    kind: PostingKind
    cause: str
    description: str
    run: str | None
    credit_after: int
    at: datetime
    entries: dict[Ledger, int]


def posting_id(kind: PostingKind, cause: str) -> str:
    """The id of the one posting that this cause has."""
    return derived("post", kind, cause)


def balanced(entries: dict[Ledger, int]) -> dict[Ledger, int]:
    """The entries without those of zero.

    Raises:
        Unbalanced: they do not sum to zero, or fewer than two are left.
    """
    moved = {ledger: amount for ledger, amount in entries.items() if amount}
    if len(moved) < 2 or sum(moved.values()) != 0:
        raise Unbalanced(f"entries must be two or more and sum to zero: {moved}")
    return moved
