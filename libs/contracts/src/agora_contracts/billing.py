"""Messages of billing: accounts, holds, charges."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agora_contracts.money import Money

HoldState = Literal["tentative", "firm", "lapsed", "settled"]


class Quantity(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a meter: estimated before a run, counted after it."""

    meter: str
    quantity: Decimal


class QuoteLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a quote or a charge: quantity times unit price, in exact decimals, and the amount it came to."""

    meter: str
    description: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a run costs at most. `amount` is the sum of the lines rounded once, half to even."""

    price_version: str
    basis: str
    lines: list[QuoteLine]
    amount: Money
    policy: str


class OpenAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Open a tenant's prepaid account; asking again changes nothing."""

    account: str
    tenant: str
    currency: str = "USD"
    receivable_limit: int = 0


class TopUp(msgspec.Struct, frozen=True, kw_only=True):
    """Add paid credit. `reference` makes it happen once; the same reference with another amount conflicts."""

    account: str
    tenant: str
    amount: Money
    reference: Annotated[str, Meta(min_length=1, max_length=200)]


class GetBalance(msgspec.Struct, frozen=True, kw_only=True):
    """Read an account's balance."""

    account: str
    tenant: str


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """`credit` is what the ledger says, `held` what open holds set aside, `available` the difference."""

    account: str
    currency: str
    credit: int
    held: int
    available: int
    receivable: int


class QuoteRun(msgspec.Struct, frozen=True, kw_only=True):
    """Price estimated quantities with a pinned price version; nothing is set aside."""

    tenant: str
    price_version: str
    basis: str
    estimates: list[Quantity]


class PlaceHold(msgspec.Struct, frozen=True, kw_only=True):
    """Set the quote of a run aside as a tentative hold; it lapses after two minutes unless confirmed.

    The same (run, epoch, fingerprint) gets the same hold; another fingerprint conflicts. `epoch` 0 asks
    for whatever epoch is current; a lapsed hold is placed again under the next one.
    """

    run: str
    fingerprint: str
    tenant: str
    account: str
    price_version: str
    basis: str
    estimates: list[Quantity]
    epoch: int = 0
    deployment: str | None = None


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Credit set aside for one run."""

    run: str
    epoch: int
    state: HoldState
    amount: Money
    quote: Quote


class ConfirmHold(msgspec.Struct, frozen=True, kw_only=True):
    """Make a run's hold firm: it never lapses from here, and ends only by settlement.

    A lapsed hold is placed again, or refused with `insufficient_credit`.
    """

    run: str
    tenant: str


class IncreaseHold(msgspec.Struct, frozen=True, kw_only=True):
    """Set more aside for a running run. `request` makes it happen once."""

    run: str
    tenant: str
    by: Money
    request: str


class ChargeSettled(msgspec.Struct, frozen=True, kw_only=True):
    """A run's charge is booked, also when it is zero.

    `lines` add up to `amount` after one rounding; `released` is the part of the hold that went back to the
    account; `platform_cost` is what the platform bears because the account could not pay it.
    """

    run: str
    account: str
    revision: int
    lines: list[QuoteLine]
    amount: Money
    released: Money
    quoted: Money
    explanation: str
    platform_cost: Money
    at: datetime


class ChargeAdjusted(msgspec.Struct, frozen=True, kw_only=True):
    """A later revision of a run's usage changed its charge by `difference` (negative gives back)."""

    run: str
    account: str
    revision: int
    lines: list[QuoteLine]
    amount: Money
    difference: Money
    cause: str
    at: datetime


class CreditToppedUp(msgspec.Struct, frozen=True, kw_only=True):
    """Paid credit came in."""

    account: str
    amount: Money
    reference: str
    at: datetime


class GetStatement(msgspec.Struct, frozen=True, kw_only=True):
    """Read an account's ledger lines, newest first."""

    account: str
    tenant: str
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One posting as the customer sees it: `amount` is signed, `balance` the credit after it."""

    posting: str
    at: datetime
    kind: str
    cause: str
    description: str
    run: str | None
    amount: int
    balance: int


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A page of an account's statement and its balance now.

    `entries_sum` is recomputed from every ledger entry of the account's credit, not read from a cached
    balance: the two must agree.
    """

    account: str
    currency: str
    balance: Balance
    entries_sum: int
    items: list[StatementLine]
    next_cursor: str | None = None


class GetReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """Read a run's receipt."""

    run: str
    tenant: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was quoted, held, charged and released for a run, line by line, with what explains the difference."""

    run: str
    state: Literal["held", "settled", "lapsed"]
    price_version: str
    basis: str
    currency: str
    quoted: int
    held: int
    charged: int
    released: int
    revision: int
    lines: list[QuoteLine]
    quote_lines: list[QuoteLine]
    explanation: str
    settled_at: datetime | None


class ListOpenHolds(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: holds that are neither settled nor lapsed, oldest first."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class OpenHold(msgspec.Struct, frozen=True, kw_only=True):
    """One open hold."""

    run: str
    tenant: str
    account: str
    state: HoldState
    amount: int
    placed_at: datetime


class OpenHolds(msgspec.Struct, frozen=True, kw_only=True):
    """Open holds and how many there are in all."""

    items: list[OpenHold]
    total: int
