"""Memory: what agents keep for a tenant from one run to the next."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from agora.client.transport import segment
from agora.client.types import Page

if TYPE_CHECKING:
    from agora.client.transport import Transport


class MemoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an agent keeps: a `value` under a `key`, or a `text`. `run` wrote it last."""

    id: str
    package: str
    kind: str
    run: str
    at: datetime
    key: str | None = None
    value: Any = None
    text: str | None = None
    payload: dict[str, str] = {}


class _Deleted(msgspec.Struct, frozen=True):
    deleted: int


class Memory:
    """`client.memory`."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def list(
        self,
        *,
        package: str | None = None,
        kind: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[MemoryEntry]:
        """A page of what is kept, what was written last first."""
        query = {"package": package, "kind": kind, "cursor": cursor, "limit": limit}
        return await self._transport.call(Page[MemoryEntry], "GET", "/memory", query=query)

    async def get(self, entry: str) -> MemoryEntry:
        """One entry."""
        return await self._transport.call(MemoryEntry, "GET", f"/memory/{segment(entry)}")

    async def delete(self, entry: str) -> None:
        """Delete one entry: the agent does not find it any more."""
        await self._transport.call(_Deleted, "DELETE", f"/memory/{segment(entry)}")

    async def forget(self, package: str) -> int:
        """Delete everything that a package's agent keeps. Returns how many entries that were."""
        answer = await self._transport.call(_Deleted, "DELETE", "/memory", query={"package": package})
        return answer.deleted
