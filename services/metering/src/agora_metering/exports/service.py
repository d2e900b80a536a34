"""Use cases of exports: asked for and followed by tenants, done one by one in the background."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NoReturn

import msgspec
import structlog
from agora_contracts.envelope import utc_now
from agora_contracts.exports import (
    CancelUsageExport,
    GetUsageExport,
    ListUsageExports,
    RequestUsageExport,
    UsageExport,
    UsageExportPage,
)
from agora_contracts.files import DeleteFile, RegisterFile
from agora_contracts.problems import AgoraError
from agora_kit.cursor import decode_cursor, encode_cursor
from agora_kit.database import Database, is_transient
from agora_kit.objects import ObjectStore

from agora_metering.exports import model, reading, store
from agora_metering.exports.encoding import encoder
from agora_metering.exports.model import COLUMNS, MEDIA_TYPES, Export

log = structlog.get_logger()

type Ask = Callable[[msgspec.Struct], Awaitable[Any]]

BYTES_MAX = 2 << 30
OPEN_MAX = 10
"""The most exports of one tenant that are not done."""

ATTEMPTS_MAX = 5
CLAIMS_MAX = 25
"""How often an export is taken up. One that takes the process with it each time is never seen to fail."""

_EXPIRE_BATCH = 100
_PASSING = ("unavailable", "overloaded", "deadline_exceeded", "internal")
"""Refusals of the file's record after which a later attempt may succeed."""


class _Taken(Exception):
    """The export was cancelled, or somebody else has taken it."""


class Exports:
    """Exports of usage.

    Args:
        database: metering's.
        ask: asks execution, which owns files.
        objects: where their bytes lie.
        retention_days: how long a file is kept.
        progress_seconds: how often an export that is being done says how far it is.
        lease_seconds: after how long without a word it is taken up by somebody else.
    """

    def __init__(
        self,
        database: Database,
        ask: Ask,
        objects: ObjectStore,
        *,
        retention_days: int,
        progress_seconds: float = 2.0,
        lease_seconds: float = 30.0,
    ) -> None:
        self._database = database
        self._ask = ask
        self._objects = objects
        self._retention = timedelta(days=retention_days)
        self._progress_seconds = progress_seconds
        self._lease_seconds = lease_seconds

    # --- for tenants -----------------------------------------------------------------------------

    async def request(self, command: RequestUsageExport) -> UsageExport:
        """Queue an export; the same again is the same export.

        Raises:
            AgoraError: `invalid_input`; `idempotency_conflict` where the id is another export's; `quota_exceeded`.
        """
        model.check(command)
        async with self._database.transaction(command.tenant) as connection:
            waiting = await store.lock_open(connection, command.tenant)
            known = await store.read(connection, command.tenant, command.id)
            if known is None:
                if waiting >= OPEN_MAX:
                    raise AgoraError(
                        "quota_exceeded",
                        f"{waiting} exports are waiting or being made; wait for one of them, or cancel it",
                        retry_after_seconds=30,
                    )
                await store.insert(connection, command, utc_now())
                known = await store.read(connection, command.tenant, command.id)
        assert known is not None, "it was written just now"
        if not known.asks_for(command):
            raise AgoraError("idempotency_conflict", "the key was used for an export of something else")
        return known.shown()

    async def get(self, query: GetUsageExport) -> UsageExport:
        """One export, and how far it is.

        Raises:
            AgoraError: `not_found`.
        """
        async with self._database.transaction(query.tenant) as connection:
            return _found(await store.read(connection, query.tenant, query.id), query.id)

    async def page(self, query: ListUsageExports) -> UsageExportPage:
        """A tenant's exports, newest first.

        Raises:
            AgoraError: `invalid_cursor`.
        """
        before = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else None
        async with self._database.transaction(query.tenant) as connection:
            found = await store.page(connection, query.tenant, before, query.limit + 1)
        shown = found[: query.limit]
        more = len(found) > query.limit
        return UsageExportPage(
            items=[export.shown() for export in shown],
            next_cursor=encode_cursor(shown[-1].created_at.isoformat(), shown[-1].id) if more else None,
        )

    async def cancel(self, command: CancelUsageExport) -> UsageExport:
        """Stop an export that is not done; one that has ended stays as it ended.

        Raises:
            AgoraError: `not_found`.
        """
        async with self._database.transaction(command.tenant) as connection:
            await store.cancel(connection, command.tenant, command.id, utc_now())
            return _found(await store.read(connection, command.tenant, command.id), command.id)

    # --- in the background -----------------------------------------------------------------------

    async def work(self) -> None:
        """Do what is queued, one export after the other, until nothing is left to do."""
        while True:
            lease = uuid.uuid4()
            async with self._database.system() as connection:
                export = await store.claim(connection, lease, self._lease_seconds)
            if export is None:
                return
            if export.attempts > CLAIMS_MAX:
                await self._give_up(
                    export, lease, "it was begun too often without an end; ask for less at once"
                )
            else:
                await self._attempt(export, lease)

    async def _attempt(self, export: Export, lease: uuid.UUID) -> None:
        try:
            await self._do(export, lease)
        except _Taken:
            log.info("export not ours any more", export=export.id)
            await self._forget(export, export.attempts)
        except asyncio.CancelledError:
            # A stop of this process, not of the export: whoever comes next begins again at once.
            with suppress(Exception):
                async with self._database.system() as connection:
                    await store.let_go(connection, lease)
            raise
        except Exception as error:
            await self._failed(export, lease, error)

    async def _failed(self, export: Export, lease: uuid.UUID, error: Exception) -> None:
        passing = is_transient(error) or not isinstance(error, AgoraError) or error.slug in _PASSING
        log.warning("export failed", export=export.id, attempt=export.attempts, error=repr(error))
        if passing and export.attempts < ATTEMPTS_MAX:
            # Its lease runs out by itself, which is also the pause before the next attempt.
            return
        told = (
            str(error)
            if isinstance(error, AgoraError)
            else "something went wrong on our side; ask for it again"
        )
        await self._give_up(export, lease, told)

    async def _give_up(self, export: Export, lease: uuid.UUID, told: str) -> None:
        async with self._database.system() as connection:
            await store.fail(connection, lease, told, utc_now())
        for attempt in range(max(export.attempts - ATTEMPTS_MAX, 1), export.attempts + 1):
            await self._forget(export, attempt)

    async def _do(self, export: Export, lease: uuid.UUID) -> None:
        # What an attempt that died may have left behind.
        for attempt in range(1, export.attempts):
            await self._forget(export, attempt)
        progress = _Progress()
        holding = asyncio.create_task(self._hold(lease, progress))
        writing = asyncio.create_task(self._write(export, progress))
        try:
            await asyncio.wait({holding, writing}, return_when=asyncio.FIRST_COMPLETED)
            file = writing.result() if writing.done() else holding.result()
        finally:
            for task in (holding, writing):
                task.cancel()
            await asyncio.gather(holding, writing, return_exceptions=True)
        now = utc_now()
        async with self._database.system() as connection:
            ours = await store.succeed(
                connection, lease, file=file, rows=progress.done, now=now, expires_at=now + self._retention
            )
        if not ours:
            raise _Taken

    async def _hold(self, lease: uuid.UUID, progress: "_Progress") -> NoReturn:
        """Say how far the export is, again and again; ends the whole export when it is not ours any more."""
        while True:
            await asyncio.sleep(self._progress_seconds)
            async with self._database.system() as connection:
                kept = await store.hold(
                    connection, lease, self._lease_seconds, done=progress.done, total=progress.total
                )
            if not kept:
                raise _Taken

    async def _write(self, export: Export, progress: "_Progress") -> str:
        file = export.file_id(export.attempts)
        stored = await self._objects.put(
            _object_key(export.tenant, file), self._bytes(export, progress), size_max=BYTES_MAX
        )
        await self._ask(
            RegisterFile(
                file=file,
                tenant=export.tenant,
                name=export.file_name,
                size=stored.size,
                sha256=stored.sha256,
                content_type=MEDIA_TYPES[export.format],
            )
        )
        return file

    async def _bytes(self, export: Export, progress: "_Progress") -> AsyncIterator[bytes]:
        # In threads: encoding a piece must not hold up what else this process answers.
        encode = await asyncio.to_thread(encoder, export.format, COLUMNS[export.what])
        yield await asyncio.to_thread(encode.start)
        async with self._database.transaction(export.tenant) as connection:
            progress.total = await reading.count(connection, export)
            async for rows in reading.pieces(connection, export):
                yield await asyncio.to_thread(encode.rows, rows)
                progress.done += len(rows)
        yield await asyncio.to_thread(encode.end)

    async def _forget(self, export: Export, attempt: int) -> None:
        file = export.file_id(attempt)
        try:
            await self._ask(DeleteFile(file=file, tenant=export.tenant))
        except AgoraError as error:
            if error.slug != "not_found":
                log.warning("file of an export not deleted", file=file, reason=str(error))
                return
        await self._objects.delete(_object_key(export.tenant, file))

    async def expire(self) -> None:
        """Delete the files of exports past their retention; what cannot be deleted now is tried again."""
        async with self._database.system() as connection:
            expired = await store.claim_expired(connection, _EXPIRE_BATCH)
        for tenant, id, file in expired:
            try:
                await self._ask(DeleteFile(file=file, tenant=tenant))
            except AgoraError as error:
                if error.slug != "not_found":
                    raise
            async with self._database.system() as connection:
                await store.mark_expired(connection, tenant, id)


class _Progress:
    """How far an export is."""

    __slots__ = ("done", "total")

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None


def _found(export: Export | None, id: str) -> UsageExport:
    if export is None:
        raise AgoraError("not_found", f"there is no export {id[:80]!r}")
    return export.shown()


def _object_key(tenant: str, file: str) -> str:
    return f"{tenant}/{file}"
