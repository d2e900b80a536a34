"""Artifacts: what `prepare` built, under a content hash, in the object store and in a local folder.

Any worker can load one: from its folder, else from the object store, else by building it again.
"""

import asyncio
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from agora import Agent, PrepareContext, prepared
from agora.permissions import NoModels, granted
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker
from agora_kit.objects import ObjectStore

from agora_execution.files.port import RunFiles
from agora_execution.files.service import Files
from agora_execution.knowledge.port import TenantKnowledge

_ARTIFACT_BYTES_MAX = 4 << 30
_CHUNK = 1 << 20


class Artifacts:
    """Builds, keeps and loads what deployments need."""

    def __init__(self, folder: Path, objects: ObjectStore, files: Files, broker: Broker) -> None:
        self._folder = folder
        self._objects = objects
        self._files = files
        self._broker = broker
        # Only while somebody builds: a worker sees many configurations.
        self._building: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

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
        """
        name = await self.name(agent, config, tenant)
        if agent.prepare is None:
            return name
        async with self._building.setdefault(name, asyncio.Lock()):
            folder = self._folder / name
            if not await asyncio.to_thread(folder.is_dir):
                files, knowledge, _ = granted(
                    agent.manifest.permissions,
                    RunFiles(self._files, self._objects, tenant, run=None, step=name),
                    TenantKnowledge(self._broker, tenant),
                    NoModels(),
                )
                context = PrepareContext(artifact_id=name, files=files, knowledge=knowledge)
                await prepared.ensure(agent, config, folder, context)
            if not await self._kept(tenant, name):
                await self._keep(tenant, name, folder)
        return name

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
            await self._objects.path(_key(tenant, name))
        except AgoraError:
            return False
        return True

    async def _keep(self, tenant: str, name: str, folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            packed = Path(scratch) / "artifact.tar"
            await asyncio.to_thread(_pack, folder, packed)
            await self._objects.put(_key(tenant, name), _chunks(packed), size_max=_ARTIFACT_BYTES_MAX)

    async def _fetch(self, tenant: str, name: str, folder: Path) -> bool:
        try:
            packed = await self._objects.path(_key(tenant, name))
        except AgoraError:
            return False
        await asyncio.to_thread(_unpack, packed, folder)
        return True


def _key(tenant: str, name: str) -> str:
    return f"{tenant}/artifacts/{name}.tar"


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
