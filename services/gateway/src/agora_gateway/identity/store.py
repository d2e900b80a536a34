"""SQL for tenants and their API keys. Never commits."""

from datetime import datetime
from typing import Any

from agora_contracts.problems import AgoraError
from sqlalchemy import (
    ARRAY,
    Column,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Row,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_gateway.database import metadata
from agora_gateway.identity.model import ApiKey, TenantRecord

tenants = Table(
    "tenants",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("settings", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
Index("ix_tenants_created_at_tenant_id", tenants.c.created_at, tenants.c.tenant_id)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, ForeignKey("tenants.tenant_id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    UniqueConstraint("hash"),
)
Index("ix_api_keys_tenant_id_created_at_id", api_keys.c.tenant_id, api_keys.c.created_at, api_keys.c.id)

_KEY_COLUMNS = (*(column for column in api_keys.c if column.name != "hash"), tenants.c.account)


def _tenant(row: Row[Any]) -> TenantRecord:
    return TenantRecord(
        id=row.tenant_id, name=row.name, account=row.account, created_at=row.created_at, settings=row.settings
    )


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant=row.tenant_id,
        account=row.account,
        name=row.name,
        prefix=row.prefix,
        scopes=frozenset(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


async def insert_tenant(connection: AsyncConnection, tenant: str, name: str, account: str) -> None:
    """Write a tenant unless it is there."""
    row = {"tenant_id": tenant, "name": name, "account": account}
    await connection.execute(upsert(tenants).values(row).on_conflict_do_nothing())


async def find_tenant(connection: AsyncConnection, tenant: str) -> TenantRecord | None:
    """Read one tenant, or None."""
    row = (await connection.execute(select(tenants).where(tenants.c.tenant_id == tenant))).one_or_none()
    return None if row is None else _tenant(row)


async def list_tenants(
    connection: AsyncConnection, after: tuple[datetime, str] | None, limit: int
) -> list[TenantRecord]:
    """Tenants in the order of their making, at most `limit`."""
    query = select(tenants).order_by(tenants.c.created_at, tenants.c.tenant_id).limit(limit)
    if after is not None:
        query = query.where(tuple_(tenants.c.created_at, tenants.c.tenant_id) > after)
    return [_tenant(row) for row in await connection.execute(query)]


async def insert_key(connection: AsyncConnection, key: ApiKey, digest: bytes) -> None:
    """Write a key."""
    row = {
        "id": key.id,
        "tenant_id": key.tenant,
        "name": key.name,
        "prefix": key.prefix,
        "hash": digest,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
    }
    await connection.execute(insert(api_keys).values(row))


async def find_key_by_hash(connection: AsyncConnection, digest: bytes) -> ApiKey | None:
    """Read the key with this hash, of whichever tenant, or None."""
    query = select(*_KEY_COLUMNS).join_from(api_keys, tenants).where(api_keys.c.hash == digest)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _key(row)


async def list_keys(
    connection: AsyncConnection, tenant: str, after: tuple[datetime, str] | None, limit: int
) -> list[ApiKey]:
    """A tenant's keys in the order of their making, revoked ones too, at most `limit`."""
    query = (
        select(*_KEY_COLUMNS)
        .join_from(api_keys, tenants)
        .where(api_keys.c.tenant_id == tenant)
        .order_by(api_keys.c.created_at, api_keys.c.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(api_keys.c.created_at, api_keys.c.id) > after)
    return [_key(row) for row in await connection.execute(query)]


async def revoke_key(connection: AsyncConnection, tenant: str, key: str, at: datetime) -> tuple[ApiKey, bool]:
    """Revoke a key; one that was revoked keeps its time. Returns the key, and whether it is revoked by this call.

    Raises:
        AgoraError: `not_found`, the tenant has no such key.
    """
    mine = (api_keys.c.tenant_id == tenant) & (api_keys.c.id == key)
    revoked = await connection.execute(
        update(api_keys).where(mine, api_keys.c.revoked_at.is_(None)).values(revoked_at=at)
    )
    row = (
        await connection.execute(select(*_KEY_COLUMNS).join_from(api_keys, tenants).where(mine))
    ).one_or_none()
    if row is None:
        raise AgoraError("not_found", f"there is no API key {key[:80]}")
    return _key(row), revoked.rowcount == 1
