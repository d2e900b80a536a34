"""HTTP of models for tenants: what can be asked, keys of one's own, and what a run has asked."""

from typing import Annotated

from agora_contracts.models import (
    DeleteProviderKey,
    ListModelCalls,
    ListModels,
    ListProviderKeys,
    ModelOfferList,
    ProviderKey,
    ProviderKeyList,
    StoreProviderKey,
)
from agora_kit.broker import Broker
from litestar import Router, delete, get, put
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import PathParameter

from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import TENANT_SECURITY, Cursor, Limit, RunId, answers, body, existing
from agora_gateway.models import shapes
from agora_gateway.models.shapes import ModelCallPageShape, ProviderKeyBody, call_page_shape, known_vendor

VendorName = Annotated[
    str,
    PathParameter(
        description=f"The vendor: {', '.join(shapes.VENDORS)}.", examples=[Example(value="openai")]
    ),
]


@get(
    "/models",
    guards=[requires("read")],
    summary="List models",
    operation_id="listModels",
    responses=answers(shapes.AN_OFFER_LIST),
)
async def list_models(broker: NamedDependency[Broker], tenant: NamedDependency[Tenant]) -> ModelOfferList:
    """The models that runs can be answered by, for what, under whose key, and what they cost now."""
    found: ModelOfferList = await broker.ask(ListModels(tenant=tenant.id))
    return found


@get(
    "/runs/{run:str}/model-calls",
    guards=[requires("read")],
    summary="List a run's model calls",
    operation_id="listModelCalls",
    responses=answers(shapes.A_CALL_PAGE, "not_found", "invalid_input", "invalid_cursor"),
)
async def list_model_calls(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    run: RunId,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> ModelCallPageShape:
    """Every try of a run at a model: what it used and cost, whether the vendor told so, and why it failed."""
    query = ListModelCalls(run=existing("run", run), tenant=tenant.id, cursor=cursor, limit=limit)
    return call_page_shape(await broker.ask(query))


@put(
    "/provider-keys/{vendor:str}",
    guards=[requires("keys")],
    summary="Bring a key of a vendor",
    operation_id="storeProviderKey",
    responses=answers(shapes.A_KEY, "not_found", "malformed_request", "invalid_input", "keys_not_storable"),
)
async def store_provider_key(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    vendor: VendorName,
    data: Annotated[ProviderKeyBody, body(shapes.A_KEY_BODY)],
) -> ProviderKey:
    """Use one's own key for a vendor's models within seconds: their cost is then shown, and charged by the vendor."""
    stored: ProviderKey = await broker.ask(
        StoreProviderKey(
            tenant=tenant.id, vendor=known_vendor(vendor), secret=data.secret, stored_by=tenant.key
        )
    )
    return stored


@get(
    "/provider-keys",
    guards=[requires("keys")],
    summary="List keys of vendors",
    operation_id="listProviderKeys",
    responses=answers(shapes.A_KEY_LIST),
)
async def list_provider_keys(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant]
) -> ProviderKeyList:
    """The keys that are stored, by their last characters."""
    found: ProviderKeyList = await broker.ask(ListProviderKeys(tenant=tenant.id))
    return found


@delete(
    "/provider-keys/{vendor:str}",
    status_code=200,
    guards=[requires("keys")],
    summary="Delete a key of a vendor",
    operation_id="deleteProviderKey",
    responses=answers(shapes.A_KEY, "not_found"),
)
async def delete_provider_key(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], vendor: VendorName
) -> ProviderKey:
    """Delete a stored key: within seconds it is used no more, and the platform's own is, if it has one."""
    deleted: ProviderKey = await broker.ask(DeleteProviderKey(tenant=tenant.id, vendor=known_vendor(vendor)))
    return deleted


router = Router(
    "/",
    route_handlers=[
        list_models,
        list_model_calls,
        store_provider_key,
        list_provider_keys,
        delete_provider_key,
    ],
    tags=["Models"],
    security=TENANT_SECURITY,
)
