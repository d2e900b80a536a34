"""Use cases of tenants and keys. One call is one transaction."""

import secrets
from datetime import datetime
from typing import Protocol

import msgspec
import uuid_utils
from agora_contracts.billing import OpenAccount
from agora_contracts.envelope import utc_now
from agora_contracts.identity import KeyRevoked
from agora_contracts.problems import AgoraError
from agora_kit.cursor import decode_cursor, encode_cursor
from agora_kit.database import Database
from agora_kit.outbox import Event, emit

from agora_gateway.identity import model, store
from agora_gateway.identity.model import ApiKey, TenantRecord


class Asker(Protocol):
    """Who carries commands to the other services: the kit's broker."""

    async def ask(self, request: msgspec.Struct, *, deadline_seconds: float | None = None) -> object:
        """Send a command and return its reply."""
        ...


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a key shall be. Without `expires_at` it works until it is revoked."""

    name: str
    scopes: frozenset[str]
    expires_at: datetime | None = None


class Identity:
    """Tenants and keys in the gateway's database."""

    def __init__(self, database: Database, asker: Asker) -> None:
        self._database = database
        self._asker = asker

    async def create_tenant(self, tenant: str, name: str) -> TenantRecord:
        """Make a tenant under an id that the caller chose, and open its billing account.

        The account comes first and opening it twice changes nothing, so a tenant that is there always has
        one; a caller whose request failed in between repeats it.

        Raises:
            AgoraError: `idempotency_conflict`, the id stands for a tenant of another name; `unavailable`,
                billing is away, and no tenant was made.
        """
        account = model.account_of(tenant)
        if await self._find(tenant) is None:
            await self._asker.ask(OpenAccount(account=account, tenant=tenant))
            async with self._database.transaction(tenant) as connection:
                await store.insert_tenant(connection, tenant, name, account)
        record = await self.get_tenant(tenant)
        if record.name != name:
            raise AgoraError(
                "idempotency_conflict",
                "the Idempotency-Key was used for a tenant of another name; use a new one",
            )
        return record

    async def get_tenant(self, tenant: str) -> TenantRecord:
        """Read a tenant, or raise `not_found`."""
        record = await self._find(tenant)
        if record is None:
            raise AgoraError("not_found", f"there is no tenant {tenant[:80]}")
        return record

    async def _find(self, tenant: str) -> TenantRecord | None:
        async with self._database.transaction(tenant) as connection:
            return await store.find_tenant(connection, tenant)

    async def list_tenants(self, cursor: str | None, limit: int) -> tuple[list[TenantRecord], str | None]:
        """A page of tenants and the cursor of the next one."""
        after = decode_cursor(cursor, tuple[datetime, str]) if cursor else None
        async with self._database.system() as connection:
            found = await store.list_tenants(connection, after, limit + 1)
        page = found[:limit]
        more = len(found) > limit
        return page, encode_cursor(page[-1].created_at.isoformat(), page[-1].id) if more else None

    async def create_key(self, tenant: str, asked: NewKey) -> tuple[ApiKey, str]:
        """Make a key; the second value is the key itself, which nobody can read again.

        Raises:
            AgoraError: `not_found`, `invalid_input`.
        """
        record = await self.get_tenant(tenant)
        now = utc_now()
        model.check_new_key(asked.scopes, asked.expires_at, now)
        secret = model.compose_key(secrets.token_hex(4), secrets.token_urlsafe(32))
        key = ApiKey(
            id=f"key_{uuid_utils.uuid7().hex}",
            tenant=tenant,
            account=record.account,
            name=asked.name,
            prefix=model.prefix_of(secret),
            scopes=asked.scopes,
            created_at=now,
            expires_at=asked.expires_at,
        )
        async with self._database.transaction(tenant) as connection:
            await store.insert_key(connection, key, model.hash_key(secret))
        return key, secret

    async def list_keys(self, tenant: str, cursor: str | None, limit: int) -> tuple[list[ApiKey], str | None]:
        """A page of a tenant's keys, revoked ones too, and the cursor of the next one."""
        after = decode_cursor(cursor, tuple[datetime, str]) if cursor else None
        async with self._database.transaction(tenant) as connection:
            found = await store.list_keys(connection, tenant, after, limit + 1)
        page = found[:limit]
        more = len(found) > limit
        return page, encode_cursor(page[-1].created_at.isoformat(), page[-1].id) if more else None

    async def revoke_key(self, tenant: str, key: str) -> ApiKey:
        """Revoke a key: it stops working within a second everywhere, and the schedules that run under it pause.

        Doing it again changes nothing.

        Raises:
            AgoraError: `not_found`.
        """
        now = utc_now()
        async with self._database.transaction(tenant) as connection:
            revoked, by_us = await store.revoke_key(connection, tenant, key, now)
            if by_us:
                fact = KeyRevoked(key=key, at=now)
                await emit(connection, [Event(tenant=tenant, entity=key, data=fact, id=f"{key}.revoked")])
            return revoked

    async def find_key(self, digest: bytes) -> ApiKey | None:
        """The key with this hash, whichever tenant's it is: how a request finds its tenant."""
        async with self._database.system() as connection:
            return await store.find_key_by_hash(connection, digest)
