"""The cache of exact responses: opt-in, of one tenant, and an answer is asked for once however many wait for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from agora_kit.database import Database
from agora_kit.outbox import new_event_id

from agora_execution.models import cache_store
from agora_execution.patience import PlatformAway, patiently

log = structlog.get_logger()

KEPT_SECONDS = 3600.0
CLAIM_SECONDS = 60.0
"""For so long a claim holds that is not renewed: who holds it has died, and another may ask."""
_LOOK_SECONDS = 0.1
_LOOK_SECONDS_MAX = 1.0


@dataclass(slots=True)
class _Line:
    """Those of this process who wait for the same answer: one of them looks into the database."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


@dataclass(slots=True)
class Entry:
    """The answer that was found, or the right to bring one."""

    found: bytes | None
    reply: bytes | None = None
    """To be set by who has the right; left out, the right goes to the next."""


class ResponseCache:
    """Answers of models by tenant and request.

    Args:
        kept_seconds: how long an answer may be used.
        claim_seconds: how long the right to ask is kept for who does not renew it; it is, while the call is made.
    """

    def __init__(
        self,
        database: Database,
        *,
        kept_seconds: float = KEPT_SECONDS,
        claim_seconds: float = CLAIM_SECONDS,
    ) -> None:
        self._database = database
        self._kept_seconds = kept_seconds
        self._claim_seconds = claim_seconds
        self._lines: dict[tuple[str, str], _Line] = {}

    @asynccontextmanager
    async def entry(self, tenant: str, digest: str) -> AsyncIterator[Entry]:
        """What is kept for a request, once nobody else is asking it; or the right to ask, for the time inside."""
        line = self._lines.setdefault((tenant, digest), _Line())
        line.length += 1
        try:
            async with line.lock:
                claimer = new_event_id()
                found = await self._found_or_claimed(tenant, digest, claimer)
                entry = Entry(found)
                if found is not None:
                    yield entry
                    return
                renewing = asyncio.create_task(self._renew(tenant, digest, claimer))
                try:
                    yield entry
                finally:
                    renewing.cancel()
                    await self._leave(tenant, digest, claimer, entry.reply)
        finally:
            line.length -= 1
            if not line.length:
                self._lines.pop((tenant, digest), None)

    async def drop_old(self) -> None:
        """Delete answers that are too old."""
        async with self._database.system() as connection:
            await cache_store.drop_old(connection)

    async def _found_or_claimed(self, tenant: str, digest: str, claimer: str) -> bytes | None:
        pause = _LOOK_SECONDS
        while True:
            found, claimed = await patiently(self._look, tenant, digest, claimer)
            if found is not None or claimed:
                return found
            # Another process asks. Its claim ends at the latest when it lapses.
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LOOK_SECONDS_MAX)

    async def _look(self, tenant: str, digest: str, claimer: str) -> tuple[bytes | None, bool]:
        async with self._database.autocommit() as connection:
            found = await cache_store.find(connection, tenant, digest)
            if found is not None:
                return found, False
            return None, await cache_store.claim(connection, tenant, digest, claimer, self._claim_seconds)

    async def _renew(self, tenant: str, digest: str, claimer: str) -> None:
        """Keep the claim for as long as the call takes, which may wait for room and be tried again."""
        while True:
            await asyncio.sleep(self._claim_seconds / 3)
            try:
                async with self._database.autocommit() as connection:
                    await cache_store.renew(connection, tenant, digest, claimer, self._claim_seconds)
            except Exception as error:
                # A claim that lapses costs a second call at most.
                log.warning("a claim in the cache was not renewed", error=repr(error))

    async def _leave(self, tenant: str, digest: str, claimer: str, reply: bytes | None) -> None:
        try:
            await patiently(self._left, tenant, digest, claimer, reply)
        except PlatformAway as error:
            # The reply is there and stands in its call's own row; only others must ask again.
            log.warning("a reply was not put into the cache", error=repr(error))

    async def _left(self, tenant: str, digest: str, claimer: str, reply: bytes | None) -> None:
        async with self._database.autocommit() as connection:
            if reply is None:
                await cache_store.release(connection, tenant, digest, claimer)
            else:
                await cache_store.keep(connection, tenant, digest, claimer, reply, self._kept_seconds)
