"""Examples of models, keys of their vendors, prices and calls."""

from decimal import Decimal

import msgspec

from agora_contracts import models
from agora_contracts.examples import story
from agora_contracts.money import Money

KEY = models.ProviderKey(
    vendor="openai",
    last_characters="x7Qz",
    created_at=story.ACCEPTED_AT,
    stored_by="key_0190a5b07c3a7d4e8f00112233445566",
    usable=False,
)
PRICES = models.TokenPrices(
    input=Decimal("1.25"),
    output=Decimal("10.00"),
    above_input_tokens=200_000,
    input_above=Decimal("2.50"),
    output_above=Decimal("15.00"),
    cached_input=Decimal("0.31"),
    audio_input=Decimal("1.00"),
    image_tokens=5_000,
)
ENTRY = models.ModelPriceEntry(model="google:gemini-2.5-pro", prices=PRICES, effective_at=story.ACCEPTED_AT)
OFFER = models.ModelOffer(
    model="google:gemini-2.5-pro", capabilities=["smart", "vision"], key="own", prices=PRICES
)
CALL = models.ModelCall(
    id="019cb4c4a10070008000000000000001",
    step=f"{story.RUN}/answer/1",
    attempt=1,
    model="google:gemini-2.5-pro",
    state="failed",
    at=story.ACCEPTED_AT,
    key="platform",
    cost=Money(amount=5_850),
    input_tokens=1_100,
    output_tokens=700,
    reconciled=False,
    failure="google:gemini-2.5-pro broke off in its answer: it does not say that it ended",
)

EXAMPLES: tuple[msgspec.Struct, ...] = (
    models.StoreProviderKey(
        tenant=story.TENANT,
        vendor="openai",
        secret="sk-an-example-of-a-key-x7Qz",
        stored_by="key_0190a5b07c3a7d4e8f00112233445566",
    ),
    KEY,
    models.ListProviderKeys(tenant=story.TENANT),
    models.ProviderKeyList(items=[KEY]),
    models.DeleteProviderKey(tenant=story.TENANT, vendor="openai"),
    models.RotateProviderKeys(),
    models.KeyRotation(current="k2026", rotated=12, left_behind=1),
    models.SetModelPrice(model="google:gemini-2.5-pro", prices=PRICES, effective_at=story.ACCEPTED_AT),
    ENTRY,
    models.ListModelPrices(),
    models.ModelPriceList(items=[ENTRY]),
    models.ListModels(tenant=story.TENANT),
    OFFER,
    models.ModelOfferList(items=[OFFER]),
    models.ListModelCalls(run=story.RUN, tenant=story.TENANT, cursor=story.CURSOR, limit=20),
    CALL,
    models.ModelCallPage(items=[CALL], next_cursor=story.CURSOR),
)
