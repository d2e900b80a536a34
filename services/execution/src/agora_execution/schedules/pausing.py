"""Schedules that pause themselves: why, and how that is told."""

from collections.abc import Sequence
from datetime import datetime

from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.identity import KeyRevoked
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunError
from agora_contracts.schedules import SchedulePaused
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.schedules import fire_store, key_store, store
from agora_execution.schedules.model import failures_in_row, key_expired, key_revoked, too_many_failures
from agora_execution.schedules.store import ScheduleRow


async def pause(connection: AsyncConnection, row: ScheduleRow, reason: RunError) -> None:
    """Pause a locked schedule by ourselves, and tell its owner by an event of the same transaction."""
    found = await fire_store.outcomes(connection, {row.id: row.counted_from})
    failures = failures_in_row(outcome for outcome, _ in found.get(row.id, []))
    await store.set_state(connection, row.id, "paused", reason)
    await fire_store.drop_buffered(connection, row.id, reason)
    paused = SchedulePaused(
        schedule=row.id,
        account=row.account,
        package=row.package,
        deployment=row.deployment,
        reason=reason,
        failures=failures,
        at=utc_now(),
        name=row.name,
    )
    await emit(
        connection, [Event(tenant=row.tenant, entity=row.id, data=paused, id=f"{row.id}.{row.revision + 1}")]
    )


async def reason_to_pause(connection: AsyncConnection, row: ScheduleRow) -> RunError | None:
    """Why a locked schedule may start nothing any more: its key, or failures in a row."""
    reason = await unusable(connection, row.requested_by, row.key_expires_at)
    if reason is not None:
        return reason
    found = await fire_store.outcomes(connection, {row.id: row.counted_from})
    outcomes = found.get(row.id, [])
    failures = failures_in_row(outcome for outcome, _ in outcomes)
    if failures < row.failures_max:
        return None
    last = next((reason for outcome, reason in outcomes if outcome == "bad"), None)
    return too_many_failures(failures, last)


async def unusable(connection: AsyncConnection, key: str, expires_at: datetime | None) -> RunError | None:
    """Why a key asks for no run any more: it was revoked, or is over."""
    if await key_store.is_revoked(connection, key):
        return key_revoked(key)
    if expires_at is not None and expires_at <= utc_now():
        return key_expired(key, expires_at)
    return None


async def check_key(connection: AsyncConnection, key: str, expires_at: datetime | None) -> None:
    """Refuse a key that was revoked, or expired, since its request came in.

    Raises:
        AgoraError: `key_revoked`, `key_expired`.
    """
    reason = await unusable(connection, key, expires_at)
    if reason is not None:
        raise AgoraError(reason.code, f"the API key {key} works no more; use another one")


async def keys_revoked(connection: AsyncConnection, envelopes: Sequence[Envelope[KeyRevoked]]) -> None:
    """Pause the schedules that run under keys that were revoked; the sweep tells Temporal.

    A time that comes before that starts nothing: the row of the schedule decides. A schedule that is being made or
    resumed under such a key meanwhile is refused, as the keys are kept.
    """
    for tenant in sorted({envelope.tenant for envelope in envelopes}):
        await key_store.lock(connection, tenant)
    for envelope in envelopes:
        key = envelope.data.key
        await key_store.note_revoked(connection, envelope.tenant, key, envelope.data.at)
        for schedule in await key_store.schedules_of(connection, envelope.tenant, key):
            row = await store.read(connection, schedule, lock=True)
            if row is not None and row.state == "active":
                await pause(connection, row, key_revoked(key))
