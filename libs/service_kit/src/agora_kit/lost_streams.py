"""Streams that were lost with their store: made again, and what was published into the lost ones goes out again.

When a stream was made is known to NATS, and when an event was published to the outbox: what was published before its
stream was made went into another one, which is gone.
"""

from datetime import datetime, timedelta

import asyncpg
import msgspec
import structlog
from agora_contracts.subjects import STREAMS, Stream
from nats.aio.client import Client

log = structlog.get_logger()

_CLOCKS = timedelta(minutes=1)
"""How far the clocks of NATS and PostgreSQL may be apart. What is published again for nothing is deduplicated."""

_SLICE = 10_000
_REQUEST_SECONDS = 5.0

# In the order of the primary key, so that where everything is newer than the stream, one slice tells.
_AGAIN = f"""
    WITH slice AS (
        SELECT seq, subject, created_at, published_at FROM outbox WHERE seq > $1 ORDER BY seq LIMIT {_SLICE}
    ), again AS (
        UPDATE outbox o SET published_at = NULL FROM slice s
        WHERE o.seq = s.seq AND o.published_at < $2 AND split_part(o.subject, '.', 4) = $3
        RETURNING o.seq
    )
    SELECT max(seq) AS reached, max(created_at) AS newest, (SELECT count(*) FROM again) AS again FROM slice
"""


class _Information(msgspec.Struct, frozen=True):
    """What is read of JetStream's answer about a stream."""

    created: datetime


class LostStreams:
    """Looks after the streams that a service's outbox is published to.

    Args:
        connection: a connected NATS client.
    """

    def __init__(self, connection: Client) -> None:
        self._connection = connection
        self._made: dict[str, datetime] = {}
        self._reconnects = -1

    @property
    def in_doubt(self) -> bool:
        """Whether NATS was away since the last look: it may have come back without its store."""
        return int(self._connection.stats["reconnects"]) != self._reconnects

    async def restore(self, session: asyncpg.Connection) -> int:
        """Put what went into streams that are no more back on its way; returns how many events. The streams exist.

        Raises:
            Exception: what NATS or the database raised; the next call goes on.
        """
        reconnects = int(self._connection.stats["reconnects"])
        count = 0
        for stream in STREAMS.values():
            made = await self._made_at(stream)
            if self._made.get(stream.name) != made:
                again = await _publish_again(session, stream, made + _CLOCKS)
                if again:
                    log.warning("stream was lost, publishing again", stream=stream.name, events=again)
                self._made[stream.name] = made
                count += again
        self._reconnects = reconnects
        return count

    async def _made_at(self, stream: Stream) -> datetime:
        answer = await self._connection.request(
            f"$JS.API.STREAM.INFO.{stream.name}", b"", timeout=_REQUEST_SECONDS
        )
        return msgspec.json.decode(answer.data, type=_Information).created


async def _publish_again(session: asyncpg.Connection, stream: Stream, before: datetime) -> int:
    domain = stream.subjects[0].split(".")[3]
    count: int = 0
    reached: int = 0
    while True:
        row = await session.fetchrow(_AGAIN, reached, before, domain)
        if row["reached"] is None:
            return count
        count += row["again"]
        reached = row["reached"]
        if row["newest"] > before:
            return count
