"""The loop of a durable consumer of JetStream: batches pulled, each applied to its end, also when asked to stop.

The loop is ours and not FastStream's pull subscriber, because that one holds a lone message back until its
poll times out: each hop of a run would wait for a poll (docs/decisions/0003-event-consumers.md).
"""

import asyncio
from contextlib import suppress

import structlog
from agora_contracts.problems import AgoraError
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError
from sqlalchemy.exc import DBAPIError

from agora_kit import failpoints
from agora_kit.database import Database
from agora_kit.dead_letters import Refused
from agora_kit.pull import Pull

log = structlog.get_logger()

TRIES = 5
"""After so many deliveries an unforeseen error makes a message a dead letter."""

ACK_WAIT_SECONDS = 30.0
"""After so long without an answer a message is delivered again: what a process that died had at hand waits for it."""

_NAK_SECONDS = (0.2, 1.0, 5.0, 15.0)


class DurableConsumer:
    """A durable consumer of one stream; what is done with its batches is the subclass's.

    Args:
        name: the durable's name.
        stream: the stream's name.
        subjects: which of its subjects.
        batch_max: the most messages in a batch.
        linger_seconds: how long to gather more once the first message is there.
        batches_at_once: how many batches are applied side by side.
    """

    def __init__(
        self,
        name: str,
        stream: str,
        subjects: list[str],
        *,
        batch_max: int,
        linger_seconds: float,
        batches_at_once: int = 1,
    ) -> None:
        self.name = name
        self.stream = stream
        self.subjects = subjects
        self._batch_max = batch_max
        self._linger_seconds = linger_seconds
        self._batches_at_once = batches_at_once

    async def replay(self, database: Database, refused: Refused) -> str | None:
        """Hand one dead letter to the handler again. Returns None, or the reason it was refused again."""
        raise NotImplementedError

    async def _apply(self, messages: list[Msg], database: Database) -> None:
        """Apply a batch, and answer each of its messages: acknowledged or handed back."""
        raise NotImplementedError

    async def run(self, connection: Client, database: Database) -> None:
        """Consume until cancelled. Finishes the batch at hand before it ends."""
        failpoints.enter(self.name)
        while True:
            try:
                await self._consume(connection, database)
            except Exception as error:
                log.warning("consumer interrupted, trying again", consumer=self.name, error=repr(error))
                await asyncio.sleep(0.5)

    async def _consume(self, connection: Client, database: Database) -> None:
        await connection.jetstream().add_consumer(
            self.stream,
            ConsumerConfig(
                durable_name=self.name,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_SECONDS,
                max_deliver=-1,
                max_ack_pending=max(2000, 4 * self._batch_max),
                filter_subjects=self.subjects if len(self.subjects) > 1 else None,
                filter_subject=self.subjects[0] if len(self.subjects) == 1 else None,
            ),
        )
        pull = Pull(connection, self.stream, self.name, batch_max=self._batch_max)
        await pull.open()
        applying: set[asyncio.Task[None]] = set()
        try:
            while True:
                messages = await pull.take(self._linger_seconds)
                applying.add(asyncio.create_task(self._apply(messages, database)))
                if len(applying) >= self._batches_at_once:
                    done, applying = await asyncio.wait(applying, return_when=asyncio.FIRST_COMPLETED)
                    for one in done:
                        one.result()
        finally:
            await self._let_end(applying)
            with suppress(Exception):
                for message in await pull.close():
                    await message.nak()

    async def _let_end(self, applying: set[asyncio.Task[None]]) -> None:
        """Let the batches at hand end, so that a commit is followed by its acks, also in a stop.

        It stays a stop when a batch fails: otherwise the loop would go on, and nobody asks twice.
        """
        if not applying:
            return
        done, _ = await asyncio.wait(applying)
        for one in done:
            if not one.cancelled() and (error := one.exception()) is not None:
                log.warning("batch failed in the stop", consumer=self.name, error=repr(error))


async def is_caught_up(connection: Client, stream: str, durable: str) -> bool:
    """Whether a durable consumer has acknowledged every message on its subjects; False where it does not exist yet.

    Its own counts do not say so alone: the server counts what is pending a moment after it has made the consumer,
    and after it has stored a message, and says 0 until then. So they are held against the stream.
    """
    context = connection.jetstream()
    try:
        found = await context.consumer_info(stream, durable)
    except NotFoundError:
        return False
    if found.num_pending or found.num_ack_pending:
        return False
    subjects = found.config.filter_subjects or [found.config.filter_subject or ">"]
    acknowledged = (found.ack_floor.stream_seq if found.ack_floor else 0) or 0
    for subject in subjects:
        try:
            last = (await context.get_last_msg(stream, subject)).seq
        except NotFoundError:
            continue
        if (last or 0) > acknowledged:
            return False
    return True


def is_final(error: Exception) -> bool:
    """Whether no later try can end otherwise: refused by the handler, or not storable as data (SQLSTATE 22)."""
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return isinstance(error, AgoraError | ValueError) or str(state or "").startswith("22")


async def hand_back(messages: list[Msg]) -> None:
    """Let messages come again, later each time."""
    for message in messages:
        delivered = message.metadata.num_delivered
        await message.nak(delay=_NAK_SECONDS[min(delivered, len(_NAK_SECONDS)) - 1])
