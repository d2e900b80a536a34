"""Use cases of vendors' keys. One call is one transaction; a rotation is one for each batch."""

import structlog
from agora_contracts.models import (
    DeleteProviderKey,
    KeyRotation,
    ListProviderKeys,
    ProviderKey,
    ProviderKeyList,
    RotateProviderKeys,
    StoreProviderKey,
)
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.database import Database

from agora_execution.provider_keys import store
from agora_execution.provider_keys.sealing import CannotUnseal, KeyRing, last_characters
from agora_execution.provider_keys.store import StoredKey

log = structlog.get_logger()

_BATCH = 100


class ProviderKeys:
    """Keeps vendors' keys, and opens them for calls."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database = database
        self._ring = ring

    async def store(self, command: StoreProviderKey) -> ProviderKey:
        """Encrypt a key and keep it, in place of the one that is there.

        Raises:
            AgoraError: `keys_not_storable`, when the operator has set no key-encryption key.
        """
        if self._ring.current is None:
            raise AgoraError(
                "keys_not_storable",
                "this platform cannot keep keys of vendors yet: its operator must set AGORA_KEY_ENCRYPTION_KEYS",
            )
        sealed = self._ring.seal(command.secret, tenant=command.tenant, vendor=command.vendor)
        async with self._database.transaction(command.tenant) as connection:
            stored = await store.save(
                connection,
                command.tenant,
                command.vendor,
                sealed,
                last_characters(command.secret),
                command.stored_by,
            )
        return self._shown(stored)

    async def list_all(self, query: ListProviderKeys) -> ProviderKeyList:
        """What is kept, without the secrets."""
        async with self._database.transaction(query.tenant) as connection:
            stored = await store.keys_of(connection, [query.tenant])
        return ProviderKeyList(items=[self._shown(one) for one in stored])

    async def delete(self, command: DeleteProviderKey) -> ProviderKey:
        """Forget a key.

        Raises:
            AgoraError: `not_found`.
        """
        async with self._database.transaction(command.tenant) as connection:
            deleted = await store.delete(connection, command.tenant, command.vendor)
        if deleted is None:
            raise AgoraError("not_found", f"no key of {command.vendor} is stored")
        return self._shown(deleted)

    async def rotate(self, _: RotateProviderKeys) -> KeyRotation:
        """Seal every key under the current key-encryption key; those that cannot be opened stay as they are.

        Meanwhile old and new are both opened. Died in the middle, it goes on where it was when it is asked again.

        Raises:
            AgoraError: `keys_not_storable`, when there is no key-encryption key.
        """
        current = self._ring.current
        if current is None:
            raise AgoraError("keys_not_storable", "set AGORA_KEY_ENCRYPTION_KEYS first")
        rotated = left_behind = 0
        after = ("", "")
        while True:
            async with self._database.system() as connection:
                batch = await store.sealed_under_others(connection, current, after, _BATCH)
                for key in batch:
                    try:
                        secret = self._opened(key)
                    except CannotUnseal as error:
                        log.warning(
                            "key not rotated", tenant=key.tenant, vendor=key.vendor, reason=str(error)
                        )
                        left_behind += 1
                        continue
                    sealed = self._ring.seal(secret, tenant=key.tenant, vendor=key.vendor)
                    await store.reseal(connection, key, sealed)
                    rotated += 1
            if len(batch) < _BATCH:
                return KeyRotation(current=current, rotated=rotated, left_behind=left_behind)
            after = (batch[-1].tenant, batch[-1].vendor)

    async def secrets(self, tenant: str) -> tuple[dict[str, str], dict[str, str]]:
        """The platform's stored keys and the tenant's, by vendor; one that cannot be opened is left out."""
        async with self._database.system() as connection:
            stored = await store.keys_of(connection, sorted({PLATFORM_TENANT, tenant}))
        found: dict[str, dict[str, str]] = {PLATFORM_TENANT: {}, tenant: {}}
        for key in stored:
            try:
                found[key.tenant][key.vendor] = self._opened(key)
            except CannotUnseal as error:
                log.error("stored key unusable", tenant=key.tenant, vendor=key.vendor, reason=str(error))
        return found[PLATFORM_TENANT], found[tenant] if tenant != PLATFORM_TENANT else {}

    def _opened(self, key: StoredKey) -> str:
        return self._ring.open(key.sealed, tenant=key.tenant, vendor=key.vendor)

    def _shown(self, stored: StoredKey) -> ProviderKey:
        try:
            self._opened(stored)
        except CannotUnseal:
            usable = False
        else:
            usable = True
        return ProviderKey(
            vendor=stored.vendor,  # type: ignore[arg-type]
            last_characters=stored.last_characters,
            created_at=stored.created_at,
            stored_by=stored.stored_by,
            usable=usable,
        )
