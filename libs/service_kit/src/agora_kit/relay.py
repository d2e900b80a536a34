"""The outbox relay: copies committed events to JetStream, in order, at least once.

One relay per service is active (a session lock in the database); replicas wait to take over. Woken by
NOTIFY, with a sweep for what a notification missed. Order is kept per entity as long as publishing
succeeds; consumers must bear redelivery and late arrival in any case. JetStream drops a second copy of a
message id within its window. Where a stream was lost with its store, it is made again and gets what the lost one had
(`lost_streams`).
"""

import asyncio
import contextlib
import time

import asyncpg
import structlog
from agora_contracts.subjects import STREAMS, Stream
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError
from sqlalchemy import text

from agora_kit import failpoints
from agora_kit.database import Database
from agora_kit.lost_streams import LostStreams
from agora_kit.outbox import RETENTION_DAYS

log = structlog.get_logger()

_LOCK = 7_203_012
_BATCH = 1000
_ACK_SECONDS = 5.0
_LATE_ROWS = 1000
_PACE_SECONDS = 0.02
"""The least time from one batch to the next."""

_PENDING = (
    "SELECT seq, message_id, subject, payload FROM outbox WHERE published_at IS NULL AND seq > $1 "
    f"ORDER BY seq LIMIT {_BATCH}"
)
_DONE = "UPDATE outbox SET published_at = now() WHERE seq = ANY($1::bigint[])"
_STATEMENT_SECONDS = 30
_SLICE = 10_000
_INBOX_DAYS = 3 * RETENTION_DAYS + 1
"""How long what was applied is remembered. An event can come again while its row is in the outbox (twice the
retention, if an operator published it again at its end), and then while the stream keeps it."""

_EXPIRE_OUTBOX = text(f"""
    DELETE FROM outbox WHERE seq IN (
        SELECT seq FROM (SELECT seq, published_at FROM outbox ORDER BY seq LIMIT {_SLICE}) oldest
        WHERE published_at < now() - make_interval(days => :days))
""")
_EXPIRE_INBOX = text(f"""
    DELETE FROM inbox WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM inbox WHERE received_at < now() - make_interval(days => :days) LIMIT {_SLICE}))
""")


class Relay:
    """Publishes a service's outbox.

    Args:
        database: the service's database.
        connection: a connected NATS client.
        sweep_seconds: how long a missed notification can delay an event.
    """

    def __init__(self, database: Database, connection: Client, *, sweep_seconds: float = 1.0) -> None:
        self._database = database
        self._connection = connection
        self._stream = connection.jetstream(timeout=_ACK_SECONDS)
        self._lost_streams = LostStreams(connection)
        self._sweep_seconds = sweep_seconds
        self._wake = asyncio.Event()
        self._newest = 0
        self._swept_at = -sweep_seconds

    async def run(self) -> None:
        """Relay until cancelled; every failure is logged and retried."""
        failpoints.enter("relay")
        while True:
            try:
                await self._lead()
            except Exception as error:
                log.warning("relay interrupted, trying again", error=repr(error))
                await asyncio.sleep(0.5)

    async def _lead(self) -> None:
        session = await self._database.listen_connection()
        try:
            while not await session.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):  # noqa: ASYNC110
                await asyncio.sleep(1.0)
            await session.add_listener("outbox", self._notified)
            await self._restore_streams(session)
            while not session.is_closed():
                self._wake.clear()
                if self._lost_streams.in_doubt:
                    await self._restore_streams(session)
                started = time.monotonic()
                while await self.publish_pending(session):
                    pass
                # A lone event goes at once; under load those of the next few milliseconds go together.
                await asyncio.sleep(max(0.0, _PACE_SECONDS - (time.monotonic() - started)))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._sweep_seconds)
        finally:
            with contextlib.suppress(Exception):
                await session.close(timeout=2)

    async def _restore_streams(self, session: asyncpg.Connection) -> None:
        await ensure_streams(self._stream)
        if await self._lost_streams.restore(session):
            self._swept_at = -self._sweep_seconds

    def _notified(self, *_: object) -> None:
        self._wake.set()

    def _after(self) -> int:
        """Where to begin to look: near the newest row seen, and once a sweep at the very beginning.

        The index on unpublished rows keeps the entries of published ones until they are vacuumed: reading past
        them at each wake-up would cost more the more was published. Rows that committed late, out of their order,
        are near the newest, or wait for the sweep.
        """
        if time.monotonic() - self._swept_at >= self._sweep_seconds:
            self._swept_at = time.monotonic()
            return 0
        return self._newest - _LATE_ROWS

    async def publish_pending(self, session: asyncpg.Connection) -> bool:
        """Publish one batch. Returns whether there may be more at once.

        Args:
            session: the driver's own connection, which holds the relays' lock: hot and simple statements.

        Raises:
            Exception: what NATS or the database raised; nothing unacknowledged is marked as published.
        """
        if not self._connection.is_connected:
            # The client would keep what is published for later, and each try again; and what it refuses when
            # that is full takes up a place among its unacknowledged messages for ever (nats-py 2.16).
            raise ConnectionError("not connected to NATS")
        rows = await session.fetch(_PENDING, self._after(), timeout=_STATEMENT_SECONDS)
        if not rows:
            return False
        self._newest = max(self._newest, rows[-1]["seq"])
        if len(rows) == _BATCH:
            # There may be more old ones (a rebuilt stream): look from the beginning again, without a pause.
            self._swept_at = -self._sweep_seconds
        failpoints.reach("before_publish")
        acks = [
            await self._stream.publish_async(
                row["subject"], row["payload"], headers={"Nats-Msg-Id": row["message_id"]}
            )
            for row in rows
        ]
        done, late = await asyncio.wait(acks, timeout=_ACK_SECONDS)
        for future in late:
            future.cancel()
        confirmed = [row["seq"] for row, ack in zip(rows, acks, strict=True) if ack in done and _stored(ack)]
        failpoints.reach("after_publish")
        if confirmed:
            await session.execute(_DONE, confirmed, timeout=_STATEMENT_SECONDS)
        if len(confirmed) < len(rows):
            raise ConnectionError(f"{len(rows) - len(confirmed)} of {len(rows)} events were not acknowledged")
        return len(rows) == _BATCH

    async def expire(self) -> None:
        """Delete published events past their retention, and what consumers remember longer than it matters.

        A slice per transaction, until nothing is left to delete.
        """
        for statement, days in ((_EXPIRE_OUTBOX, RETENTION_DAYS), (_EXPIRE_INBOX, _INBOX_DAYS)):
            deleted = _SLICE
            while deleted:
                async with self._database.autocommit() as connection:
                    deleted = (await connection.execute(statement, {"days": days})).rowcount


def _stored(ack: asyncio.Future) -> bool:  # type: ignore[type-arg]
    return not ack.cancelled() and ack.exception() is None


async def ensure_streams(stream: JetStreamContext) -> None:
    """Create the streams of the catalogue, or bring them to what it says. Safe to call from every service."""
    for wanted in STREAMS.values():
        await ensure_stream(stream, wanted)


async def ensure_stream(stream: JetStreamContext, wanted: Stream) -> None:
    """Create one stream, or update it where its configuration differs."""
    config = StreamConfig(
        name=wanted.name,
        subjects=wanted.subjects,
        max_age=wanted.retention_days * 86_400,
        duplicate_window=wanted.duplicate_window_seconds,
        max_bytes=wanted.bytes_max,
        max_msg_size=wanted.message_bytes_max,
        # A full stream refuses what is new, so that its publisher hears of it, instead of dropping what is old.
        discard=DiscardPolicy.OLD if wanted.bytes_max is None else DiscardPolicy.NEW,
        retention=RetentionPolicy.WORK_QUEUE if wanted.until_acknowledged else RetentionPolicy.LIMITS,
    )
    try:
        present = (await stream.stream_info(wanted.name)).config
    except NotFoundError:
        await stream.add_stream(config)
        return
    if (present.subjects, present.max_age) != (config.subjects, config.max_age):
        await stream.update_stream(config)
