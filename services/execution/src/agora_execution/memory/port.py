"""One agent's memory of one tenant, behind the SDK's `MemorySource`."""

from collections.abc import Mapping

import structlog
from agora import Recollection
from agora.memory import MemoryInUse
from agora_contracts.knowledge import SearchPassages
from agora_contracts.memory import MemoryEntry
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_execution.memory import store
from agora_execution.memory.model import collection, value_id
from agora_execution.memory.service import index_waiting
from agora_execution.patience import is_away, patiently

log = structlog.get_logger()

_QUERY_CHARACTERS_MAX = 8000


class TenantMemory:
    """What one agent keeps for one tenant; never another's, and never another agent's."""

    def __init__(self, database: Database, broker: Broker, tenant: str, package: str) -> None:
        self._database = database
        self._broker = broker
        self._tenant = tenant
        self._package = package

    async def read(self, key: str) -> bytes | None:
        """The value under a key."""
        return await patiently(self._value, key)

    async def in_use(self) -> MemoryInUse:
        """How much is kept."""
        return await patiently(self._in_use)

    async def search(self, query: str, limit: int, filters: Mapping[str, str]) -> list[Recollection]:
        """The nearest texts. What was recorded a moment ago is put into the vectors first."""
        try:
            while await index_waiting(
                self._database, self._broker, tenant=self._tenant, package=self._package
            ):
                pass
        except Exception as error:
            if not isinstance(error, AgoraError) and not is_away(error):
                raise
            # They are found once they are indexed; what is there already can be found now.
            log.info("remembered texts wait to be indexed", tenant=self._tenant, error=repr(error))
        found = await self._broker.ask(
            SearchPassages(
                tenant=self._tenant,
                collection=collection(self._package),
                query=query[:_QUERY_CHARACTERS_MAX],
                limit=limit,
                filters=dict(filters),
            )
        )
        # The rows say what is still kept: a deleted text is found no more, whenever its vector goes.
        kept = await patiently(self._texts, [hit.id for hit in found.items])
        return [
            Recollection(id=hit.id, text=entry.text or "", score=hit.score, payload=entry.payload)
            for hit in found.items
            if (entry := kept.get(hit.id)) is not None
        ]

    async def _value(self, key: str) -> bytes | None:
        async with self._database.transaction(self._tenant) as connection:
            return await store.value(connection, value_id(self._tenant, self._package, key))

    async def _in_use(self) -> MemoryInUse:
        async with self._database.transaction(self._tenant) as connection:
            return await store.in_use(connection, self._tenant, self._package)

    async def _texts(self, ids: list[str]) -> dict[str, MemoryEntry]:
        async with self._database.transaction(self._tenant) as connection:
            return await store.texts(connection, self._tenant, self._package, ids)
