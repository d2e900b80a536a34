"""The files that a step may open and save, behind the SDK's `Files` protocol."""

import mimetypes
import re
from collections.abc import AsyncIterator
from pathlib import Path

from agora import FileInfo, InputRejected
from agora_contracts.files import File, GetFile, RegisterFile
from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError
from agora_kit.objects import ObjectStore

from agora_execution.files.service import Files, object_key
from agora_execution.patience import patiently

FILE_BYTES_MAX = 2 << 30
_CHUNK = 1 << 20
_UNSAFE = re.compile(r"[^\w.() -]+")


class RunFiles:
    """A tenant's files as one step sees them. A file saved again under the same name replaces itself."""

    def __init__(
        self, files: Files, objects: ObjectStore, tenant: str, *, run: str | None, step: str
    ) -> None:
        self._files = files
        self._objects = objects
        self._tenant = tenant
        self._run = run
        self._step = step

    async def open(self, ref: str) -> Path:
        """A readable local copy; the step must not write to it."""
        file = await self._record(ref)
        try:
            return await self._objects.path(object_key(self._tenant, file.id))
        except AgoraError as error:
            raise InputRejected("file_gone", f"the file {file.name!r} is no longer stored", ref) from error

    async def save(self, content: Path | bytes, *, name: str, content_type: str) -> str:
        """Keep a file that the run delivers; the same step and name give the same id at every attempt."""
        safe = _UNSAFE.sub("_", name).strip(" .")[:255] or "file"
        file = derived("file", self._tenant, self._step, safe)
        stored = await self._objects.put(
            object_key(self._tenant, file), _chunks(content), size_max=FILE_BYTES_MAX
        )
        command = RegisterFile(
            file=file,
            tenant=self._tenant,
            name=safe,
            size=stored.size,
            sha256=stored.sha256,
            content_type=content_type or mimetypes.guess_type(safe)[0] or "application/octet-stream",
        )
        try:
            await patiently(self._files.register, command, run=self._run)
        except AgoraError:
            await self._drop_unregistered(file)
            raise
        return file

    async def _drop_unregistered(self, file: str) -> None:
        """Bytes that were refused a record must not lie there uncounted."""
        try:
            await self._files.get(GetFile(file=file, tenant=self._tenant))
        except AgoraError as error:
            if error.slug == "not_found":
                await self._objects.delete(object_key(self._tenant, file))

    async def info(self, ref: str) -> FileInfo:
        """Name, size and media type."""
        file = await self._record(ref)
        return FileInfo(name=file.name, size=file.size, content_type=file.content_type)

    async def _record(self, ref: str) -> File:
        try:
            return await patiently(self._files.get, GetFile(file=ref, tenant=self._tenant))
        except AgoraError as error:
            if error.slug == "not_found":
                raise InputRejected("file_not_found", f"there is no file {ref[:80]!r}", ref[:80]) from error
            raise


async def _chunks(content: Path | bytes) -> AsyncIterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
