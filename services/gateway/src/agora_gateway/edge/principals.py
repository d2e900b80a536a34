"""Who asks: a tenant by an API key, or the operator; and the guards that routes put up."""

from datetime import datetime
from typing import Any, Literal, get_args

import msgspec
from agora_contracts.problems import AgoraError
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

Scope = Literal["read", "execute", "files", "account", "keys", "usage", "approve"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What a key may do: read the marketplace and runs, start and hire, files, money, other keys, usage of
one's own to report and correct, decisions that runs wait for."""


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A customer who came with one of its API keys."""

    id: str
    account: str
    key: str
    scopes: frozenset[str]
    key_expires_at: datetime | None = None


class Operator(msgspec.Struct, frozen=True):
    """Who came with the operator's token."""


def requires(scope: Scope) -> Guard:
    """Let in only tenants whose key has `scope`."""

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        check_scope(connection.scope.get("user"), scope)

    return guard


def check_scope(who: object, scope: Scope) -> None:
    """Raise `forbidden` unless `who` is a tenant whose key has `scope`."""
    if not isinstance(who, Tenant):
        raise AgoraError("forbidden", "this route is a tenant's: use one of its API keys (ak_...)")
    if scope not in who.scopes:
        raise AgoraError(
            "forbidden", f"this API key lacks the scope {scope!r}; use or create one that has it"
        )


def operators_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let in only the operator."""
    if not isinstance(connection.scope.get("user"), Operator):
        raise AgoraError("forbidden", "this route is the operator's: use the operator's token")


def current_tenant(scope: Any) -> Tenant:
    """The tenant of a request that passed a `requires` guard."""
    who = scope.get("user")
    assert isinstance(who, Tenant), "the route lacks its guard"
    return who
