"""Models, vendors' keys, prices and calls as the public API shows them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, get_args

import msgspec
from agora_contracts.models import (
    KeyRotation,
    KeyVendor,
    ModelCall,
    ModelCallPage,
    ModelName,
    ModelOffer,
    ModelOfferList,
    ModelPriceEntry,
    ModelPriceList,
    ProviderKey,
    ProviderKeyList,
    SecretText,
    TokenPrices,
)
from agora_contracts.money import PublicMoney, to_public
from agora_contracts.problems import AgoraError
from msgspec import Meta

VENDORS: tuple[str, ...] = get_args(KeyVendor)


class ProviderKeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key of a vendor. It is encrypted, used for this tenant's calls alone, and never shown again."""

    secret: SecretText

    def __repr__(self) -> str:
        """Without the secret."""
        return "ProviderKeyBody()"


class ModelPriceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model costs from `effective_at` on; at once if that is left out.

    `model` is `vendor:model`, or `vendor:*` for all of a vendor's models that have no price of their own.
    """

    model: ModelName
    prices: TokenPrices
    effective_at: Annotated[datetime, Meta(tz=True)] | None = None


class ModelCallShape(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a model. `cost` is what its vendor asks for it, the worst case where `reconciled` is false.

    A call that failed is not charged, nor is one under a key of one's own: `key` is then `own`.
    """

    id: str
    step: str
    attempt: int
    model: str
    state: str
    at: datetime
    key: str
    cost: PublicMoney
    input_tokens: int | None
    output_tokens: int | None
    reconciled: bool | None
    failure: str | None


class ModelCallPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a run's model calls, the first one first."""

    items: list[ModelCallShape]
    next_cursor: str | None


def known_vendor(given: str) -> KeyVendor:
    """A vendor's name from a path.

    Raises:
        AgoraError: `not_found`, naming those there are.
    """
    if given not in VENDORS:
        raise AgoraError(
            "not_found",
            f"there is no vendor {given[:40]!r} that asks for a key; there are {', '.join(VENDORS)}",
        )
    return given  # type: ignore[return-value]


def call_page_shape(page: ModelCallPage) -> ModelCallPageShape:
    """A page of calls for the public."""
    return ModelCallPageShape(items=[_call_shape(one) for one in page.items], next_cursor=page.next_cursor)


def _call_shape(call: ModelCall) -> ModelCallShape:
    return ModelCallShape(
        id=call.id,
        step=call.step,
        attempt=call.attempt,
        model=call.model,
        state=call.state,
        at=call.at,
        key=call.key,
        cost=to_public(call.cost),
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        reconciled=call.reconciled,
        failure=call.failure,
    )


# --- examples of the documentation ---------------------------------------------------------------

_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
A_KEY_BODY = ProviderKeyBody(secret="sk-your-own-key-of-this-vendor")
A_KEY = ProviderKey(
    vendor="openai",
    last_characters="ndor",
    created_at=_AT,
    stored_by="key_0190a5b07c3a7d4e8f00112233445566",
)
A_KEY_LIST = ProviderKeyList(items=[A_KEY])
A_ROTATION = KeyRotation(current="k2", rotated=3, left_behind=0)
_PRICES = TokenPrices(input=Decimal("0.15"), output=Decimal("0.60"), cached_input=Decimal("0.075"))
A_PRICE_BODY = ModelPriceBody(
    model="openai:gpt-4o-mini", prices=_PRICES, effective_at=datetime(2100, 1, 1, tzinfo=UTC)
)
A_PRICE = ModelPriceEntry(
    model="openai:gpt-4o-mini", prices=_PRICES, effective_at=datetime(2100, 1, 1, tzinfo=UTC)
)
A_PRICE_LIST = ModelPriceList(items=[ModelPriceEntry(model="openai:gpt-4o-mini", prices=_PRICES), A_PRICE])
AN_OFFER_LIST = ModelOfferList(
    items=[ModelOffer(model="openai:gpt-4o-mini", capabilities=["fast"], key="platform", prices=_PRICES)]
)
A_CALL_PAGE = ModelCallPageShape(
    items=[
        ModelCallShape(
            id="0190a5b07c3a7d4e8f00112233445566",
            step="run_0190a5b07c3a7d4e8f00112233445566/answer/1",
            attempt=1,
            model="openai:gpt-4o-mini",
            state="answered",
            at=_AT,
            key="platform",
            cost=PublicMoney(amount="0.000006"),
            input_tokens=11,
            output_tokens=7,
            reconciled=True,
            failure=None,
        )
    ],
    next_cursor=None,
)
