"""SQL for schedules. Never commits."""

from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.money import Money
from agora_contracts.runs import RunError
from agora_contracts.schedules import CreateSchedule, ListSchedules, Schedule
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import json_text
from agora_execution.deployments.model import Named
from agora_execution.schedules import key_store
from agora_execution.schedules.model import Timing

_PAGE_BYTES_MAX = 500_000
"""Of inputs in one page: it has to fit into a message, whatever was asked for."""


class ScheduleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule with what only execution needs to know. `next_times` may lie behind; see `public`."""

    id: str
    tenant: str
    account: str
    fingerprint: str
    requested_by: str
    name: str
    state: str
    package: str
    version: str | None
    deployment: str | None
    input: dict[str, Any]
    cron: str | None
    at: datetime | None
    time_zone: str
    overlap: str
    failures_max: int
    max_cost: Money | None
    paused_for: RunError | None
    counted_from: datetime
    next_times: list[datetime]
    revision: int
    synced_revision: int
    created_at: datetime
    last_fired_at: datetime | None
    key_expires_at: datetime | None = None

    @property
    def named(self) -> Named:
        """What its runs run on."""
        if self.deployment is not None:
            return Named(tenant=self.tenant, deployment=self.deployment)
        return Named(tenant=self.tenant, package=self.package, version=self.version)

    @property
    def timing(self) -> Timing:
        """When it fires."""
        return Timing(cron=self.cron, at=self.at, time_zone=self.time_zone)

    def public(self, now: datetime, failures: int) -> Schedule:
        """The schedule as its tenant sees it."""
        upcoming = self.next_times if self.state == "active" else []
        return Schedule(
            id=self.id,
            tenant=self.tenant,
            name=self.name,
            state=self.state,  # type: ignore[arg-type]
            package=self.package,
            version=self.version,
            deployment=self.deployment,
            input=self.input,
            cron=self.cron,
            at=self.at,
            time_zone=self.time_zone,
            overlap=self.overlap,  # type: ignore[arg-type]
            failures_max=self.failures_max,
            failures=failures,
            max_cost=self.max_cost,
            next_times=[moment for moment in upcoming if moment > now],
            created_at=self.created_at,
            paused_for=self.paused_for,
            last_fired_at=self.last_fired_at,
        )


_COLUMNS = """
    s.id, s.tenant_id, s.account_id, s.fingerprint, s.requested_by, s.name, s.state, s.package, s.version,
    s.deployment_id, s.input, s.cron, s.fires_at, s.time_zone, s.overlap, s.failures_max, s.max_cost, s.currency,
    s.paused_for, s.counted_from, s.next_times, s.revision, s.synced_revision, s.created_at,
    s.key_expires_at,
    (SELECT max(f.at) FROM schedule_fires f WHERE f.schedule_id = s.id) AS last_fired_at
"""


def _read(row: Row[Any]) -> ScheduleRow:
    return ScheduleRow(
        id=row.id,
        tenant=row.tenant_id,
        account=row.account_id,
        fingerprint=row.fingerprint,
        requested_by=row.requested_by,
        name=row.name,
        state=row.state,
        package=row.package,
        version=row.version,
        deployment=row.deployment_id,
        input=row.input,
        cron=row.cron,
        at=row.fires_at,
        time_zone=row.time_zone,
        overlap=row.overlap,
        failures_max=row.failures_max,
        max_cost=None if row.max_cost is None else Money(amount=row.max_cost, currency=row.currency),
        paused_for=None if row.paused_for is None else msgspec.convert(row.paused_for, RunError),
        counted_from=row.counted_from,
        next_times=msgspec.convert(row.next_times, list[datetime]),
        revision=row.revision,
        synced_revision=row.synced_revision,
        created_at=row.created_at,
        last_fired_at=row.last_fired_at,
        key_expires_at=row.key_expires_at,
    )


async def lock_quota(connection: AsyncConnection, tenant: str) -> int:
    """One schedule is made at a time per tenant. Returns how many there are."""
    await key_store.lock(connection, tenant)
    query = text("SELECT count(*) FROM schedules WHERE tenant_id = :tenant AND state IN ('active', 'paused')")
    return int((await connection.execute(query, {"tenant": tenant})).scalar_one())


async def insert(
    connection: AsyncConnection, command: CreateSchedule, package: str, next_times: list[datetime]
) -> bool:
    """Insert an active schedule. Returns whether its id was free."""
    result = await connection.execute(
        text("""
            INSERT INTO schedules (id, tenant_id, account_id, fingerprint, requested_by, name, state, package, version,
                deployment_id, input, cron, fires_at, time_zone, overlap, failures_max, max_cost, currency, next_times,
                key_expires_at)
            VALUES (:id, :tenant, :account, :fingerprint, :requested_by, :name, 'active', :package, :version,
                :deployment, CAST(:input AS jsonb), :cron, :at, :time_zone, :overlap, :failures_max, :max_cost,
                :currency, CAST(:next_times AS jsonb), :key_expires_at)
            ON CONFLICT (id) DO NOTHING
        """),
        {
            "id": command.schedule,
            "tenant": command.tenant,
            "account": command.account,
            "fingerprint": command.fingerprint,
            "requested_by": command.requested_by,
            "name": command.name,
            "package": package,
            "version": command.version,
            "deployment": command.deployment,
            "input": json_text(command.input),
            "cron": command.cron,
            "at": command.at,
            "time_zone": command.time_zone,
            "overlap": command.overlap,
            "failures_max": command.failures_max,
            "max_cost": None if command.max_cost is None else command.max_cost.amount,
            "currency": "USD" if command.max_cost is None else command.max_cost.currency,
            "next_times": json_text(next_times),
            "key_expires_at": command.key_expires_at,
        },
    )
    return result.rowcount == 1


async def read(connection: AsyncConnection, schedule: str, *, lock: bool = False) -> ScheduleRow | None:
    """One schedule that this transaction may see, also a deleted one."""
    query = f"SELECT {_COLUMNS} FROM schedules s WHERE s.id = :id" + (" FOR UPDATE OF s" if lock else "")
    row = (await connection.execute(text(query), {"id": schedule})).first()
    return None if row is None else _read(row)


async def page(connection: AsyncConnection, query: ListSchedules) -> tuple[list[ScheduleRow], str | None]:
    """A tenant's schedules, newest first, and the cursor of the next page."""
    before = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else None
    rows = (
        await connection.execute(
            text(f"""
                SELECT {_COLUMNS} FROM schedules s
                WHERE s.tenant_id = :tenant AND s.state <> 'deleted'
                  AND (CAST(:state AS text) IS NULL OR s.state = :state)
                  AND (CAST(:before_at AS timestamptz) IS NULL OR (s.created_at, s.id) < (:before_at, :before_id))
                ORDER BY s.created_at DESC, s.id DESC LIMIT :limit
            """),
            {
                "tenant": query.tenant,
                "state": query.state,
                "before_at": before[0] if before else None,
                "before_id": before[1] if before else "",
                "limit": query.limit + 1,
            },
        )
    ).all()
    shown: list[ScheduleRow] = []
    size = 0
    for row in rows[: query.limit]:
        size += len(msgspec.json.encode(row.input))
        if shown and size > _PAGE_BYTES_MAX:
            break
        shown.append(_read(row))
    more = len(rows) > len(shown)
    return shown, encode_cursor(shown[-1].created_at.isoformat(), shown[-1].id) if more else None


async def change(connection: AsyncConnection, changed: ScheduleRow) -> None:
    """Save what a tenant changed of a locked schedule; Temporal is to be told."""
    await connection.execute(
        text("""
            UPDATE schedules SET name = :name, version = :version, input = CAST(:input AS jsonb), cron = :cron, fires_at = :at,
                time_zone = :time_zone, overlap = :overlap, failures_max = :failures_max, max_cost = :max_cost,
                currency = :currency, next_times = CAST(:next_times AS jsonb), revision = revision + 1
            WHERE id = :id
        """),
        {
            "id": changed.id,
            "name": changed.name,
            "version": changed.version,
            "input": json_text(changed.input),
            "cron": changed.cron,
            "at": changed.at,
            "time_zone": changed.time_zone,
            "overlap": changed.overlap,
            "failures_max": changed.failures_max,
            "max_cost": None if changed.max_cost is None else changed.max_cost.amount,
            "currency": "USD" if changed.max_cost is None else changed.max_cost.currency,
            "next_times": json_text(changed.next_times),
        },
    )


async def set_state(
    connection: AsyncConnection, schedule: str, state: str, reason: RunError | None = None
) -> None:
    """Move a locked schedule to a state; Temporal is to be told. One that goes on counts its failures anew."""
    await connection.execute(
        text("""
            UPDATE schedules SET state = :state, paused_for = CAST(:reason AS jsonb), revision = revision + 1,
                counted_from = CASE WHEN :state = 'active' THEN now() ELSE counted_from END
            WHERE id = :id
        """),
        {"id": schedule, "state": state, "reason": None if reason is None else json_text(reason)},
    )


async def save_synced(connection: AsyncConnection, schedule: str, revision: int) -> None:
    """Note what Temporal was told."""
    await connection.execute(
        text("""
            UPDATE schedules SET synced_revision = greatest(synced_revision, :revision), checked_at = now()
            WHERE id = :id
        """),
        {"id": schedule, "revision": revision},
    )


async def save_next_times(
    connection: AsyncConnection, schedule: str, revision: int, next_times: list[datetime]
) -> None:
    """Note the times to come of a schedule that still says the same."""
    await connection.execute(
        text("""
            UPDATE schedules SET next_times = CAST(:next_times AS jsonb) WHERE id = :id AND revision = :revision
        """),
        {"id": schedule, "revision": revision, "next_times": json_text(next_times)},
    )


async def tell_again(connection: AsyncConnection, schedule: str, revision: int) -> None:
    """Have Temporal told again what a schedule says, which says the same as before."""
    await connection.execute(
        text("UPDATE schedules SET revision = revision + 1 WHERE id = :id AND revision = :revision"),
        {"id": schedule, "revision": revision},
    )


async def forget_deleted(connection: AsyncConnection) -> None:
    """Remove deleted schedules with their fires, once Temporal knows."""
    await connection.execute(
        text("""
            WITH gone AS (DELETE FROM schedules WHERE state = 'deleted' AND synced_revision >= revision RETURNING id)
            DELETE FROM schedule_fires WHERE schedule_id IN (SELECT id FROM gone)
        """)
    )


async def unsynced(connection: AsyncConnection, older_than_seconds: float, limit: int) -> list[ScheduleRow]:
    """Schedules of which Temporal does not know what the row says; marked as looked at."""
    return await _looked_at(
        connection, "synced_revision < revision", older_than_seconds=older_than_seconds, limit=limit
    )


async def unverified(connection: AsyncConnection, older_than_seconds: float, limit: int) -> list[ScheduleRow]:
    """Schedules that were not compared with Temporal for long; marked as looked at."""
    return await _looked_at(
        connection, "state IN ('active', 'paused')", older_than_seconds=older_than_seconds, limit=limit
    )


async def _looked_at(
    connection: AsyncConnection, which: str, *, older_than_seconds: float, limit: int
) -> list[ScheduleRow]:
    rows = await connection.execute(
        text(f"""
            WITH looked AS (
                UPDATE schedules SET checked_at = now() WHERE id IN (
                    SELECT id FROM schedules WHERE {which} AND checked_at < now() - make_interval(secs => :seconds)
                    ORDER BY checked_at LIMIT :limit FOR UPDATE SKIP LOCKED)
                RETURNING id)
            SELECT {_COLUMNS} FROM schedules s JOIN looked ON looked.id = s.id
        """),
        {"seconds": older_than_seconds, "limit": limit},
    )
    return [_read(row) for row in rows]


async def overdue(connection: AsyncConnection, older_than_seconds: float, limit: int) -> list[ScheduleRow]:
    """Active schedules whose only moment went by, and of which Temporal told nothing."""
    rows = await connection.execute(
        text(f"""
            SELECT {_COLUMNS} FROM schedules s
            WHERE s.state = 'active' AND s.fires_at < now() - make_interval(secs => :seconds)
            ORDER BY s.fires_at LIMIT :limit
        """),
        {"seconds": older_than_seconds, "limit": limit},
    )
    return [_read(row) for row in rows]


async def on_ended_deployments(connection: AsyncConnection, limit: int) -> list[tuple[str, str, str]]:
    """Active schedules whose deployment has ended: id, tenant and deployment."""
    rows = await connection.execute(
        text("""
            SELECT s.id, s.tenant_id, s.deployment_id FROM schedules s JOIN deployments d ON d.id = s.deployment_id
            WHERE s.state = 'active' AND d.status = 'terminated' LIMIT :limit
        """),
        {"limit": limit},
    )
    return [(row.id, row.tenant_id, row.deployment_id) for row in rows]
