"""The routes of models, of vendors' keys and of prices."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from agora_contracts.billing import OpenAccount
from agora_contracts.models import (
    DeleteProviderKey,
    KeyRotation,
    ListModelCalls,
    ListModelPrices,
    ListModels,
    ListProviderKeys,
    ModelCall,
    ModelCallPage,
    ModelOffer,
    ModelOfferList,
    ModelPriceEntry,
    ModelPriceList,
    ProviderKey,
    ProviderKeyList,
    RotateProviderKeys,
    SetModelPrice,
    StoreProviderKey,
    TokenPrices,
)
from agora_contracts.money import Money
from agora_contracts.subjects import PLATFORM_TENANT

from .conftest import Customer, Others

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
RUN = f"run_{'a' * 32}"
SECRET = "sk-a-key-of-this-tenant"
KEY = ProviderKey(vendor="openai", last_characters="nant", created_at=AT)
PRICES = TokenPrices(input=Decimal("0.2"), output=Decimal("0.6"))
ENTRY = ModelPriceEntry(model="openai:x", prices=PRICES, effective_at=AT)
CALL = ModelCall(
    id="c1",
    step=f"{RUN}/ask/1",
    attempt=1,
    model="openai:gpt-4o-mini",
    state="answered",
    at=AT,
    key="platform",
    cost=Money(amount=6),
    reconciled=False,
)


def asked_of(others: Others) -> list[Any]:
    """What was asked, without what made the tenant."""
    return [command for command in others.asked if not isinstance(command, OpenAccount)]


async def test_a_tenant_keeps_keys_of_vendors(customer: Customer, others: Others):
    """
    Keys are stored, listed and deleted for their tenant alone; no answer holds a secret.
    """
    await others.answer(
        (StoreProviderKey, KEY), (ListProviderKeys, ProviderKeyList(items=[KEY])), (DeleteProviderKey, KEY)
    )
    stored = await customer.http.put("/provider-keys/openai", json={"secret": SECRET})
    listed = await customer.http.get("/provider-keys")
    deleted = await customer.http.delete("/provider-keys/openai")

    assert [200, 200, 200] == [one.status_code for one in (stored, listed, deleted)]
    assert all(SECRET not in one.text for one in (stored, listed, deleted))
    store, listing, deletion = asked_of(others)
    assert (customer.id, "openai", SECRET) == (store.tenant, store.vendor, store.secret)
    assert SECRET not in repr(store)
    assert customer.id == listing.tenant == deletion.tenant


@pytest.mark.parametrize(
    "secret", ["short", "with a space in it", "line\nbreak in it", "x" * 501, 12345678, None]
)
async def test_what_is_no_key_is_refused_and_not_repeated(customer: Customer, secret: Any):
    """
    A secret of a wrong form is refused by its place, and never told again.
    """
    answer = await customer.http.put("/provider-keys/openai", json={"secret": secret})

    assert (422, "/secret") == (answer.status_code, answer.json()["errors"][0]["field"])
    assert not isinstance(secret, str) or secret not in answer.text


async def test_an_unknown_vendor_is_told_which_there_are(customer: Customer):
    """
    A vendor that does not exist, or asks for no key, is not found.
    """
    for vendor in ("nobody", "ollama", "OpenAI"):
        answer = await customer.http.put(f"/provider-keys/{vendor}", json={"secret": SECRET})
        assert 404 == answer.status_code
        assert "anthropic" in answer.json()["detail"]


async def test_keys_of_vendors_need_the_scope_for_keys(new_customer: Any):
    """
    A key that may only read sees models, and neither stores nor lists keys.
    """
    reader: Customer = await new_customer(scopes=["read"])

    assert 403 == (await reader.http.put("/provider-keys/openai", json={"secret": SECRET})).status_code
    assert 403 == (await reader.http.get("/provider-keys")).status_code


async def test_models_and_calls_are_shown(customer: Customer, others: Others):
    """
    What can be asked is listed with its price, and a run's calls with their cost in public money.
    """
    offer = ModelOffer(model="openai:x", capabilities=["fast"], key="own", prices=PRICES)
    await others.answer(
        (ListModels, ModelOfferList(items=[offer])),
        (ListModelCalls, ModelCallPage(items=[CALL], next_cursor="more")),
    )
    models = await customer.http.get("/models")
    calls = await customer.http.get(f"/runs/{RUN}/model-calls", params={"limit": 1})

    assert [("openai:x", "own", "0.2")] == [
        (one["model"], one["key"], one["prices"]["input"]) for one in models.json()["items"]
    ]
    [call] = calls.json()["items"]
    assert ("0.000006", False, "more") == (
        call["cost"]["amount"],
        call["reconciled"],
        calls.json()["next_cursor"],
    )
    assert 404 == (await customer.http.get("/runs/run_x/model-calls")).status_code


async def test_the_operator_keeps_the_platforms_keys_and_prices(operator: httpx.AsyncClient, others: Others):
    """
    The operator's routes store the platform's keys, set prices and rotate what keys are encrypted under.
    """
    await others.answer(
        (StoreProviderKey, KEY),
        (ListProviderKeys, ProviderKeyList(items=[KEY])),
        (DeleteProviderKey, KEY),
        (RotateProviderKeys, KeyRotation(current="k2", rotated=1, left_behind=0)),
        (SetModelPrice, ENTRY),
        (ListModelPrices, ModelPriceList(items=[ENTRY])),
    )
    price = {"model": "openai:x", "prices": {"input": "0.2", "output": "0.6"}}
    answers = [
        await operator.put("/operator/provider-keys/openai", json={"secret": SECRET}),
        await operator.get("/operator/provider-keys"),
        await operator.delete("/operator/provider-keys/openai"),
        await operator.post("/operator/provider-keys/rotate"),
        await operator.put("/operator/model-prices", json=price | {"effective_at": "2026-01-05T09:00:00Z"}),
        await operator.put("/operator/model-prices", json=price),
        await operator.get("/operator/model-prices"),
    ]

    assert [200] * 7 == [one.status_code for one in answers]
    store, listing, deletion, _, dated, at_once, _ = asked_of(others)
    assert PLATFORM_TENANT == store.tenant == listing.tenant == deletion.tenant
    assert AT == dated.effective_at
    assert dated.effective_at < at_once.effective_at


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": "gpt-4o"}, "/model"),
        ({"model": "openai:a,b"}, "/model"),
        ({"prices": {"input": "-1", "output": "1"}}, "/prices"),
        ({"prices": {"input": "1"}}, "/prices"),
        ({"prices": {"input": "1", "output": "1", "inputs": "1"}}, "/prices"),
        ({"effective_at": "tomorrow"}, "/effective_at"),
    ],
)
async def test_a_price_that_cannot_be_read_is_refused(
    operator: httpx.AsyncClient, change: dict[str, Any], field: str
):
    """
    Each wrong field is named; nothing is set.
    """
    price: dict[str, Any] = {"model": "openai:x", "prices": {"input": "0.2", "output": "0.6"}}
    answer = await operator.put("/operator/model-prices", json=price | change)

    assert 422 == answer.status_code
    assert answer.json()["errors"][0]["field"].startswith(field)
