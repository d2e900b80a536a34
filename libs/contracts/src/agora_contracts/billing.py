"""Messages of billing: accounts, holds, charges."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agora_contracts.calls import CallCharge
from agora_contracts.money import Money
from agora_contracts.refunds import Refund

TRANSACTIONS_MAX = 1_000
"""How many transactions of a meter are listed one by one, or how many groups of equal ones; beyond it none are."""

HoldState = Literal["tentative", "firm", "lapsed", "settled"]


class TransactionGroup(msgspec.Struct, frozen=True, kw_only=True):
    """How many transactions of a meter have the same quantity."""

    quantity: Decimal
    count: Annotated[int, Meta(ge=1)]


class Quantity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of a meter: estimated before a run, counted after it.

    `events` is in how many usage events (0: not said), `transactions` the quantity of each where they are few
    enough to be listed, else `groups` how many have which quantity, where those are few enough. Prices by transaction
    need them.
    """

    meter: str
    quantity: Decimal
    events: Annotated[int, Meta(ge=0)] = 0
    transactions: Annotated[list[Decimal], Meta(max_length=TRANSACTIONS_MAX)] = []
    groups: Annotated[list[TransactionGroup], Meta(max_length=TRANSACTIONS_MAX)] = []


class QuoteLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a quote or a charge: quantity times unit price, in exact decimals, and the amount it came to."""

    meter: str
    description: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a run costs at most: the quantities of `estimates` at the worst price they could meet.

    `amount` is the sum of the lines rounded once, half to even.
    """

    price_version: str
    basis: str
    lines: list[QuoteLine]
    amount: Money
    policy: str
    estimates: list[Quantity] = []


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


class CloseAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: close an account for good: no new holds, top-ups and grants. Asking again changes nothing.

    Refused while runs have something set aside. Credit that is left stays on it.
    """

    account: str
    tenant: str


class GetBalance(msgspec.Struct, frozen=True, kw_only=True):
    """Read an account's balance."""

    account: str
    tenant: str


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has, in micro-units.

    `credit` was paid, `promotional` was given and is spent first; `held` is what open holds have set aside of
    both, `available` what is left; `receivable` is what the account owes.
    """

    account: str
    currency: str
    credit: int
    held: int
    available: int
    receivable: int
    promotional: int = 0
    closed_at: datetime | None = None


class QuoteRun(msgspec.Struct, frozen=True, kw_only=True):
    """Price estimated quantities with a pinned price version; nothing is set aside.

    `account` and `deployment` say where the run would be charged, for prices that add up over a month.
    """

    tenant: str
    price_version: str
    basis: str
    estimates: list[Quantity]
    account: str | None = None
    deployment: str | None = None


class PlaceHold(msgspec.Struct, frozen=True, kw_only=True):
    """Set the quote of a run aside as a tentative hold; it lapses after two minutes unless confirmed.

    The same (run, epoch, fingerprint) gets the same hold; another fingerprint conflicts. `epoch` 0 asks
    for whatever epoch is current; a lapsed hold is placed again under the next one.

    `api_key` is who asked, for budgets by key. `run_limit` is the run's own hard budget: its holds and its charge
    never exceed it. With `accept_partial` a hold of less than the quote is placed where there is not enough, of
    at least so much.

    With `parent`, the run that calls this one, the amount is carved out of what that run's firm hold has set aside for
    calls (its quote's `agents.cost`), never out of the account; what is left comes back to it. Refused with
    `budget_exhausted` naming what the parent has left.
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
    api_key: str | None = None
    run_limit: Money | None = None
    accept_partial: Money | None = None
    parent: str | None = None


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Credit set aside for one run; `partial` when the last request got less than it asked for.

    `amount` is without what the runs that it calls have taken of it, who may take `calls_left` more. `increased` is what
    the request that this answers has added (`IncreaseHold` alone), the same whenever it is asked again.
    """

    run: str
    epoch: int
    state: HoldState
    amount: Money
    quote: Quote
    partial: bool = False
    calls_left: Money | None = None
    increased: Money | None = None


class ConfirmHold(msgspec.Struct, frozen=True, kw_only=True):
    """Make a run's hold firm: it never lapses from here, and ends only by settlement.

    A lapsed hold is placed again, or refused with `insufficient_credit`.
    """

    run: str
    tenant: str


CALLERS_ROOM = "/parent"
"""The field at fault where a called run's hold is refused because its caller has too little left for calls.

Not where the caller's package sets nothing aside for calls at all: more money would not make it an agent that calls.
"""


class IncreaseHold(msgspec.Struct, frozen=True, kw_only=True):
    """Set more aside for a running run. `request` makes it happen once: asked again, it is answered as before.

    With `accept_partial` it is increased by less where there is not enough, by at least so much. `raise_limit` is by how
    much the customer lets the run's own limit grow, which changes nothing where it has none; refused, the limit stays.
    `meter` says what it is for: the run itself and its model calls, whose cost may then be that much more than was
    quoted, or the runs that it calls. A run that was called takes it of what its parent has set aside for calls.
    """

    run: str
    tenant: str
    by: Money
    request: str
    accept_partial: Money | None = None
    raise_limit: Money | None = None
    meter: Literal["model.cost", "agents.cost"] = "model.cost"


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
    """One posting as the customer sees it: `amount` is signed, `balance` the paid credit after it.

    `promotional` and `promotional_balance` say the same of promotional credit.
    """

    posting: str
    at: datetime
    kind: str
    cause: str
    description: str
    run: str | None
    amount: int
    balance: int
    promotional: int = 0
    promotional_balance: int = 0


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A page of an account's statement and its balance now.

    `entries_sum` is recomputed from every ledger entry of the account's paid credit, not read from a cached
    balance: the two must agree. `promotional_entries_sum` is the same of its promotional credit.
    """

    account: str
    currency: str
    balance: Balance
    entries_sum: int
    items: list[StatementLine]
    next_cursor: str | None = None
    promotional_entries_sum: int = 0


class GetReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """Read a run's receipt."""

    run: str
    tenant: str


class ChargeDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Why one meter came to something else than was quoted; amounts in whole currency units, exact."""

    meter: str
    quoted: Decimal
    charged: Decimal
    why: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was quoted, held, charged and released for a run, line by line, with what explains the difference.

    `differences` has one row for each meter whose lines came to something else than quoted. Of `charged`,
    `refunded` was given back later, by `refunds`. `held` is with what the runs that it called have taken of it: they are
    charged by themselves, as `calls` says, and come to `calls_charged` by now. `parent` is the run that called this one.
    """

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
    differences: list[ChargeDifference] = []
    refunded: int = 0
    refunds: list[Refund] = []
    parent: str | None = None
    calls: list[CallCharge] = []
    calls_charged: int = 0


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
