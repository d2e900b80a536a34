"""Use cases of memory: what customers read and delete, and keeping the vectors of texts as the rows say."""

from collections import defaultdict
from collections.abc import Sequence

import structlog
from agora_contracts.knowledge import IndexPassages, PassageIn
from agora_contracts.memory import (
    DeleteMemory,
    ForgetPassages,
    GetMemory,
    ListMemory,
    MemoryDeleted,
    MemoryEntry,
    MemoryPage,
)
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_execution.memory import store
from agora_execution.memory.model import collection
from agora_execution.memory.store import Waiting

log = structlog.get_logger()

_BATCH = 32
_EXPIRE_BATCH = 500
_VECTORS_SECONDS = 60.0


class Memories:
    """What every agent keeps for every tenant."""

    def __init__(self, database: Database, broker: Broker, *, retention_days: int) -> None:
        self._database = database
        self._broker = broker
        self._retention_days = retention_days

    async def page(self, query: ListMemory) -> MemoryPage:
        """A tenant's entries, what was written last first."""
        async with self._database.transaction(query.tenant) as connection:
            return await store.page(connection, query)

    async def get(self, query: GetMemory) -> MemoryEntry:
        """One entry.

        Raises:
            AgoraError: `not_found`, also for another tenant's.
        """
        async with self._database.transaction(query.tenant) as connection:
            found = await store.read(connection, query.entry)
        if found is None:
            raise AgoraError("not_found", f"no entry of memory {query.entry}")
        return found

    async def delete(self, command: DeleteMemory) -> MemoryDeleted:
        """Delete one entry, or all of an agent's: from now on the agent finds none of them.

        Raises:
            AgoraError: `not_found` for an entry that is not there; `invalid_input`, when both are named or none.
        """
        if (command.entry is None) == (command.package is None):
            raise AgoraError("invalid_input", "exactly one of entry and package is needed")
        async with self._database.transaction(command.tenant) as connection:
            count = await store.delete(
                connection, tenant=command.tenant, entry=command.entry, package=command.package
            )
        if command.entry is not None and not count:
            raise AgoraError("not_found", f"no entry of memory {command.entry}")
        return MemoryDeleted(count=count)

    async def expire(self) -> None:
        """Delete what has not been written for the time of retention."""
        full = True
        while full:
            async with self._database.system() as connection:
                count = await store.expire(connection, self._retention_days, _EXPIRE_BATCH)
            full = count == _EXPIRE_BATCH

    async def sweep(self) -> None:
        """Bring the vectors to what the rows say: put in what is new, take out what was deleted."""
        while await index_waiting(self._database, self._broker):
            pass
        while await self._take_out():
            pass

    async def _take_out(self) -> bool:
        async with self._database.system() as connection:
            gone = await store.deleted(connection, _BATCH)
        for (tenant, package), texts in _by_owner(gone):
            ids = [one.id for one in texts]
            await self._broker.ask(
                ForgetPassages(tenant=tenant, collection=collection(package), ids=ids),
                deadline_seconds=_VECTORS_SECONDS,
            )
            async with self._database.system() as connection:
                await store.forget(connection, ids)
        return len(gone) == _BATCH


async def index_waiting(
    database: Database, broker: Broker, *, tenant: str | None = None, package: str | None = None
) -> bool:
    """Put texts into the vectors that are not there yet, of one agent and tenant or of all. Returns whether more wait.

    Raises:
        AgoraError: the vectors do not answer; the texts wait for the next time.
    """
    async with database.system() as connection:
        waiting = await store.claim_unindexed(connection, _BATCH, tenant=tenant, package=package)
    for (owner, agent), texts in _by_owner(waiting):
        passages = [PassageIn(id=one.id, text=one.text or "", payload=one.payload) for one in texts]
        ids = [one.id for one in texts]
        try:
            await broker.ask(
                IndexPassages(tenant=owner, collection=collection(agent), passages=passages),
                deadline_seconds=_VECTORS_SECONDS,
            )
        except AgoraError as error:
            if error.slug == "unavailable":
                # Nobody was there to take them; after a deadline they may still arrive, and stay claimed.
                async with database.system() as connection:
                    await store.release(connection, [one.id for one in waiting])
            raise
        async with database.system() as connection:
            await store.indexed(connection, ids)
    return len(waiting) == _BATCH


def _by_owner(texts: Sequence[Waiting]) -> list[tuple[tuple[str, str], list[Waiting]]]:
    found: dict[tuple[str, str], list[Waiting]] = defaultdict(list)
    for one in texts:
        found[one.tenant, one.package].append(one)
    return list(found.items())
