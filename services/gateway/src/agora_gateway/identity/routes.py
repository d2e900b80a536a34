"""HTTP of a tenant's own API keys."""

from typing import Annotated

from litestar import Router, delete, get, post
from litestar.di import NamedDependency

from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import TENANT_SECURITY, Cursor, KeyId, Limit, answers, body, existing
from agora_gateway.identity import model, shapes
from agora_gateway.identity.key_cache import KeyCache
from agora_gateway.identity.service import Identity, NewKey
from agora_gateway.identity.shapes import KeyPageShape, KeyShape, NewKeyBody, NewKeyShape, key_shape


@post(
    "/",
    guards=[requires("keys")],
    summary="Make an API key",
    operation_id="createKey",
    responses=answers(shapes.A_NEW_KEY, "malformed_request", "invalid_input", status=201),
)
async def create_key(
    identity: NamedDependency[Identity],
    tenant: NamedDependency[Tenant],
    data: Annotated[NewKeyBody, body(shapes.A_NEW_KEY_BODY)],
) -> NewKeyShape:
    """A new key, with at most the scopes of the key that asks. It is shown this once."""
    scopes = shapes.asked_scopes(data) if data.scopes is not None else tenant.scopes
    model.check_grant(tenant.scopes, scopes)
    asked = NewKey(name=data.name, scopes=scopes, expires_at=data.expires_at)
    return shapes.new_key_shape(*await identity.create_key(tenant.id, asked))


@get(
    "/",
    guards=[requires("keys")],
    summary="List API keys",
    operation_id="listKeys",
    responses=answers(shapes.A_KEY_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_keys(
    identity: NamedDependency[Identity],
    tenant: NamedDependency[Tenant],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> KeyPageShape:
    """The tenant's keys by their prefixes, revoked ones too."""
    page, next_cursor = await identity.list_keys(tenant.id, cursor, limit)
    return KeyPageShape(items=[key_shape(key) for key in page], next_cursor=next_cursor)


@delete(
    "/{key:str}",
    status_code=200,
    guards=[requires("keys")],
    summary="Revoke an API key",
    operation_id="revokeKey",
    responses=answers(shapes.A_REVOKED_KEY, "not_found"),
)
async def revoke_key(
    identity: NamedDependency[Identity],
    keys: NamedDependency[KeyCache],
    tenant: NamedDependency[Tenant],
    key: KeyId,
) -> KeyShape:
    """Revoke a key: it stops working within a second everywhere. Doing it again changes nothing."""
    revoked = await identity.revoke_key(tenant.id, existing("key", key))
    keys.clear()
    return key_shape(revoked)


router = Router(
    "/api-keys",
    route_handlers=[create_key, list_keys, revoke_key],
    tags=["API keys"],
    security=TENANT_SECURITY,
)
