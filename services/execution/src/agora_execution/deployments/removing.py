"""Removing artifacts that nothing needs any more: their collection, their bytes, then their record."""

import structlog
from agora_contracts.knowledge import DropCollection
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.objects import ObjectStore

from agora_execution.deployments import artifact_store
from agora_execution.deployments.artifacts import object_key

log = structlog.get_logger()

KEPT_SECONDS = 26 * 3600.0
"""How long an artifact is kept that nothing is known to need. A run without a deployment does not name what it loaded,
and lasts a day at most; a worker notes that it needs one once an hour."""

_BATCH = 100


class ArtifactSweep:
    """Removes what the ends of deployments and changes of configurations leave behind."""

    def __init__(
        self, database: Database, broker: Broker, objects: ObjectStore, *, kept_seconds: float = KEPT_SECONDS
    ) -> None:
        self._database = database
        self._broker = broker
        self._objects = objects
        self._kept_seconds = kept_seconds

    async def sweep(self) -> int:
        """Remove what was not needed for long. Returns how many artifacts were removed.

        What dies in the middle is removed by the next sweep, since the record goes last.
        """
        async with self._database.system() as connection:
            old = await artifact_store.take_out(connection, self._kept_seconds, _BATCH)
        removed = 0
        for tenant, name in old:
            try:
                await self._broker.ask(DropCollection(tenant=tenant, collection=name))
            except AgoraError as error:
                log.info("collection not dropped, the next sweep will", artifact=name, error=str(error))
                continue
            await self._objects.delete(object_key(tenant, name))
            async with self._database.system() as connection:
                await artifact_store.forget(connection, tenant, name)
            removed += 1
        return removed
