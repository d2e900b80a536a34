"""Answers that are the same for every tenant, kept for a moment as bytes.

Only the catalogue's lists: what they show changes when a package is published, and the event of that empties
the cache; an event that is lost costs at most the lifetime.
"""

import asyncio
import time
from collections import OrderedDict
from typing import Any

from litestar.types import ASGIApp, Receive, Send

LIFETIME_SECONDS = 1.0
_PAGES_MAX = 512

type Key = tuple[str, bytes]


class _Page:
    __slots__ = ("made_at", "messages")

    def __init__(self, messages: list[Any], made_at: float) -> None:
        self.messages = messages
        self.made_at = made_at


class PageCache:
    """Keeps whole responses by path and query.

    Args:
        paths: the routes whose answers depend on nothing but the query.
    """

    def __init__(self, paths: frozenset[str], *, lifetime_seconds: float = LIFETIME_SECONDS) -> None:
        self._paths = paths
        self.lifetime_seconds = lifetime_seconds
        self._pages: OrderedDict[Key, _Page] = OrderedDict()
        self._making: dict[Key, asyncio.Lock] = {}
        self._generation = 0

    def covers(self, path: str) -> bool:
        """Whether answers of this path are kept."""
        return path in self._paths

    def clear(self) -> None:
        """Forget every page, also those being made now."""
        self._generation += 1
        self._pages.clear()

    async def serve(self, app: ASGIApp, scope: Any, receive: Receive, send: Send) -> None:
        """Answer from the cache, or let the route answer and keep it."""
        key = (scope["path"], scope["query_string"])
        page = self._pages.get(key)
        if page is None or time.monotonic() - page.made_at > self.lifetime_seconds:
            page = await self._make(key, app, scope, receive)
        for message in page.messages:
            await send(message)

    async def _make(self, key: Key, app: ASGIApp, scope: Any, receive: Receive) -> _Page:
        # One maker per page; the others wait for it instead of asking the catalogue as well.
        lock = self._making.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                page = self._pages.get(key)
                if page is not None and time.monotonic() - page.made_at <= self.lifetime_seconds:
                    return page
                generation, messages, made_at = self._generation, [], time.monotonic()

                async def collect(message: Any) -> None:
                    messages.append(message)

                await app(scope, receive, collect)
                page = _Page(messages, made_at)
                if messages[0]["status"] == 200 and generation == self._generation:
                    self._keep(key, page)
                return page
        finally:
            if not lock.locked():
                self._making.pop(key, None)

    def _keep(self, key: Key, page: _Page) -> None:
        self._pages[key] = page
        self._pages.move_to_end(key)
        if len(self._pages) > _PAGES_MAX:
            self._pages.popitem(last=False)
