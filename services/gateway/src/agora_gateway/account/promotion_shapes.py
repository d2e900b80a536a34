"""Promotional credit as the public API shows it."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from agora_contracts.money import PublicMoney
from agora_contracts.promotions import Promotion, PromotionPage, PromotionState
from msgspec import Meta

from agora_gateway.edge.shapes import MoneyBody, public_money


class GrantBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credit that is given. `reference` makes it happen once; without `expires_at` it does not expire."""

    amount: MoneyBody
    reference: Annotated[str, Meta(min_length=1, max_length=200)]
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class PromotionShape(msgspec.Struct, frozen=True, kw_only=True):
    """A grant: `remaining` can still be spent, `spent` was charged, `expired` is gone."""

    id: str
    amount: PublicMoney
    remaining: PublicMoney
    spent: PublicMoney
    expired: PublicMoney
    state: PromotionState
    reference: str
    reason: str
    granted_at: datetime
    expires_at: datetime | None = None


class PromotionPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """Grants, newest first."""

    items: list[PromotionShape]
    next_cursor: str | None = None


def promotion_shape(promotion: Promotion) -> PromotionShape:
    """A grant for the public."""
    currency = promotion.currency
    return PromotionShape(
        id=promotion.id,
        amount=public_money(promotion.amount, currency),
        remaining=public_money(promotion.remaining, currency),
        spent=public_money(promotion.spent, currency),
        expired=public_money(promotion.expired, currency),
        state=promotion.state,
        reference=promotion.reference,
        reason=promotion.reason,
        granted_at=promotion.granted_at,
        expires_at=promotion.expires_at,
    )


def promotion_page_shape(page: PromotionPage) -> PromotionPageShape:
    """A page of grants for the public."""
    return PromotionPageShape(
        items=[promotion_shape(one) for one in page.items], next_cursor=page.next_cursor
    )


# --- examples of the documentation ---------------------------------------------------------------

# Expiry far ahead, so that the example can be sent as it stands.
A_GRANT_BODY = GrantBody(
    amount=MoneyBody(amount="5.00"),
    reference="welcome",
    reason="Welcome credit",
    expires_at=datetime(2100, 1, 1, tzinfo=UTC),
)
A_PROMOTION = PromotionShape(
    id="promo_0190a5b07c3a7d4e8f00112233445566",
    amount=PublicMoney(amount="5.000000"),
    remaining=PublicMoney(amount="3.500000"),
    spent=PublicMoney(amount="1.500000"),
    expired=PublicMoney(amount="0.000000"),
    state="active",
    reference="welcome",
    reason="Welcome credit",
    granted_at=datetime(2026, 1, 5, 9, 0, tzinfo=UTC),
    expires_at=datetime(2100, 1, 1, tzinfo=UTC),
)
A_PROMOTION_PAGE = PromotionPageShape(items=[A_PROMOTION])
