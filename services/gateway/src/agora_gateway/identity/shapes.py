"""Tenants and keys as the API shows them."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agora_gateway.edge.principals import SCOPES, Scope
from agora_gateway.identity.model import ApiKey, TenantRecord

Name = Annotated[str, Meta(min_length=1, max_length=120)]


class NewKeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be made: all scopes unless some are named, for ever unless `expires_at` is given."""

    name: Name
    scopes: list[Scope] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class KeyShape(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret part."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKeyShape(KeyShape, frozen=True, kw_only=True):
    """A new API key. `key` is shown this once and kept nowhere."""

    key: str


class KeyPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of keys, revoked ones too, in the order of their making."""

    items: list[KeyShape]
    next_cursor: str | None = None


class NewTenantBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant to be made."""

    name: Name


class TenantShape(msgspec.Struct, frozen=True, kw_only=True):
    """A customer of this platform and its billing account."""

    id: str
    name: str
    account: str
    created_at: datetime


class TenantPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of tenants in the order of their making."""

    items: list[TenantShape]
    next_cursor: str | None = None


def key_shape(key: ApiKey) -> KeyShape:
    """A key for the public."""
    return KeyShape(**_fields(key))


def new_key_shape(key: ApiKey, secret: str) -> NewKeyShape:
    """A key at the only time it can be read."""
    return NewKeyShape(**_fields(key), key=secret)


def tenant_shape(tenant: TenantRecord) -> TenantShape:
    """A tenant for the operator."""
    return TenantShape(id=tenant.id, name=tenant.name, account=tenant.account, created_at=tenant.created_at)


def asked_scopes(body: NewKeyBody) -> frozenset[str]:
    """The scopes that a new key is to have: all of them unless some are named."""
    return frozenset(SCOPES if body.scopes is None else body.scopes)


def _fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": [scope for scope in SCOPES if scope in key.scopes],
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


# --- examples of the documentation ---------------------------------------------------------------

_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
A_NEW_KEY_BODY = NewKeyBody(name="nightly job", scopes=["read", "execute"])
A_KEY = KeyShape(
    id="key_0190a5b07c3a7d4e8f00112233445566",
    name="nightly job",
    prefix="ak_1a2b3c4d",
    scopes=["read", "execute"],
    created_at=_AT,
    expires_at=None,
    revoked_at=None,
)
A_REVOKED_KEY = msgspec.structs.replace(A_KEY, revoked_at=datetime(2026, 2, 1, 12, 0, tzinfo=UTC))
A_NEW_KEY = NewKeyShape(**msgspec.structs.asdict(A_KEY), key=f"ak_1a2b3c4d_{'x' * 43}")
A_KEY_PAGE = KeyPageShape(items=[A_KEY])
A_TENANT_BODY = NewTenantBody(name="Acme")
A_TENANT = TenantShape(
    id="ten_0190a5b07c3a7d4e8f00112233445566",
    name="Acme",
    account="acc_0190a5b07c3a7d4e8f00112233445566",
    created_at=_AT,
)
A_TENANT_PAGE = TenantPageShape(items=[A_TENANT])
