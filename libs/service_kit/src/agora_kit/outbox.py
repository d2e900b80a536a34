"""The transactional outbox: events are rows of the same transaction as the state they tell of.

The outbox is the truth and the stream is a copy: `published_at` says what has been copied, and clearing it
copies it again. Rows are kept for `RETENTION_DAYS`, so a lost JetStream store can be rebuilt.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
import uuid_utils
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.subjects import event_subject
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_kit.telemetry import current_traceparent

RETENTION_DAYS = 14
PAYLOAD_BYTES_MAX = 1_000_000
"""The largest event; NATS refuses more than 1 MiB, headers included, and would hold up all events behind it."""

_encoder = msgspec.json.Encoder(decimal_format="string")

INSERT = """
    INSERT INTO outbox (message_id, tenant_id, entity, subject, payload)
    SELECT * FROM unnest(
        CAST(:ids AS text[]), CAST(:tenants AS text[]), CAST(:entities AS text[]),
        CAST(:subjects AS text[]), CAST(:payloads AS bytea[])
    )
"""
"""The insert, for a store that writes its own rows and the outbox's in one statement; see `parameters`."""

_INSERT = text(INSERT)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event to be emitted: the fact, its tenant, the entity it is about.

    `id` is given where a retry must produce the same event; otherwise it is a fresh UUIDv7.
    """

    tenant: str
    entity: str
    data: msgspec.Struct
    id: str | None = None
    at: datetime | None = None
    sequence: int = 0
    source: str | None = None


@cache
def _source(producer: str) -> str:
    return f"agora/{producer}"


def new_event_id() -> str:
    """A fresh event id, ordered by time."""
    return f"evt_{uuid_utils.uuid7().hex}"


def encode(event: Event) -> tuple[str, str, bytes]:
    """The event's id, subject and envelope in bytes.

    Raises:
        KeyError: the message is not in the catalogue of events.
        ValueError: it is larger than `PAYLOAD_BYTES_MAX`, or its tenant cannot stand in a subject.
    """
    spec = EVENTS[type(event.data)]
    event_id = event.id or new_event_id()
    envelope = Envelope(
        id=event_id,
        source=event.source or _source(spec.producer),
        type=spec.type,
        subject=event.entity,
        time=event.at or utc_now(),
        tenant=event.tenant,
        data=event.data,
        sequence=event.sequence,
        traceparent=current_traceparent(),
    )
    payload = _encoder.encode(envelope)
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(
            f"{spec.type} about {event.entity} has {len(payload)} bytes, at most {PAYLOAD_BYTES_MAX} can be sent;"
            " put what is large into a file"
        )
    return event_id, event_subject(event.tenant, spec.path), payload


def parameters(events: Sequence[Event]) -> dict[str, list[str] | list[bytes]]:
    """What `INSERT` is executed with."""
    encoded = [encode(event) for event in events]
    return {
        "ids": [event_id for event_id, _, _ in encoded],
        "tenants": [event.tenant for event in events],
        "entities": [event.entity for event in events],
        "subjects": [subject for _, subject, _ in encoded],
        "payloads": [payload for _, _, payload in encoded],
    }


async def emit(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Write events into the outbox of this transaction; the relay publishes them after the commit."""
    if events:
        await connection.execute(_INSERT, parameters(events))


async def republish(connection: AsyncConnection, entity: str) -> int:
    """Put every event about `entity` back on its way; consumers deduplicate. Returns how many are."""
    return await _republish(connection, "entity = :entity", {"entity": entity})


async def republish_since(connection: AsyncConnection, since: datetime) -> int:
    """Put everything written since a moment back on its way, to rebuild a lost stream. Returns how many are."""
    return await _republish(connection, "created_at >= :since", {"since": since})


async def _republish(connection: AsyncConnection, which: str, values: dict[str, Any]) -> int:
    # What is on its way already is left alone: the relay is noting those rows as published, and two updates
    # of the same rows, each in an order of its own, deadlock.
    result = await connection.execute(
        text(f"""
            WITH again AS (UPDATE outbox SET published_at = NULL WHERE {which} AND published_at IS NOT NULL)
            SELECT count(*) FROM outbox WHERE {which}
        """),
        values,
    )
    await connection.execute(text("SELECT pg_notify('outbox', '')"))
    count: int = result.scalar_one()
    return count
