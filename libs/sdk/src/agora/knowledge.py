"""Search by meaning for an agent that runs alone: exact cosine over vectors kept in a folder."""

import asyncio
import hashlib
import heapq
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agora.ports import Hit, Passage

if TYPE_CHECKING:
    from agora.embeddings import Matrix


class _Segment(msgspec.Struct, frozen=True, kw_only=True):
    """What one call of `index` added. `vectors` are float32 rows, one per id."""

    ids: list[str]
    payloads: list[dict[str, str]]
    vectors: bytes


@dataclass(slots=True)
class _Collection:
    """A collection in memory. Rows of replaced ids stay in `vectors`, and `row_of` no longer names them."""

    payloads: list[dict[str, str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    row_of: dict[str, int] = field(default_factory=dict)
    vectors: list["Matrix"] = field(default_factory=list)


class LocalKnowledge:
    """`agora.ports.Knowledge` in one folder and one process. Numpy and the model load on first use.

    Args:
        folder: Holds one folder per collection, with one file per call of `index`; made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, _Collection] = {}
        self._turn = asyncio.Lock()

    async def index(self, collection: str, passages: Sequence[Passage]) -> None:
        """Add passages; see `agora.ports.Knowledge.index`."""
        newest = list({passage.id: passage for passage in passages}.values())
        if not newest:
            return
        vectors = await asyncio.to_thread(_embed, [passage.text for passage in newest])
        segment = _Segment(
            ids=[passage.id for passage in newest],
            payloads=[passage.payload for passage in newest],
            vectors=vectors.tobytes(),
        )
        async with self._turn:
            loaded = await self._collection(collection)
            await asyncio.to_thread(_append, self._path(collection), segment)
            _add(loaded, segment)

    async def search(
        self, collection: str, query: str, limit: int = 10, filters: Mapping[str, str] | None = None
    ) -> list[Hit]:
        """The nearest passages; see `agora.ports.Knowledge.search`."""
        async with self._turn:
            loaded = await self._collection(collection)
        if limit < 1 or not loaded.row_of:
            return []
        return await asyncio.to_thread(_search, loaded, query, limit, dict(filters or {}))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One unit vector per text; see `agora.ports.Knowledge.embed`."""
        vectors = await asyncio.to_thread(_embed, list(texts))
        rows: list[list[float]] = vectors.tolist()
        return rows

    async def drop(self, collection: str) -> None:
        """Forget a collection; see `agora.ports.Knowledge.drop`."""
        async with self._turn:
            self._open.pop(collection, None)
            await asyncio.to_thread(shutil.rmtree, self._path(collection), ignore_errors=True)

    async def _collection(self, name: str) -> _Collection:
        if name not in self._open:
            self._open[name] = await asyncio.to_thread(_read, self._path(name))
        return self._open[name]

    def _path(self, collection: str) -> Path:
        # A hash: a collection may have any name, a file may not.
        return self._folder / hashlib.sha256(collection.encode()).hexdigest()[:32]


def _embed(texts: list[str]) -> "Matrix":
    from agora import embeddings

    return embeddings.shared().embed(texts)


def _append(folder: Path, segment: _Segment) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(path.stem) for path in folder.glob("*.segment")), default=0)
    temporary = folder / f"{number:08d}.writing"
    with temporary.open("wb") as handle:
        handle.write(msgspec.msgpack.encode(segment))
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(folder / f"{number:08d}.segment")


def _read(folder: Path) -> _Collection:
    loaded = _Collection()
    for path in sorted(folder.glob("*.segment")):
        _add(loaded, msgspec.msgpack.decode(path.read_bytes(), type=_Segment))
    return loaded


def _add(loaded: _Collection, segment: _Segment) -> None:
    import numpy as np

    start = len(loaded.ids)
    loaded.ids.extend(segment.ids)
    loaded.payloads.extend(segment.payloads)
    loaded.row_of.update({passage_id: start + offset for offset, passage_id in enumerate(segment.ids)})
    loaded.vectors.append(np.frombuffer(segment.vectors, dtype=np.float32).reshape(len(segment.ids), -1))


def _search(loaded: _Collection, query: str, limit: int, filters: dict[str, str]) -> list[Hit]:
    import numpy as np

    if len(loaded.vectors) > 1:
        loaded.vectors = [np.concatenate(loaded.vectors)]
    rows = [
        row
        for row in loaded.row_of.values()
        if all(loaded.payloads[row].get(name) == value for name, value in filters.items())
    ]
    scores = loaded.vectors[0][rows] @ _embed([query])[0]
    found = (
        Hit(id=loaded.ids[row], score=min(max(score, -1.0), 1.0), payload=dict(loaded.payloads[row]))
        for score, row in zip(scores.tolist(), rows, strict=True)
    )
    # By id where scores are equal: the same search gives the same answer.
    return heapq.nsmallest(limit, found, key=lambda hit: (-hit.score, hit.id))
