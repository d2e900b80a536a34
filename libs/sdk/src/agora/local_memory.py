"""Memory for an agent that runs alone: one file of values and texts, and the texts' vectors beside it."""

import asyncio
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from agora.knowledge import LocalKnowledge
from agora.memory import MemoryInUse, MemoryWrite, Recollection
from agora.ports import Passage

_COLLECTION = "memory"
_FILE = "memory.json"


class LocalMemory:
    """`agora.memory.MemorySource` in one folder and one process.

    Args:
        folder: where it is kept; made when something is. Without one it is gone with this object.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._knowledge: LocalKnowledge | None = None
        self._entries: dict[str, MemoryWrite] | None = None
        self._turn = asyncio.Lock()

    async def read(self, key: str) -> bytes | None:
        """The value under a key."""
        found = (await self._all()).get(f"key:{key}")
        return None if found is None else found.value

    async def search(self, query: str, limit: int, filters: Mapping[str, str]) -> list[Recollection]:
        """The nearest texts; see `agora.memory.Memory.recall`."""
        entries = await self._all()
        if not entries:
            return []
        hits = await self._texts().search(_COLLECTION, query, limit, filters)
        return [
            Recollection(id=hit.id, text=found.text or "", score=hit.score, payload=hit.payload)
            for hit in hits
            if (found := entries.get(hit.id)) is not None
        ]

    async def in_use(self) -> MemoryInUse:
        """How much is kept."""
        entries = await self._all()
        return MemoryInUse(entries=len(entries), bytes=sum(one.size_bytes for one in entries.values()))

    async def keep(self, writes: Sequence[MemoryWrite]) -> None:
        """Keep what a step has written, now that it has succeeded."""
        if not writes:
            return
        texts = [
            Passage(id=one.id, text=one.text, payload=one.payload) for one in writes if one.text is not None
        ]
        async with self._turn:
            entries = dict(await self._all())
            for write in writes:
                name = write.id if write.key is None else f"key:{write.key}"
                if write.key is not None and write.value is None:
                    entries.pop(name, None)
                else:
                    entries[name] = write
            if texts:
                await self._texts().index(_COLLECTION, texts)
            await asyncio.to_thread(_write, self._place() / _FILE, entries)
            self._entries = entries

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="agora-memory-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def _texts(self) -> LocalKnowledge:
        if self._knowledge is None:
            self._knowledge = LocalKnowledge(self._place() / "texts")
        return self._knowledge

    async def _all(self) -> dict[str, MemoryWrite]:
        if self._entries is None:
            folder = self._folder
            self._entries = {} if folder is None else await asyncio.to_thread(_read, folder / _FILE)
        return self._entries


def _read(file: Path) -> dict[str, MemoryWrite]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, MemoryWrite])
    except FileNotFoundError:
        return {}


def _write(file: Path, entries: dict[str, MemoryWrite]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".writing")
    temporary.write_bytes(msgspec.json.encode(entries))
    temporary.replace(file)
