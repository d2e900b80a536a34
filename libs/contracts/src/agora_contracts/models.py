"""Language models as customers and operators see them: what can be asked, whose keys pay for it, what it costs."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agora_contracts.money import Money

KeyVendor = Literal["openai", "anthropic", "google", "groq", "compatible"]
"""Vendors that ask for a key. `compatible` is the endpoint that the operator has set up to speak as OpenAI does."""

SecretText = Annotated[str, Meta(min_length=8, max_length=500, pattern=r"^[\x21-\x7e]+$(?!\n)")]
ModelName = Annotated[str, Meta(max_length=200, pattern=r"^[a-z]+:[^\s,]+$(?!\n)")]
"""`vendor:model`, or `vendor:*` for all of a vendor's models without a price of their own."""

MODEL_CACHE_HITS_METER = "model.cache_hits"
"""Meter of model calls that were answered from the response cache: they cost nothing."""


class StoreProviderKey(msgspec.Struct, frozen=True, kw_only=True):
    """Keep a vendor's key for a tenant's runs, in place of one that is there; for tenant `platform`, everybody's.

    It is encrypted before it is stored, and never shown again.
    """

    tenant: str
    vendor: KeyVendor
    secret: SecretText
    stored_by: str = ""

    def __repr__(self) -> str:
        """Without the secret: a command may come into a log."""
        return f"StoreProviderKey(tenant={self.tenant!r}, vendor={self.vendor!r})"


class ProviderKey(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's key that is kept: `last_characters` are all that is shown of it.

    `usable` is false while the key-encryption key that it is encrypted under is not set.
    """

    vendor: KeyVendor
    last_characters: str
    created_at: datetime
    stored_by: str = ""
    usable: bool = True


class ListProviderKeys(msgspec.Struct, frozen=True, kw_only=True):
    """List the keys that a tenant, or `platform`, has stored."""

    tenant: str


class ProviderKeyList(msgspec.Struct, frozen=True, kw_only=True):
    """Keys by vendor."""

    items: list[ProviderKey]


class DeleteProviderKey(msgspec.Struct, frozen=True, kw_only=True):
    """Forget a stored key; runs use the platform's again, if there is one."""

    tenant: str
    vendor: KeyVendor


class RotateProviderKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: encrypt every stored key anew under the current key-encryption key."""


class KeyRotation(msgspec.Struct, frozen=True, kw_only=True):
    """What a rotation did: how many keys were encrypted anew, and how many could not be opened to do so.

    Once none is left behind, older key-encryption keys may be taken out of the settings.
    """

    current: str
    rotated: int
    left_behind: int


class TokenPrices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model costs, in USD per million tokens.

    The `_above` prices hold for requests longer than `above_input_tokens`. `cached_input` is for input that the vendor
    had in its own cache, `audio_input` for sound; without them these cost as `input`. `image_tokens` is the most that
    one image counts.
    """

    input: Decimal
    output: Decimal
    above_input_tokens: Annotated[int, Meta(ge=1)] | None = None
    input_above: Decimal | None = None
    output_above: Decimal | None = None
    cached_input: Decimal | None = None
    audio_input: Decimal | None = None
    image_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] = 50_000

    def __post_init__(self) -> None:
        """Check the range of every price."""
        for name in ("input", "output", "input_above", "output_above", "cached_input", "audio_input"):
            price = getattr(self, name)
            if price is not None and not (price.is_finite() and 0 <= price <= PRICE_MAX):
                raise ValueError(f"`{name}` must be from 0 to {PRICE_MAX} USD per million tokens")


PRICE_MAX = 1_000_000
"""USD per million tokens."""


class SetModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: what a model costs from a moment on. The same moment again replaces what was set for it."""

    model: ModelName
    prices: TokenPrices
    effective_at: datetime


class ModelPriceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A price of a model. `effective_at` is None for a price that came with the platform."""

    model: str
    prices: TokenPrices
    effective_at: datetime | None = None


class ListModelPrices(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: all prices of models, past and announced ones too."""


class ModelPriceList(msgspec.Struct, frozen=True, kw_only=True):
    """Prices by model, the oldest of a model first."""

    items: list[ModelPriceEntry]


class ListModels(msgspec.Struct, frozen=True, kw_only=True):
    """The models that a tenant's runs can be answered by, in the order in which they are asked."""

    tenant: str


class ModelOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be asked, for what, under whose key, and at which price now.

    A model without prices is configured and refused until the operator says what it costs.
    """

    model: str
    capabilities: list[str]
    key: Literal["platform", "own"]
    prices: TokenPrices | None = None


class ModelOfferList(msgspec.Struct, frozen=True, kw_only=True):
    """Models in the order in which they are asked for a capability."""

    items: list[ModelOffer]


class ListModelCalls(msgspec.Struct, frozen=True, kw_only=True):
    """The calls that a run made to models, in the order in which they were made."""

    run: str
    tenant: str
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class ModelCall(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a model. `cost` is what the vendor asks for it, the worst case where `reconciled` is false.

    `state` is `running`, `answered`, `cached` (answered by the response cache, at no cost) or `failed`, then with why.
    """

    id: str
    step: str
    attempt: int
    model: str
    state: Literal["running", "answered", "cached", "failed"]
    at: datetime
    key: Literal["platform", "own"]
    cost: Money
    input_tokens: int | None = None
    output_tokens: int | None = None
    reconciled: bool | None = None
    failure: str | None = None


class ModelCallPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a run's model calls."""

    items: list[ModelCall]
    next_cursor: str | None = None
