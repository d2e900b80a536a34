"""The object store port: bytes under a key. A folder here; the same protocol fits S3."""

import asyncio
import hashlib
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec
from agora_contracts.problems import AgoraError

_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}(/[A-Za-z0-9_.-]{1,100}){1,3}")
_CHUNK = 1 << 20
_UNFINISHED = ".upload-"


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: its size in bytes and SHA-256 in hex."""

    size: int
    sha256: str


class ObjectStore(Protocol):
    """Bytes under keys such as `ten_1/file_2`."""

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, size_max: int) -> StoredObject:
        """Store a stream of bytes whole or not at all; `payload_too_large` beyond `size_max`."""
        ...

    async def path(self, key: str) -> Path:
        """A local, readable file with the object's bytes; `not_found` without it."""
        ...

    def read(self, key: str) -> AsyncIterator[bytes]:
        """The object's bytes in chunks; `not_found` without it."""
        ...

    async def delete(self, key: str) -> None:
        """Forget an object; forgetting it again changes nothing."""
        ...


class FolderObjects:
    """Objects as files below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _file(self, key: str) -> Path:
        if not _KEY.fullmatch(key) or not {".", ".."}.isdisjoint(key.split("/")):
            raise ValueError(f"not an object key: {key!r}")
        return self._folder / key

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, size_max: int) -> StoredObject:
        target = self._file(key)
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=_UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > size_max:
                        raise AgoraError("payload_too_large", f"the file is larger than {size_max} bytes")
                    digest.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(os.replace, name, target)
        except BaseException:
            await asyncio.to_thread(Path(name).unlink, missing_ok=True)
            raise
        return StoredObject(size=size, sha256=digest.hexdigest())

    async def path(self, key: str) -> Path:
        file = self._file(key)
        if not file.is_file():
            raise AgoraError("not_found", "the file's bytes are gone")
        return file

    async def read(self, key: str) -> AsyncIterator[bytes]:
        with (await self.path(key)).open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk

    async def drop_unfinished(self, older_than_seconds: float) -> int:
        """Delete what puts left that died so long ago. Returns how many."""
        return await asyncio.to_thread(self._drop_unfinished, time.time() - older_than_seconds)

    def _drop_unfinished(self, before: float) -> int:
        dropped = 0
        for path in self._folder.rglob(f"{_UNFINISHED}*"):
            # One that is finished this moment is no longer there.
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    dropped += 1
        return dropped

    async def delete(self, key: str) -> None:
        self._file(key).unlink(missing_ok=True)
