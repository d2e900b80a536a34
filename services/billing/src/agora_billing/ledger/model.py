"""Double entries. A posting is one event of money; its entries say where it came from and went.

Sign: a positive entry is a credit, a negative one a debit. What the platform owes to others (credit of customers,
authors' earnings, tax) and what it earns grow by positive entries; cash, receivables and costs grow by negative
ones. Entries of a posting sum to zero. Amounts are whole micro-units. Postings are never changed; a correction is
a posting of its own.
"""

from datetime import datetime
from enum import StrEnum

import msgspec
from agora_contracts.ids import derived


class Ledger(StrEnum):
    """The chart of accounts. The first three exist per customer account, the others are the platform's."""

    CUSTOMER_CREDIT = "customer_credit"
    """Paid credit that the customer has."""
    PROMOTIONAL_CREDIT = "promotional_credit"
    """Credit that was given and not paid for."""
    RECEIVABLE = "receivable"
    """What the customer owes beyond its credit."""
    CASH_CLEARING = "cash_clearing"
    """Money that came in from outside."""
    PROMOTION_COST = "promotion_cost"
    """What promotional credit costs the platform; it comes back when a grant expires."""
    REVENUE = "revenue"
    """Charges of the platform's own packages."""
    AUTHOR_EARNINGS = "author_earnings"
    """What authors have earned and is not paid out yet."""
    PLATFORM_FEE = "platform_fee"
    """The platform's part of charges of authors' packages, and its fee for runs with the customer's own key."""
    MODEL_COST = "model_cost"
    """Model calls that customers have paid back at cost."""
    TAX = "tax"
    """Tax owed to the authorities: nothing is posted here before there are invoices."""
    REFUNDS = "refunds"
    """What was given back of charges, without what authors gave back: reduces the platform's revenue."""
    ROUNDING = "rounding"
    """The micro-unit that is left over when a charge is divided."""
    PLATFORM_COST = "platform_cost"
    """What the platform bears of charges that the account could not pay."""


class PostingKind(StrEnum):
    """What happened."""

    TOP_UP = "top_up"
    RECEIVABLE_PAID = "receivable_paid"
    PROMOTION_GRANTED = "promotion_granted"
    PROMOTION_EXPIRED = "promotion_expired"
    CHARGE = "charge"
    ADJUSTMENT = "adjustment"
    PERIOD_CHARGE = "period_charge"
    PERIOD_ADJUSTMENT = "period_adjustment"
    REFUND = "refund"


class Unbalanced(ValueError):
    """Entries do not sum to zero, or are fewer than two: a fault of ours, never of a caller."""


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """One event of money on one customer account.

    `number` counts the account's postings from 1 without gaps; `credit_after` and `promotional_after` are its
    paid and its promotional credit after this one. `author` is who earns by it, if anybody.
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
    promotional_after: int = 0
    author: str | None = None
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
