"""SQL for deployments."""

from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.deployments import Deployment, DeploymentPage, ListDeployments, StartDeployment
from agora_contracts.runs import RunError
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy import Column, DateTime, Index, Integer, Row, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import json_text, metadata
from agora_execution.packages.model import PackageVersion

deployments = Table(
    "deployments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("basis", Text, nullable=False),
    Column("price_version", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    # `config` is the one in use; `wanted_config` the newest one asked for, under `config_revision`.
    Column("config", JSONB, nullable=False),
    Column("wanted_config", JSONB, nullable=False),
    Column("config_revision", Integer, nullable=False, server_default="1"),
    Column("prepared_revision", Integer, nullable=False, server_default="0"),
    Column("artifact", Text),
    Column("error", JSONB),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ended_at", DateTime(timezone=True)),
    Column("checked_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
Index("ix_deployments_tenant", deployments.c.tenant_id, deployments.c.started_at, deployments.c.id)
Index(
    "ix_deployments_unprepared",
    deployments.c.checked_at,
    postgresql_where=text("prepared_revision < config_revision AND error IS NULL AND ended_at IS NULL"),
)


_PAGE_BYTES_MAX = 500_000
"""Of configurations in one page: it has to fit into a message, whatever was asked for."""


class DeploymentRow(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment with what only execution needs to know."""

    public: Deployment
    account: str
    fingerprint: str
    config_in_use: dict[str, Any]
    wanted_config: dict[str, Any]
    prepared_revision: int
    artifact: str | None


_COLUMNS = """
    id, tenant_id, account_id, name, status, package, version, basis, price_version, fingerprint, config,
    wanted_config, config_revision, prepared_revision, artifact, error, started_at, ended_at
"""


def _read(row: Row[Any]) -> DeploymentRow:
    return DeploymentRow(
        public=Deployment(
            id=row.id,
            tenant=row.tenant_id,
            name=row.name,
            status=row.status,
            package=row.package,
            version=row.version,
            basis=row.basis,
            price_version=row.price_version,
            config=row.wanted_config,
            config_revision=row.config_revision,
            started_at=row.started_at,
            ended_at=row.ended_at,
            error=None if row.error is None else msgspec.convert(row.error, RunError),
        ),
        account=row.account_id,
        fingerprint=row.fingerprint,
        config_in_use=row.config,
        wanted_config=row.wanted_config,
        prepared_revision=row.prepared_revision,
        artifact=row.artifact,
    )


async def insert(connection: AsyncConnection, command: StartDeployment, package: PackageVersion) -> bool:
    """Insert a pending deployment. Returns whether its id was free."""
    result = await connection.execute(
        text("""
            INSERT INTO deployments (id, tenant_id, account_id, name, status, package, version, basis, price_version,
                fingerprint, requested_by, config, wanted_config)
            VALUES (:id, :tenant, :account, :name, 'pending', :package, :version, :basis, :price_version,
                :fingerprint, :requested_by, CAST(:config AS jsonb), CAST(:config AS jsonb))
            ON CONFLICT (id) DO NOTHING
        """),
        {
            "id": command.deployment_id,
            "tenant": command.tenant,
            "account": command.account,
            "name": command.name or package.manifest.title,
            "package": package.package,
            "version": package.version,
            "basis": command.basis,
            "price_version": package.price_version,
            "fingerprint": command.fingerprint,
            "requested_by": command.requested_by,
            "config": msgspec.json.encode(command.config).decode(),
        },
    )
    return result.rowcount == 1


async def read(connection: AsyncConnection, deployment: str, *, lock: bool = False) -> DeploymentRow | None:
    """One deployment that this transaction may see."""
    query = f"SELECT {_COLUMNS} FROM deployments WHERE id = :id" + (" FOR UPDATE" if lock else "")
    row = (await connection.execute(text(query), {"id": deployment})).first()
    return None if row is None else _read(row)


async def page(connection: AsyncConnection, query: ListDeployments) -> DeploymentPage:
    """A tenant's deployments, newest first; fewer than asked for where their configurations are large."""
    before = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else None
    rows = (
        await connection.execute(
            text(f"""
                SELECT {_COLUMNS} FROM deployments
                WHERE tenant_id = :tenant
                  AND (CAST(:status AS text) IS NULL OR status = :status)
                  AND (CAST(:before_at AS timestamptz) IS NULL OR (started_at, id) < (:before_at, :before_id))
                ORDER BY started_at DESC, id DESC LIMIT :limit
            """),
            {
                "tenant": query.tenant,
                "status": query.status,
                "before_at": before[0] if before else None,
                "before_id": before[1] if before else "",
                "limit": query.limit + 1,
            },
        )
    ).all()
    shown: list[Deployment] = []
    size = 0
    for row in rows[: query.limit]:
        size += len(msgspec.json.encode(row.wanted_config))
        if shown and size > _PAGE_BYTES_MAX:
            break
        shown.append(_read(row).public)
    more = len(rows) > len(shown)
    return DeploymentPage(
        items=shown,
        next_cursor=encode_cursor(shown[-1].started_at.isoformat(), shown[-1].id) if more else None,
    )


async def change_config(connection: AsyncConnection, deployment: str, config: dict[str, Any]) -> None:
    """Ask for another configuration; the one in use stays until the new one is prepared."""
    await connection.execute(
        text("""
            UPDATE deployments SET wanted_config = CAST(:config AS jsonb), config_revision = config_revision + 1,
                error = NULL, status = CASE WHEN status = 'failed' THEN 'pending' ELSE status END
            WHERE id = :id
        """),
        {"id": deployment, "config": msgspec.json.encode(config).decode()},
    )


async def save_prepared(connection: AsyncConnection, deployment: str, revision: int, artifact: str) -> bool:
    """Put a prepared configuration into use, unless a newer one was put there already."""
    result = await connection.execute(
        text("""
            UPDATE deployments SET status = 'active', config = wanted_config, artifact = :artifact, error = NULL,
                prepared_revision = :revision
            WHERE id = :id AND config_revision = :revision AND prepared_revision < :revision
              AND status IN ('pending', 'active', 'failed')
        """),
        {"id": deployment, "revision": revision, "artifact": artifact},
    )
    return result.rowcount == 1


async def save_failed(connection: AsyncConnection, deployment: str, revision: int, error: RunError) -> None:
    """Note why a configuration could not be prepared; one that is in use stays in use."""
    await connection.execute(
        text("""
            UPDATE deployments SET error = CAST(:error AS jsonb),
                status = CASE WHEN prepared_revision = 0 THEN 'failed' ELSE status END
            WHERE id = :id AND config_revision = :revision AND status IN ('pending', 'active')
        """),
        {"id": deployment, "revision": revision, "error": json_text(error)},
    )


async def end(connection: AsyncConnection, deployment: str) -> None:
    """End a rental."""
    await connection.execute(
        text("UPDATE deployments SET status = 'terminated', ended_at = now() WHERE id = :id"),
        {"id": deployment},
    )


async def unprepared(
    connection: AsyncConnection, older_than_seconds: float, limit: int
) -> list[tuple[str, int]]:
    """Deployments whose newest configuration is neither prepared nor refused, with its revision."""
    rows = await connection.execute(
        text("""
            UPDATE deployments SET checked_at = now() WHERE id IN (
                SELECT id FROM deployments WHERE prepared_revision < config_revision AND error IS NULL
                    AND ended_at IS NULL AND checked_at < now() - make_interval(secs => :seconds)
                ORDER BY checked_at LIMIT :limit FOR UPDATE SKIP LOCKED)
            RETURNING id, config_revision
        """),
        {"seconds": older_than_seconds, "limit": limit},
    )
    return [(row.id, row.config_revision) for row in rows]
