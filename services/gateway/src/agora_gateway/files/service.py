"""Files in and out: bytes in the object store, records with execution."""

from collections.abc import AsyncIterator

import structlog
import uuid_utils
from agora_contracts.files import File, GetFile, RegisterFile
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker
from agora_kit.objects import ObjectStore

from agora_gateway.files.model import SIZE_MAX
from agora_gateway.files.uploads import Upload

log = structlog.get_logger()

_UNCLEAR = ("unavailable", "deadline_exceeded", "internal")
"""Refusals after which the record may have been written all the same."""


class Files:
    """Uploads and downloads."""

    def __init__(self, broker: Broker, objects: ObjectStore) -> None:
        self._broker = broker
        self._objects = objects

    async def upload(self, tenant: str, upload: Upload) -> File:
        """Store the bytes, then register the file; when that is refused the bytes go again.

        Raises:
            AgoraError: `payload_too_large`, `quota_exceeded`, `malformed_request`.
        """
        file = f"file_{uuid_utils.uuid7().hex}"
        key = object_key(tenant, file)
        stored = await self._objects.put(key, upload.chunks, size_max=SIZE_MAX)
        command = RegisterFile(
            file=file,
            tenant=tenant,
            name=upload.name,
            size=stored.size,
            sha256=stored.sha256,
            content_type=upload.content_type,
        )
        try:
            registered: File = await self._broker.ask(command)
        except AgoraError as error:
            # Where it is unclear whether the record was written, bytes without a record are the lesser evil
            # than a record without bytes.
            if error.slug not in _UNCLEAR:
                await self._objects.delete(key)
            else:
                log.warning("upload not registered, its bytes remain", file=file, tenant=tenant)
            raise
        return registered

    async def download(self, tenant: str, file: str) -> tuple[File, AsyncIterator[bytes]]:
        """A file's record and its bytes; that they are there is known before the first is sent.

        Raises:
            AgoraError: `not_found`.
        """
        record: File = await self._broker.ask(GetFile(file=file, tenant=tenant))
        key = object_key(tenant, record.id)
        await self._objects.path(key)
        return record, self._objects.read(key)


def object_key(tenant: str, file: str) -> str:
    """Where a file's bytes lie."""
    return f"{tenant}/{file}"
