"""Use cases of refused usage. One call is one transaction, opened and committed by the caller."""

from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
from agora_contracts.envelope import utc_now
from agora_contracts.problems import AgoraError
from agora_contracts.usage_ingest import (
    IngestedEvent,
    ListRefusedUsage,
    RefusedUsage,
    RefusedUsagePage,
    ReplayAllRefusedUsage,
    ReplayedUsage,
    ReplayRefusedUsage,
)
from agora_kit.cursor import decode_cursor, encode_cursor
from agora_kit.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.ingest.model import Refusal
from agora_metering.ingest.service import answer, count
from agora_metering.refusals import store

REPLAY_BATCH = 1000
PAGE_BYTES_MAX = 700_000
"""A page is cut before its events, which are shown whole, exceed what fits into a message."""

EXPIRE_BATCH = 5000


async def list_refused(connection: AsyncConnection, query: ListRefusedUsage) -> RefusedUsagePage:
    """What was refused, newest first.

    Raises:
        AgoraError: `invalid_cursor`.
    """
    before = decode_cursor(query.cursor, tuple[int])[0] if query.cursor else None
    found = await store.page(connection, query, before)
    shown = _fitting(found[: query.limit])
    return RefusedUsagePage(
        items=[item for _, item in shown],
        next_cursor=encode_cursor(shown[-1][0]) if len(found) > len(shown) else None,
    )


def _fitting(found: list[tuple[int, RefusedUsage]]) -> list[tuple[int, RefusedUsage]]:
    size = 0
    for place, (_, item) in enumerate(found):
        size += len(msgspec.json.encode(item))
        if size > PAGE_BYTES_MAX and place:
            return found[:place]
    return found


async def replay_one(
    connection: AsyncConnection, command: ReplayRefusedUsage, now: datetime
) -> IngestedEvent:
    """Try one refused event again, as it came or corrected. What was taken in before is not tried again.

    Raises:
        AgoraError: `not_found`.
    """
    found = await store.lock(connection, command.id, command.tenant)
    if found is None:
        raise AgoraError("not_found", f"nothing was refused under the id {command.id[:80]!r}")
    known, arrival = found
    if known.replayed_at is not None:
        return IngestedEvent(
            id=known.event_id, source=known.source, result="duplicate", detail="it was replayed before"
        )
    corrected = None if command.corrected is None else command.corrected.encode()
    if corrected is not None:
        # Received when it came first: a correction is no way around the window.
        arrival = replace(arrival, payload=corrected)
    (outcome,) = await count(connection, [arrival], now)
    if isinstance(outcome, Refusal):
        await store.note_reasons(connection, [(known.id, outcome)])
        # It keeps its place in the list, also where the corrected event would have another.
        return replace_refused(answer(outcome), known.id)
    await store.mark_replayed(connection, [(known.tenant, known.id)], corrected)
    return outcome


def replace_refused(told: IngestedEvent, id: str) -> IngestedEvent:
    """The same answer, naming another place in the list."""
    return IngestedEvent(
        id=told.id, source=told.source, result=told.result, reason=told.reason, detail=told.detail, refused=id
    )


async def replay_all(
    connection: AsyncConnection, command: ReplayAllRefusedUsage, now: datetime
) -> ReplayedUsage:
    """Try what waits again, oldest first; nobody else tries the same meanwhile.

    Raises:
        AgoraError: `invalid_cursor`.
    """
    after = decode_cursor(command.after, tuple[int])[0] if command.after else 0
    waiting = await store.lock_waiting(
        connection, command.tenant, command.reason, after=after, limit=REPLAY_BATCH
    )
    if not waiting:
        return ReplayedUsage(accepted=0, duplicates=0)
    outcomes = await count(connection, [arrival for _, _, arrival in waiting], now)
    refused: list[tuple[str, Refusal]] = []
    taken: list[tuple[tuple[str, str], IngestedEvent]] = []
    for (_, id, arrival), outcome in zip(waiting, outcomes, strict=True):
        if isinstance(outcome, Refusal):
            refused.append((id, outcome))
        else:
            taken.append(((arrival.tenant, id), outcome))
    await store.note_reasons(connection, refused)
    await store.mark_replayed(connection, [key for key, _ in taken])
    accepted = sum(outcome.result == "accepted" for _, outcome in taken)
    return ReplayedUsage(
        accepted=accepted,
        duplicates=len(taken) - accepted,
        refused=[id for id, _ in refused],
        next_after=encode_cursor(waiting[-1][0]) if len(waiting) == REPLAY_BATCH else None,
    )


async def expire(database: Database, retention_days: int) -> None:
    """Forget what was refused long ago, a slice per transaction."""
    before = utc_now() - timedelta(days=retention_days)
    deleted = EXPIRE_BATCH
    while deleted == EXPIRE_BATCH:
        async with database.system() as connection:
            deleted = await store.expire(connection, before, EXPIRE_BATCH)
