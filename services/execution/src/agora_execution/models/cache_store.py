"""SQL for the cache of exact responses: one row for each request of a tenant. Never commits.

A row is claimed by who asks a model, so that equal requests, also in other processes, wait for that one answer.
A claim lapses: who holds it may have died.
"""

from sqlalchemy import Column, DateTime, Index, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import metadata

model_cache = Table(
    "model_cache",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("claimed_by", Text, nullable=False),
    Column("claimed_until", DateTime(timezone=True), nullable=False),
    Column("reply", JSONB),
    Column("expires_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("tenant_id", "digest"),
)
Index("ix_model_cache_claimed_until", model_cache.c.claimed_until)

_CLAIM = text("""
    INSERT INTO model_cache (tenant_id, digest, claimed_by, claimed_until)
    VALUES (:tenant, :digest, :claimer, now() + make_interval(secs => :seconds))
    ON CONFLICT (tenant_id, digest) DO UPDATE SET claimed_by = excluded.claimed_by,
        claimed_until = excluded.claimed_until, reply = NULL, expires_at = NULL
    WHERE (model_cache.claimed_until <= now() OR model_cache.claimed_by = excluded.claimed_by)
        AND (model_cache.reply IS NULL OR model_cache.expires_at <= now())
    RETURNING claimed_by
""")

_RENEW = text("""
    UPDATE model_cache SET claimed_until = now() + make_interval(secs => :seconds)
    WHERE tenant_id = :tenant AND digest = :digest AND claimed_by = :claimer AND reply IS NULL
""")

_FIND = text("""
    SELECT reply::text FROM model_cache
    WHERE tenant_id = :tenant AND digest = :digest AND reply IS NOT NULL AND expires_at > now()
""")

_KEEP = text("""
    UPDATE model_cache SET reply = CAST(:reply AS jsonb), expires_at = now() + make_interval(secs => :seconds),
        claimed_until = now()
    WHERE tenant_id = :tenant AND digest = :digest AND claimed_by = :claimer
""")

_RELEASE = text("""
    UPDATE model_cache SET claimed_until = now()
    WHERE tenant_id = :tenant AND digest = :digest AND claimed_by = :claimer AND reply IS NULL
""")

_DROP_OLD = text("""
    DELETE FROM model_cache USING (
        SELECT tenant_id, digest FROM model_cache
        WHERE claimed_until < now() AND coalesce(expires_at, claimed_until) < now() LIMIT 1000) old
    WHERE model_cache.tenant_id = old.tenant_id AND model_cache.digest = old.digest
""")


async def claim(connection: AsyncConnection, tenant: str, digest: str, claimer: str, seconds: float) -> bool:
    """Whether it is now the claimer's to ask; not while another does, nor while there is an answer."""
    values = {"tenant": tenant, "digest": digest, "claimer": claimer, "seconds": seconds}
    return (await connection.execute(_CLAIM, values)).scalar_one_or_none() is not None


async def renew(connection: AsyncConnection, tenant: str, digest: str, claimer: str, seconds: float) -> None:
    """Keep what the claimer still holds for so long again."""
    await connection.execute(
        _RENEW, {"tenant": tenant, "digest": digest, "claimer": claimer, "seconds": seconds}
    )


async def find(connection: AsyncConnection, tenant: str, digest: str) -> bytes | None:
    """The answer that is kept, unless it is too old."""
    reply = (await connection.execute(_FIND, {"tenant": tenant, "digest": digest})).scalar_one_or_none()
    return None if reply is None else reply.encode()


async def keep(
    connection: AsyncConnection, tenant: str, digest: str, claimer: str, reply: bytes, seconds: float
) -> None:
    """Keep the claimer's answer for so long; one whose claim has lapsed to another keeps nothing."""
    values = {"tenant": tenant, "digest": digest, "claimer": claimer, "seconds": seconds}
    await connection.execute(_KEEP, values | {"reply": reply.decode()})


async def release(connection: AsyncConnection, tenant: str, digest: str, claimer: str) -> None:
    """Give a claim back that brought no answer."""
    await connection.execute(_RELEASE, {"tenant": tenant, "digest": digest, "claimer": claimer})


async def drop_old(connection: AsyncConnection) -> int:
    """Delete what is too old to answer anything."""
    return (await connection.execute(_DROP_OLD)).rowcount
