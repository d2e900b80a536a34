"""Which key a request came with, without asking the database each time.

An entry lives for less than a second, so a revoked key stops working within a second on every replica and
no broadcast has to arrive for that. Requests that miss together share one look-up.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from agora_contracts.problems import AgoraError

from agora_gateway.edge.principals import Tenant
from agora_gateway.identity import model
from agora_gateway.identity.model import ApiKey

LIFETIME_SECONDS = 0.75
_ENTRIES_MAX = 20_000

type Lookup = Callable[[bytes], Awaitable[ApiKey | None]]


class _Entry:
    """A key as it was when the look-up began, and whose requests it stands for."""

    __slots__ = ("ends_at", "key", "looked_up_at", "tenant")

    def __init__(self, key: ApiKey | None, looked_up_at: float) -> None:
        self.key = key
        self.looked_up_at = looked_up_at
        self.ends_at = key.expires_at.timestamp() if key and key.expires_at else None
        self.tenant: Tenant | None = None
        if key is not None and key.revoked_at is None:
            self.tenant = Tenant(
                id=key.tenant,
                account=key.account,
                key=key.id,
                scopes=key.scopes,
                key_expires_at=key.expires_at,
            )


class KeyCache:
    """Authenticates API keys.

    Args:
        lookup: reads a key by its hash from the database.
        lifetime_seconds: how old an answer may be.
    """

    def __init__(self, lookup: Lookup, *, lifetime_seconds: float = LIFETIME_SECONDS) -> None:
        self._lookup = lookup
        self._lifetime = lifetime_seconds
        self._entries: dict[bytes, _Entry] = {}
        self._pending: dict[bytes, asyncio.Task[_Entry]] = {}

    def fresh(self, token: str) -> Tenant | None:
        """The tenant of a key that was looked up just now and works; None means: ask `authenticate`."""
        entry = self._entries.get(model.hash_key(token))
        if entry is None or time.monotonic() - entry.looked_up_at > self._lifetime:
            return None
        if entry.ends_at is not None and entry.ends_at <= time.time():
            return None
        return entry.tenant

    async def authenticate(self, token: str) -> Tenant:
        """The tenant that a key belongs to.

        Raises:
            AgoraError: `unauthenticated`, `key_expired` or `key_revoked`.
        """
        if not model.looks_like_key(token):
            raise _unknown()
        digest = model.hash_key(token)
        entry = self._entries.get(digest)
        if entry is None or time.monotonic() - entry.looked_up_at > self._lifetime:
            entry = await self._look_up(digest)
        if entry.key is None:
            raise _unknown()
        model.check_usable(entry.key, datetime.now(UTC))
        assert entry.tenant is not None, "a key that is not revoked has its tenant"
        return entry.tenant

    def clear(self) -> None:
        """Forget everything, after a change made through this replica."""
        self._entries.clear()

    async def _look_up(self, digest: bytes) -> _Entry:
        task = self._pending.get(digest)
        if task is None:
            task = asyncio.create_task(self._fetch(digest))
            self._pending[digest] = task
            task.add_done_callback(lambda _: self._pending.pop(digest, None))
        # Shielded: a caller that hangs up must not take the look-up from the others.
        return await asyncio.shield(task)

    async def _fetch(self, digest: bytes) -> _Entry:
        looked_up_at = time.monotonic()
        entry = _Entry(await self._lookup(digest), looked_up_at)
        if len(self._entries) >= _ENTRIES_MAX:
            self._entries.clear()
        self._entries[digest] = entry
        return entry


def _unknown() -> AgoraError:
    return AgoraError(
        "unauthenticated",
        "send an API key that is valid here, as 'Authorization: Bearer ak_...' or 'X-API-Key: ak_...'",
    )
