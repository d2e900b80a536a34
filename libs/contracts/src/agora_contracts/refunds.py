"""Refunds: an operator gives back what a run was charged, with a reason."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from agora_contracts.money import Money

Reason = Annotated[str, Meta(min_length=1, max_length=500)]
Reference = Annotated[str, Meta(min_length=1, max_length=200)]


class RefundRun(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: give back `amount` of a run's charge, or all that is left of it when no amount is given.

    `reference` makes it happen once per run; the same reference with another amount or reason conflicts.
    """

    run: str
    reason: Reason
    reference: Reference
    amount: Money | None = None


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """One refund, the run's `number`-th, and to whom it went. Micro-units of `currency`.

    `to_platform` is what the platform had borne of the charge, `off_receivable` lowers what the account owes,
    `to_credit` and `to_promotional` are credit again; `expired` is the part of the last that came from grants
    which have expired since, and is no credit any more. The first four add up to `amount`.
    """

    run: str
    account: str
    number: int
    currency: str
    amount: int
    to_platform: int
    off_receivable: int
    to_credit: int
    to_promotional: int
    expired: int
    reason: str
    reference: str
    at: datetime


class RefundResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a refund came to: of `charged`, `refunded` has been given back by now."""

    refund: Refund
    charged: int
    refunded: int


class ListRefunds(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: list a run's refunds, oldest first."""

    run: str


class RefundList(msgspec.Struct, frozen=True, kw_only=True):
    """A run's refunds, oldest first: of `charged`, `refunded` has been given back."""

    items: list[Refund]
    currency: str
    charged: int
    refunded: int


class ChargeRefunded(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a run's charge was given back: the run's `number`-th refund.

    `refunded` is what all refunds of the run add up to, `charged` its charge at this time.
    """

    run: str
    account: str
    number: int
    amount: Money
    refunded: Money
    charged: Money
    reason: str
    reference: str
    at: datetime
