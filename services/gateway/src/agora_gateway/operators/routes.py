"""HTTP of the operator: tenants, their keys and credit, packages."""

from typing import Annotated, Any

import msgspec
from agora_contracts.billing import TopUp
from agora_contracts.catalog import Manifest, PublishPackage, SetListingState
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker
from litestar import Router, delete, get, post
from litestar.di import NamedDependency

from agora_gateway.account.shapes import A_BALANCE, BalanceShape, balance_shape
from agora_gateway.approvals import routes as approval_routes
from agora_gateway.edge.bodies import field_error
from agora_gateway.edge.headers import requested_id
from agora_gateway.edge.page_cache import PageCache
from agora_gateway.edge.principals import operators_only
from agora_gateway.edge.routing import (
    OPERATOR_SECURITY,
    Cursor,
    IdempotencyKey,
    KeyId,
    Limit,
    PackageId,
    TenantId,
    VersionId,
    answers,
    body,
    existing,
    existing_package,
)
from agora_gateway.edge.shapes import read_money
from agora_gateway.identity import shapes as identity_shapes
from agora_gateway.identity.key_cache import KeyCache
from agora_gateway.identity.service import Identity, NewKey
from agora_gateway.identity.shapes import (
    KeyPageShape,
    KeyShape,
    NewKeyBody,
    NewKeyShape,
    NewTenantBody,
    TenantPageShape,
    TenantShape,
    asked_scopes,
    key_shape,
    new_key_shape,
    tenant_shape,
)
from agora_gateway.models import operator_routes as model_routes
from agora_gateway.operators import (
    credit_routes,
    meter_routes,
    platform_routes,
    reconciliation_routes,
    shapes,
    usage_routes,
)
from agora_gateway.operators.shapes import PublishBody, StateBody, TopUpBody
from agora_gateway.packages.price_routes import publish_prices
from agora_gateway.packages.shapes import A_DETAIL, PackageDetailShape, package_detail
from agora_gateway.refunds import routes as refund_routes


@post(
    "/tenants",
    summary="Make a tenant",
    operation_id="createTenant",
    responses=answers(
        identity_shapes.A_TENANT, "malformed_request", "invalid_input", "idempotency_conflict", status=201
    ),
)
async def create_tenant(
    identity: NamedDependency[Identity],
    data: Annotated[NewTenantBody, body(identity_shapes.A_TENANT_BODY)],
    idempotency_key: IdempotencyKey = None,
) -> TenantShape:
    """A customer with an open billing account. With an Idempotency-Key a retry gets the same one."""
    tenant = requested_id("ten", "operator", idempotency_key)
    return tenant_shape(await identity.create_tenant(tenant, data.name))


@get(
    "/tenants",
    summary="List tenants",
    operation_id="listTenants",
    responses=answers(identity_shapes.A_TENANT_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_tenants(
    identity: NamedDependency[Identity], cursor: Cursor = None, limit: Limit = 50
) -> TenantPageShape:
    """All tenants in the order of their making."""
    page, next_cursor = await identity.list_tenants(cursor, limit)
    return TenantPageShape(items=[tenant_shape(tenant) for tenant in page], next_cursor=next_cursor)


@post(
    "/tenants/{tenant_id:str}/keys",
    summary="Make a key for a tenant",
    operation_id="createTenantKey",
    responses=answers(
        identity_shapes.A_NEW_KEY, "not_found", "malformed_request", "invalid_input", status=201
    ),
)
async def create_key(
    identity: NamedDependency[Identity],
    tenant_id: TenantId,
    data: Annotated[NewKeyBody, body(identity_shapes.A_NEW_KEY_BODY)],
) -> NewKeyShape:
    """A key for a tenant. It is shown this once."""
    asked = NewKey(name=data.name, scopes=asked_scopes(data), expires_at=data.expires_at)
    return new_key_shape(*await identity.create_key(existing("ten", tenant_id), asked))


@get(
    "/tenants/{tenant_id:str}/keys",
    summary="List a tenant's keys",
    operation_id="listTenantKeys",
    responses=answers(identity_shapes.A_KEY_PAGE, "not_found", "invalid_input", "invalid_cursor"),
)
async def list_keys(
    identity: NamedDependency[Identity], tenant_id: TenantId, cursor: Cursor = None, limit: Limit = 50
) -> KeyPageShape:
    """A tenant's keys by their prefixes, revoked ones too."""
    await identity.get_tenant(existing("ten", tenant_id))
    page, next_cursor = await identity.list_keys(tenant_id, cursor, limit)
    return KeyPageShape(items=[key_shape(key) for key in page], next_cursor=next_cursor)


@delete(
    "/tenants/{tenant_id:str}/keys/{key:str}",
    status_code=200,
    summary="Revoke a tenant's key",
    operation_id="revokeTenantKey",
    responses=answers(identity_shapes.A_REVOKED_KEY, "not_found"),
)
async def revoke_key(
    identity: NamedDependency[Identity],
    keys: NamedDependency[KeyCache],
    tenant_id: TenantId,
    key: KeyId,
) -> KeyShape:
    """Revoke a key: it stops working within a second everywhere."""
    revoked = await identity.revoke_key(existing("ten", tenant_id), existing("key", key))
    keys.clear()
    return key_shape(revoked)


@post(
    "/tenants/{tenant_id:str}/top-ups",
    summary="Add credit",
    operation_id="topUp",
    responses=answers(
        A_BALANCE,
        "not_found",
        "conflict",
        "malformed_request",
        "invalid_input",
        "currency_mismatch",
        "account_closed",
        status=201,
    ),
)
async def top_up(
    broker: NamedDependency[Broker],
    identity: NamedDependency[Identity],
    tenant_id: TenantId,
    data: Annotated[TopUpBody, body(shapes.A_TOP_UP)],
) -> BalanceShape:
    """Book paid credit onto a tenant's account. The same reference books it once."""
    tenant = await identity.get_tenant(existing("ten", tenant_id))
    command = TopUp(
        account=tenant.account,
        tenant=tenant.id,
        amount=read_money(data.amount, "/amount"),
        reference=data.reference,
    )
    return balance_shape(await broker.ask(command))


@post(
    "/packages",
    summary="Publish a package version",
    operation_id="publishPackage",
    responses=answers(
        A_DETAIL,
        "malformed_request",
        "version_exists",
        "invalid_input",
        "invalid_manifest",
        "invalid_price",
        status=201,
    ),
)
async def publish_package(
    broker: NamedDependency[Broker],
    pages: NamedDependency[PageCache],
    data: Annotated[PublishBody, body(shapes.A_PUBLICATION)],
) -> PackageDetailShape:
    """Publish one version. The same contents again change nothing; other contents conflict."""
    command = PublishPackage(
        manifest=_manifest(data.manifest), schemas=data.schemas, first_party=data.first_party
    )
    detail = await broker.ask(command)
    pages.clear()
    return package_detail(detail)


@post(
    "/packages/{package:str}/versions/{version:str}/state",
    status_code=200,
    summary="Move a version's listing state",
    operation_id="setListingState",
    responses=answers(A_DETAIL, "not_found", "conflict", "malformed_request", "invalid_input"),
)
async def set_listing_state(
    broker: NamedDependency[Broker],
    pages: NamedDependency[PageCache],
    package: PackageId,
    version: VersionId,
    data: Annotated[StateBody, body(shapes.A_STATE)],
) -> PackageDetailShape:
    """Publish a draft, deprecate or retire a version."""
    command = SetListingState(package=existing_package(package), version=version, state=data.state)
    detail = await broker.ask(command)
    pages.clear()
    return package_detail(detail)


def _manifest(given: dict[str, Any]) -> Manifest:
    try:
        return msgspec.convert(given, Manifest)
    except msgspec.ValidationError as error:
        field = field_error(error)
        raise AgoraError(
            "invalid_manifest", f"the manifest does not fit: {field.detail}", errors=[field]
        ) from error


router = Router(
    "/operator",
    route_handlers=[
        create_tenant,
        list_tenants,
        create_key,
        list_keys,
        revoke_key,
        top_up,
        publish_package,
        set_listing_state,
        *credit_routes.handlers,
        *approval_routes.operator_handlers,
        *platform_routes.handlers,
        *reconciliation_routes.handlers,
        publish_prices,
        *refund_routes.handlers,
        *usage_routes.handlers,
        *meter_routes.handlers,
        *model_routes.handlers,
    ],
    guards=[operators_only],
    tags=["Operator"],
    security=OPERATOR_SECURITY,
)
