"""SQL for the records of prepared artifacts: which there are, and when each was last needed."""

from sqlalchemy import Boolean, Column, DateTime, Index, PrimaryKeyConstraint, Table, Text, func, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import metadata

artifacts = Table(
    "artifacts",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    # Whole, and kept in the object store.
    Column("ready", Boolean, nullable=False, server_default="false"),
    # Nobody may take it up any more: its collection and its bytes are being deleted.
    Column("removing", Boolean, nullable=False, server_default="false"),
    Column("needed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("tenant_id", "name"),
)
Index("ix_artifacts_needed_at", artifacts.c.needed_at)

_NEEDED = """
    EXISTS (SELECT 1 FROM deployments d
            WHERE d.tenant_id = a.tenant_id AND d.artifact = a.name AND d.ended_at IS NULL)
    OR EXISTS (SELECT 1 FROM runs r
               WHERE r.tenant_id = a.tenant_id AND r.artifact = a.name AND r.finished_at IS NULL)
"""


async def take_up(connection: AsyncConnection, tenant: str, name: str) -> bool | None:
    """Note that an artifact is needed. Returns whether it is ready; None while it is being removed."""
    row = (
        await connection.execute(
            text("""
                INSERT INTO artifacts AS a (tenant_id, name) VALUES (:tenant, :name)
                ON CONFLICT (tenant_id, name) DO UPDATE SET needed_at = now() WHERE NOT a.removing
                RETURNING ready
            """),
            {"tenant": tenant, "name": name},
        )
    ).first()
    return None if row is None else bool(row.ready)


async def set_ready(connection: AsyncConnection, tenant: str, name: str) -> None:
    """Note that an artifact is whole, and kept."""
    await connection.execute(
        text(
            "UPDATE artifacts SET ready = true, needed_at = now() WHERE tenant_id = :tenant AND name = :name"
        ),
        {"tenant": tenant, "name": name},
    )


async def take_out(connection: AsyncConnection, kept_seconds: float, limit: int) -> list[tuple[str, str]]:
    """Take artifacts out of use that were not needed for so long. Returns tenants and names of what is to be deleted.

    What a deployment uses, or a run that has not ended, is noted as needed first. Those that were taken out before and
    not forgotten since come again.
    """
    await connection.execute(
        text(f"""
            UPDATE artifacts a SET needed_at = now()
            WHERE NOT removing AND needed_at < now() - make_interval(secs => :seconds / 2) AND ({_NEEDED})
        """),
        {"seconds": kept_seconds},
    )
    rows = await connection.execute(
        text("""
            UPDATE artifacts a SET removing = true
            FROM (SELECT tenant_id, name FROM artifacts
                  WHERE removing OR needed_at <= now() - make_interval(secs => :seconds)
                  ORDER BY needed_at LIMIT :limit FOR UPDATE SKIP LOCKED) old
            WHERE a.tenant_id = old.tenant_id AND a.name = old.name
            RETURNING a.tenant_id, a.name
        """),
        {"seconds": kept_seconds, "limit": limit},
    )
    return [(row.tenant_id, row.name) for row in rows]


async def forget(connection: AsyncConnection, tenant: str, name: str) -> None:
    """Forget an artifact that was taken out of use: nothing of it is left."""
    await connection.execute(
        text("DELETE FROM artifacts WHERE tenant_id = :tenant AND name = :name AND removing"),
        {"tenant": tenant, "name": name},
    )


async def known(connection: AsyncConnection, names: list[str]) -> set[str]:
    """Those of these artifacts that there are, whoever's."""
    rows = await connection.execute(
        text("SELECT name FROM artifacts WHERE name = ANY(CAST(:names AS text[]))"), {"names": names}
    )
    return {row.name for row in rows}
