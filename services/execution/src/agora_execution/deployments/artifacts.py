"""Artifacts: what `prepare` built, under a content hash, in the object store and in a local folder.

Any worker can load one: from its folder, else from the object store, else by building it again.
"""

import asyncio
import tarfile
import tempfile
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from agora import Agent, PrepareContext, prepared
from agora.permissions import NoModels, granted
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.objects import ObjectStore

from agora_execution.deployments import artifact_store
from agora_execution.files.port import RunFiles
from agora_execution.files.service import Files
from agora_execution.knowledge.port import TenantKnowledge

_ARTIFACT_BYTES_MAX = 4 << 30
_CHUNK = 1 << 20
_NOTED_SECONDS = 3600.0
"""How long a worker does not note again that it needs an artifact."""

_NOTED_MAX = 10_000
_OLD_SECONDS = 3600.0


class Artifacts:
    """Builds, keeps and loads what deployments need."""

    def __init__(
        self, database: Database, folder: Path, objects: ObjectStore, files: Files, broker: Broker
    ) -> None:
        self._database = database
        self._folder = folder
        self._objects = objects
        self._files = files
        self._broker = broker
        # Only while somebody builds: a worker sees many configurations.
        self._building: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._noted: OrderedDict[str, float] = OrderedDict()

    async def name(self, agent: Agent, config: Any, tenant: str) -> str:
        """The content hash of a configuration: package, version, config and the files it names."""
        plain = prepared.plain(config)
        digests: dict[str, str] = {}
        for ref, file in (await self._files.named(tenant, agent.config_schema, plain)).items():
            digests[ref] = file.sha256 if file else "missing"
        # The tenant is part of it: what is indexed for one is never another's.
        return prepared.artifact_id(agent.id, agent.manifest.version, plain, digests, salt=tenant)

    async def build(self, agent: Agent, config: Any, tenant: str) -> str:
        """Prepare a configuration unless it is prepared, keep it for every worker, and return its name.

        Raises:
            InputRejected: what the agent's `prepare` says of the configuration.
            AgoraError: `unavailable`, while an artifact of this name is being removed.
        """
        name = await self.name(agent, config, tenant)
        if agent.prepare is None:
            return name
        async with self._building.setdefault(name, asyncio.Lock()):
            folder = self._folder / name
            here = await asyncio.to_thread(folder.is_dir)
            if here and time.monotonic() - self._noted.get(name, -_NOTED_SECONDS) < _NOTED_SECONDS:
                return name
            ready = await self._take_up(tenant, name)
            if here and not ready:
                # A copy of what was removed since, or never became whole: what it stands for is not there.
                await asyncio.to_thread(_put_away, folder)
                here = False
            if not here and not (ready and await self._fetch(tenant, name, folder)):
                await self._prepare(agent, config, tenant, name, folder)
            if not await self._kept(tenant, name):
                await self._keep(tenant, name, folder)
            if not ready:
                async with self._database.system() as connection:
                    await artifact_store.set_ready(connection, tenant, name)
            self._note(name)
        return name

    async def _prepare(self, agent: Agent, config: Any, tenant: str, name: str, folder: Path) -> None:
        files, knowledge, _ = granted(
            agent.manifest.permissions,
            RunFiles(self._files, self._objects, tenant, run=None, step=name),
            TenantKnowledge(self._broker, tenant),
            NoModels(),
        )
        context = PrepareContext(artifact_id=name, files=files, knowledge=knowledge)
        await prepared.ensure(agent, config, folder, context)

    async def _take_up(self, tenant: str, name: str) -> bool:
        async with self._database.system() as connection:
            ready = await artifact_store.take_up(connection, tenant, name)
        if ready is None:
            raise AgoraError("unavailable", f"{name} is being removed; it can be prepared again in a moment")
        return ready

    def _note(self, name: str) -> None:
        self._noted[name] = time.monotonic()
        while len(self._noted) > _NOTED_MAX:
            self._noted.popitem(last=False)

    async def loaded(self, agent: Agent, config: Any, tenant: str, name: str | None) -> Any:
        """What the agent's `load` makes of its artifact; None where the agent has none."""
        if agent.load is None:
            return None
        if name is None:
            name = await self.build(agent, config, tenant)
        folder = self._folder / name
        if not await asyncio.to_thread(folder.is_dir) and not await self._fetch(tenant, name, folder):
            await self.build(agent, config, tenant)
        return await asyncio.to_thread(prepared.load, agent, config, folder, name)

    async def _kept(self, tenant: str, name: str) -> bool:
        try:
            await self._objects.path(object_key(tenant, name))
        except AgoraError:
            return False
        return True

    async def _keep(self, tenant: str, name: str, folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            packed = Path(scratch) / "artifact.tar"
            await asyncio.to_thread(_pack, folder, packed)
            await self._objects.put(object_key(tenant, name), _chunks(packed), size_max=_ARTIFACT_BYTES_MAX)

    async def _fetch(self, tenant: str, name: str, folder: Path) -> bool:
        try:
            packed = await self._objects.path(object_key(tenant, name))
        except AgoraError:
            return False
        await asyncio.to_thread(_unpack, packed, folder)
        return True


async def prune_copies(database: Database, folder: Path) -> int:
    """Delete a worker's local copies of artifacts that were removed. Returns how many."""
    here = await asyncio.to_thread(_old_folders, folder)
    async with database.system() as connection:
        known = await artifact_store.known(connection, here)
    gone = [name for name in here if name not in known]
    for name in gone:
        await asyncio.to_thread(_put_away, folder / name)
    return len(gone)


def object_key(tenant: str, name: str) -> str:
    """Where an artifact lies in the object store."""
    return f"{tenant}/artifacts/{name}.tar"


def _old_folders(folder: Path) -> list[str]:
    before = time.time() - _OLD_SECONDS
    return sorted(path.name for path in folder.glob("art_*") if path.stat().st_mtime < before)


def _put_away(folder: Path) -> None:
    """Delete a folder so that nobody finds half of it."""
    with (
        tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as scratch,
        suppress(FileNotFoundError),
    ):
        folder.rename(Path(scratch) / "gone")


def _pack(folder: Path, packed: Path) -> None:
    with tarfile.open(packed, "w") as archive:
        archive.add(folder, arcname=".")


def _unpack(packed: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        with tarfile.open(packed) as archive:
            archive.extractall(scratch + "/whole", filter="data")
        try:
            Path(scratch, "whole").rename(folder)
        except OSError:
            # Another step unpacked the same artifact meanwhile.
            if not folder.is_dir():
                raise


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
