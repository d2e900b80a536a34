"""SQL for the vendors' keys. Never commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Column, DateTime, LargeBinary, PrimaryKeyConstraint, Row, Table, Text, func, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import metadata
from agora_execution.provider_keys.sealing import SealedKey

provider_keys = Table(
    "provider_keys",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("vendor", Text, nullable=False),
    Column("sealed_under", Text, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("last_characters", Text, nullable=False),
    Column("stored_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("tenant_id", "vendor"),
)


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A row: a sealed key, whose it is, and what is shown of it."""

    tenant: str
    vendor: str
    sealed: SealedKey
    last_characters: str
    stored_by: str
    created_at: datetime


_RETURNED = "tenant_id, vendor, sealed_under, nonce, ciphertext, last_characters, stored_by, created_at"

_SAVE = text(f"""
    INSERT INTO provider_keys (tenant_id, vendor, sealed_under, nonce, ciphertext, last_characters, stored_by)
    VALUES (:tenant, :vendor, :sealed_under, :nonce, :ciphertext, :last_characters, :stored_by)
    ON CONFLICT (tenant_id, vendor) DO UPDATE SET sealed_under = excluded.sealed_under, nonce = excluded.nonce,
        ciphertext = excluded.ciphertext, last_characters = excluded.last_characters,
        stored_by = excluded.stored_by, created_at = now()
    RETURNING {_RETURNED}
""")

_OF_TENANTS = text(f"""
    SELECT {_RETURNED} FROM provider_keys WHERE tenant_id = ANY(CAST(:tenants AS text[])) ORDER BY tenant_id, vendor
""")

_DELETE = text(
    f"DELETE FROM provider_keys WHERE tenant_id = :tenant AND vendor = :vendor RETURNING {_RETURNED}"
)

_SEALED_ELSE = text(f"""
    SELECT {_RETURNED} FROM provider_keys WHERE sealed_under <> :current AND (tenant_id, vendor) > (:tenant, :vendor)
    ORDER BY tenant_id, vendor LIMIT :limit FOR UPDATE
""")

_RESEAL = text("""
    UPDATE provider_keys SET sealed_under = :sealed_under, nonce = :nonce, ciphertext = :ciphertext
    WHERE tenant_id = :tenant AND vendor = :vendor
""")


async def save(
    connection: AsyncConnection,
    tenant: str,
    vendor: str,
    sealed: SealedKey,
    last_characters: str,
    stored_by: str,
) -> StoredKey:
    """Keep a key in place of the one that is there."""
    rows = await connection.execute(
        _SAVE,
        {
            "tenant": tenant,
            "vendor": vendor,
            "last_characters": last_characters,
            "stored_by": stored_by,
            **_sealed_columns(sealed),
        },
    )
    return _stored(rows.one())


async def keys_of(connection: AsyncConnection, tenants: Sequence[str]) -> list[StoredKey]:
    """The keys of tenants, by tenant and vendor."""
    return [_stored(row) for row in await connection.execute(_OF_TENANTS, {"tenants": list(tenants)})]


async def delete(connection: AsyncConnection, tenant: str, vendor: str) -> StoredKey | None:
    """Forget a key; None where there was none."""
    row = (await connection.execute(_DELETE, {"tenant": tenant, "vendor": vendor})).one_or_none()
    return None if row is None else _stored(row)


async def sealed_under_others(
    connection: AsyncConnection, current: str, after: tuple[str, str], limit: int
) -> list[StoredKey]:
    """Lock the next keys that are not sealed under the current key-encryption key."""
    values = {"current": current, "tenant": after[0], "vendor": after[1], "limit": limit}
    return [_stored(row) for row in await connection.execute(_SEALED_ELSE, values)]


async def reseal(connection: AsyncConnection, key: StoredKey, sealed: SealedKey) -> None:
    """Put a locked key's new seal in the place of the old."""
    await connection.execute(_RESEAL, {"tenant": key.tenant, "vendor": key.vendor, **_sealed_columns(sealed)})


def _sealed_columns(sealed: SealedKey) -> dict[str, object]:
    return {
        "sealed_under": sealed.sealed_under,
        "nonce": sealed.nonce,
        "ciphertext": sealed.ciphertext,
    }


def _stored(row: Row[Any]) -> StoredKey:
    return StoredKey(
        tenant=row.tenant_id,
        vendor=row.vendor,
        sealed=SealedKey(
            sealed_under=row.sealed_under, nonce=bytes(row.nonce), ciphertext=bytes(row.ciphertext)
        ),
        last_characters=row.last_characters,
        stored_by=row.stored_by,
        created_at=row.created_at,
    )
