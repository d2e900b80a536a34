"""Use cases of files: register, read, list, delete, expire; and which files a document names."""

from typing import Any

from agora.file_refs import file_refs
from agora_contracts.files import DeleteFile, File, FilePage, GetFile, ListFiles, RegisterFile
from agora_contracts.ids import is_id
from agora_contracts.problems import AgoraError, FieldError
from agora_kit.database import Database
from agora_kit.objects import ObjectStore

from agora_execution.files import store

_EXPIRE_BATCH = 500


def object_key(tenant: str, file: str) -> str:
    """Where a file's bytes lie in the object store."""
    return f"{tenant}/{file}"


class Files:
    """Records of tenants' files; their bytes are in the object store before they are registered."""

    def __init__(
        self, database: Database, objects: ObjectStore, *, quota_bytes: int, retention_days: int
    ) -> None:
        self._database = database
        self._objects = objects
        self._quota_bytes = quota_bytes
        self._retention_days = retention_days

    async def register(self, command: RegisterFile, run: str | None = None) -> File:
        """Record a file whose bytes are stored.

        Raises:
            AgoraError: `invalid_input` for an id or name that cannot be one, `quota_exceeded`.
        """
        _check_name(command)
        async with self._database.transaction(command.tenant) as connection:
            used = await store.lock_quota(connection, command.tenant)
            known = await store.read(connection, command.file)
            if used - (known.size if known else 0) + command.size > self._quota_bytes:
                raise AgoraError(
                    "quota_exceeded",
                    f"the tenant's files would exceed {self._quota_bytes} bytes ({used} in use); delete some",
                )
            await store.insert(connection, command, run, self._retention_days)
            stored = await store.read(connection, command.file)
        if stored is None:
            raise AgoraError("conflict", f"the id {command.file} is taken")
        return stored

    async def get(self, query: GetFile) -> File:
        """A file's record.

        Raises:
            AgoraError: `not_found`, also for another tenant's file.
        """
        async with self._database.transaction(query.tenant) as connection:
            found = await store.read(connection, query.file)
        if found is None:
            raise AgoraError("not_found", f"no file {query.file}")
        return found

    async def page(self, query: ListFiles) -> FilePage:
        """A tenant's files, newest first, and its quota."""
        async with self._database.transaction(query.tenant) as connection:
            return await store.page(connection, query, self._quota_bytes)

    async def delete(self, command: DeleteFile) -> File:
        """Delete a file: it is gone for its tenant before its bytes are, so that nothing listed is unreadable.

        What dies in between is finished by `expire`, since the file expires with the deletion.

        Raises:
            AgoraError: `not_found`.
        """
        async with self._database.transaction(command.tenant) as connection:
            deleted = await store.let_expire(connection, command.file)
        if deleted is None:
            raise AgoraError("not_found", f"no file {command.file}")
        await self._objects.delete(object_key(command.tenant, command.file))
        async with self._database.transaction(command.tenant) as connection:
            await store.forget(connection, [command.file])
        return deleted

    async def expire(self) -> None:
        """Delete files past their retention: the bytes, then the record, which is what finds them again."""
        full = True
        while full:
            async with self._database.system() as connection:
                expired = await store.expired(connection, _EXPIRE_BATCH)
            for tenant, file in expired:
                await self._objects.delete(object_key(tenant, file))
            async with self._database.system() as connection:
                await store.forget(connection, [file for _, file in expired])
            full = len(expired) == _EXPIRE_BATCH

    async def named(
        self, tenant: str, schema: dict[str, Any], document: dict[str, Any]
    ) -> dict[str, File | None]:
        """The files that a document names, by reference; None for one that is not there."""
        refs = file_refs(schema, document)
        if not refs:
            return {}
        async with self._database.transaction(tenant) as connection:
            present = await store.present(connection, refs)
        return {ref: present.get(ref) for ref in refs}

    async def missing(self, tenant: str, schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
        """The files that a document names and that the tenant does not have."""
        return [ref for ref, file in (await self.named(tenant, schema, document)).items() if file is None]


def _check_name(command: RegisterFile) -> None:
    faults = []
    if not is_id("file", command.file):
        faults.append(FieldError(field="/file", detail="must be file_ and 32 hexadecimal digits"))
    name = command.name
    if name in (".", "..") or any(char in "/\\" or ord(char) < 32 for char in name):
        faults.append(
            FieldError(field="/name", detail="a file's name without path separators or control characters")
        )
    if faults:
        raise AgoraError("invalid_input", "the file cannot be registered; see errors", errors=faults)
