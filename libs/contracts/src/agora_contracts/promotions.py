"""Promotional credit: credit that was given and not paid for. It is spent before paid credit, and may expire."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agora_contracts.money import Money

PromotionState = Literal["active", "used_up", "expired"]


class GrantPromotion(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: give an account promotional credit, once per `reference`; another grant under it conflicts.

    After `expires_at` what is left and not set aside for runs is gone; none: it does not expire.
    """

    account: str
    tenant: str
    amount: Money
    reference: Annotated[str, Meta(min_length=1, max_length=200)]
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    expires_at: datetime | None = None


class ListPromotions(msgspec.Struct, frozen=True, kw_only=True):
    """List an account's grants, newest first."""

    account: str
    tenant: str
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """A grant: `remaining` can still be spent, `spent` was charged, `expired` is gone. Micro-units.

    Past `expires_at` it is still active as long as runs have a part of it set aside.
    """

    id: str
    account: str
    currency: str
    amount: int
    remaining: int
    spent: int
    expired: int
    state: PromotionState
    reference: str
    reason: str
    granted_at: datetime
    expires_at: datetime | None = None


class PromotionPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of grants."""

    items: list[Promotion]
    next_cursor: str | None = None


class PromotionGranted(msgspec.Struct, frozen=True, kw_only=True):
    """Promotional credit was given."""

    promotion: str
    account: str
    amount: Money
    reference: str
    reason: str
    at: datetime
    expires_at: datetime | None = None


class PromotionExpired(msgspec.Struct, frozen=True, kw_only=True):
    """`amount` of a grant is gone because its time is over; what runs had set aside may follow later."""

    promotion: str
    account: str
    amount: Money
    at: datetime
