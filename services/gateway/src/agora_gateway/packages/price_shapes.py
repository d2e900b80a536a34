"""Price books as the public API shows them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import msgspec
from agora_contracts.catalog import NOTICE_DAYS, ChargePolicy, OfferedPrice, PriceBook, PriceEntry
from msgspec import Meta


class NewPricesBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices that revise those of a package. Without `effective_at` they apply at once."""

    prices: Annotated[list[OfferedPrice], Meta(min_length=1, max_length=20)]
    charges: ChargePolicy | None = None
    effective_at: Annotated[datetime, Meta(tz=True)] | None = None
    notice_days: Annotated[int, Meta(ge=NOTICE_DAYS, le=365)] = NOTICE_DAYS


# --- examples of the documentation ---------------------------------------------------------------

_PRICE = OfferedPrice(basis="task", unit_price=Decimal("0.5"), meter="echo.task")
A_NEW_PRICES_BODY = NewPricesBody(prices=[_PRICE], effective_at=datetime(2100, 1, 1, tzinfo=UTC))
A_PRICE_BOOK = PriceBook(
    package="echo",
    items=[
        PriceEntry(
            price_version="price_0190a5b07c3a7d4e8f00112233445566",
            number=1,
            version="1.0.0",
            prices=[_PRICE],
            charges=ChargePolicy(),
            published_at=datetime(2026, 1, 5, 9, 0, tzinfo=UTC),
            effective_at=datetime(2026, 1, 5, 9, 0, tzinfo=UTC),
            notice_days=NOTICE_DAYS,
        )
    ],
    in_force="price_0190a5b07c3a7d4e8f00112233445566",
)
