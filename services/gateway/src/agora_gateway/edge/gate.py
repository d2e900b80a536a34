"""The ASGI layer before every route: who asks, and answers that can come from the cache of pages.

It decides only who somebody is; what they may do is said by the guards of the routes. A path that is not
listed as public needs a token, whether or not there is a route. WebSockets sign in by themselves (`sockets.py`), as
their key may come in a frame.
"""

import hmac
from collections.abc import Iterable
from typing import Any, Protocol

from agora_contracts.problems import AgoraError
from litestar.types import ASGIApp, Receive, Send

from agora_gateway.edge import problems
from agora_gateway.edge.page_cache import PageCache
from agora_gateway.edge.principals import Operator, Tenant, check_scope
from agora_gateway.edge.refusing import Unread

PREFIX = "/api/v1"
_PUBLIC_ROUTES = ("/health", "/health/live", "/health/ready", "/docs", "/openapi.json")
PUBLIC_PATHS = frozenset({"/"} | {base + route for base in ("", PREFIX) for route in _PUBLIC_ROUTES})
DOCS_ASSETS = "/docs/assets/"


class Keys(Protocol):
    """Authenticates API keys, from memory where it can."""

    def fresh(self, token: str) -> Tenant | None:
        """The tenant if it is known without asking."""
        ...

    async def authenticate(self, token: str) -> Tenant:
        """The tenant, or the reason why not."""
        ...


class Gate:
    """Authenticates each request, then serves it from the page cache or hands it to the routes."""

    def __init__(self, app: ASGIApp, keys: Keys, operator_token: str, pages: PageCache) -> None:
        self._app = app
        self._keys = keys
        self._operator_token = operator_token.encode()
        self._pages = pages
        self._operator = Operator()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path in PUBLIC_PATHS or path.startswith(DOCS_ASSETS):
            await self._app(scope, receive, send)
            return
        if scope["method"] != "GET":
            channels = Unread(scope["headers"], receive, send)
            receive, send = channels.receive, channels.send
        try:
            token = credential(scope["headers"])
            if token is None:
                raise AgoraError(
                    "unauthenticated",
                    "send an API key as 'Authorization: Bearer ak_...' or 'X-API-Key: ak_...'",
                )
            who: Tenant | Operator | None = self._keys.fresh(token)
            if who is None:
                who = await self._identify(token)
            cached = scope["method"] == "GET" and self._pages.covers(path)
            if cached:
                check_scope(who, "read")
        except Exception as error:
            await problems.send_problem(send, problems.to_problem(error, f"{scope['method']} {path}"))
            return
        scope["user"] = who
        if cached:
            await self._pages.serve(self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _identify(self, token: str) -> Tenant | Operator:
        if hmac.compare_digest(token.encode(), self._operator_token):
            return self._operator
        return await self._keys.authenticate(token)


def credential(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key or token that comes with a request; None without any.

    Raises:
        AgoraError: `unauthenticated`, it cannot be read, or there are two that differ.
    """
    found = None
    for name, value in headers:
        if name == b"authorization":
            kind, _, given = value.partition(b" ")
            if kind.lower() != b"bearer":
                raise AgoraError("unauthenticated", "the header Authorization must read 'Bearer ak_...'")
            token = given.strip()
        elif name == b"x-api-key":
            token = value.strip()
        else:
            continue
        if found is not None and found != token:
            raise AgoraError("unauthenticated", "Authorization and X-API-Key carry different keys; send one")
        found = token
    return found.decode("latin-1") if found else None
