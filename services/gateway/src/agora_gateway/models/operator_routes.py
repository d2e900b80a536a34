"""HTTP of models for the operator: the platform's own keys, their encryption, and prices."""

from typing import Annotated

from agora_contracts.envelope import utc_now
from agora_contracts.models import (
    DeleteProviderKey,
    KeyRotation,
    ListModelPrices,
    ListProviderKeys,
    ModelPriceEntry,
    ModelPriceList,
    ProviderKey,
    ProviderKeyList,
    RotateProviderKeys,
    SetModelPrice,
    StoreProviderKey,
)
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.broker import Broker
from litestar import delete, get, post, put
from litestar.di import NamedDependency

from agora_gateway.edge.routing import answers, body
from agora_gateway.models import shapes
from agora_gateway.models.routes import VendorName
from agora_gateway.models.shapes import ModelPriceBody, ProviderKeyBody, known_vendor


@put(
    "/provider-keys/{vendor:str}",
    summary="Store the platform's key of a vendor",
    operation_id="storePlatformKey",
    responses=answers(shapes.A_KEY, "not_found", "malformed_request", "invalid_input", "keys_not_storable"),
)
async def store_platform_key(
    broker: NamedDependency[Broker],
    vendor: VendorName,
    data: Annotated[ProviderKeyBody, body(shapes.A_KEY_BODY)],
) -> ProviderKey:
    """Use this key for the runs of every tenant that has none of its own, before one of the environment."""
    command = StoreProviderKey(
        tenant=PLATFORM_TENANT, vendor=known_vendor(vendor), secret=data.secret, stored_by="operator"
    )
    stored: ProviderKey = await broker.ask(command)
    return stored


@get(
    "/provider-keys",
    summary="List the platform's keys of vendors",
    operation_id="listPlatformKeys",
    responses=answers(shapes.A_KEY_LIST),
)
async def list_platform_keys(broker: NamedDependency[Broker]) -> ProviderKeyList:
    """The keys that are stored, by their last characters; those of the environment are not listed."""
    found: ProviderKeyList = await broker.ask(ListProviderKeys(tenant=PLATFORM_TENANT))
    return found


@delete(
    "/provider-keys/{vendor:str}",
    status_code=200,
    summary="Delete the platform's key of a vendor",
    operation_id="deletePlatformKey",
    responses=answers(shapes.A_KEY, "not_found"),
)
async def delete_platform_key(broker: NamedDependency[Broker], vendor: VendorName) -> ProviderKey:
    """Delete a stored key of the platform."""
    command = DeleteProviderKey(tenant=PLATFORM_TENANT, vendor=known_vendor(vendor))
    deleted: ProviderKey = await broker.ask(command)
    return deleted


@post(
    "/provider-keys/rotate",
    status_code=200,
    summary="Encrypt all keys of vendors anew",
    operation_id="rotateProviderKeys",
    responses=answers(shapes.A_ROTATION, "keys_not_storable"),
)
async def rotate_provider_keys(broker: NamedDependency[Broker]) -> KeyRotation:
    """Encrypt every stored key, of all tenants, under the current key-encryption key. Doing it again is safe."""
    done: KeyRotation = await broker.ask(RotateProviderKeys())
    return done


@put(
    "/model-prices",
    summary="Set the price of a model",
    operation_id="setModelPrice",
    responses=answers(shapes.A_PRICE, "malformed_request", "invalid_input"),
)
async def set_model_price(
    broker: NamedDependency[Broker], data: Annotated[ModelPriceBody, body(shapes.A_PRICE_BODY)]
) -> ModelPriceEntry:
    """Say what calls of a model cost from a moment on. Calls that were made keep the price that held then."""
    command = SetModelPrice(model=data.model, prices=data.prices, effective_at=data.effective_at or utc_now())
    entry: ModelPriceEntry = await broker.ask(command)
    return entry


@get(
    "/model-prices",
    summary="List prices of models",
    operation_id="listModelPrices",
    responses=answers(shapes.A_PRICE_LIST),
)
async def list_model_prices(broker: NamedDependency[Broker]) -> ModelPriceList:
    """All prices of models, past and announced ones too. Those without a moment came with the platform."""
    found: ModelPriceList = await broker.ask(ListModelPrices())
    return found


handlers = (
    store_platform_key,
    list_platform_keys,
    delete_platform_key,
    rotate_provider_keys,
    set_model_price,
    list_model_prices,
)
