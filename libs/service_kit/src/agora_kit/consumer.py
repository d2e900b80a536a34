"""Batch consumers of JetStream events: applied once, in the database transaction that the ack follows.

A batch is one transaction. What cannot be decoded, or is refused each time it is tried alone, becomes a
dead letter with its reason; what fails for a passing cause (database away) is handed back and comes again.

The loop is ours and not FastStream's pull subscriber, because that one holds a lone message back until its
poll times out: each hop of a run would wait for a poll (docs/decisions/0003-event-consumers.md).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from agora_contracts.catalogue import EVENTS, EventSpec
from agora_contracts.envelope import Envelope
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import tenant_of
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_kit import dead_letters, telemetry
from agora_kit.database import Database, is_transient
from agora_kit.dead_letters import Refused
from agora_kit.pull import Pull

log = structlog.get_logger()

type AfterCommit = Callable[[], None]

type Handler = Callable[[AsyncConnection, Sequence[Envelope[Any]]], Awaitable[AfterCommit | None]]
"""Applies a batch inside the given transaction. May see an event late, out of order, or, without an inbox,
again; raises `AgoraError` or `ValueError` for what it will never accept. What it returns is called once the
transaction is committed."""

_TRIES = 5
_NAK_SECONDS = (0.2, 1.0, 5.0, 15.0)

_INBOX = text("""
    INSERT INTO inbox (consumer, message_id)
    SELECT :consumer, * FROM unnest(CAST(:ids AS text[]))
    ON CONFLICT DO NOTHING RETURNING message_id
""")


class _Header(msgspec.Struct, frozen=True):
    """What is read of an envelope first: enough to choose the decoder."""

    type: str


class EventConsumer:
    """Takes events of some types from one stream to one handler.

    Args:
        name: the durable's name, such as `billing-usage-closed`; also the inbox's key.
        events: event types it understands; others on its subjects are acknowledged and left alone.
        handler: applies a batch in a transaction.
        inbox: whether to drop redelivered events by id before the handler sees them. Without it the
            handler deduplicates by means of its own.
        batch_max: the most messages in a transaction.
        linger_seconds: how long to gather more once the first message is there.
    """

    def __init__(
        self,
        name: str,
        events: Sequence[type[msgspec.Struct]],
        handler: Handler,
        *,
        inbox: bool = True,
        batch_max: int = 500,
        linger_seconds: float = 0.012,
    ) -> None:
        specs: list[EventSpec] = [EVENTS[event] for event in events]
        streams = {spec.stream.name for spec in specs}
        if len(streams) != 1:
            raise ValueError(f"{name}: a consumer reads one stream, not {sorted(streams)}")
        self.name = name
        self.stream = streams.pop()
        self.subjects = [f"agora.evt.*.{spec.path}" for spec in specs]
        self._decoders = {spec.type: msgspec.json.Decoder(Envelope[spec.data]) for spec in specs}  # type: ignore[name-defined]
        self._single = next(iter(self._decoders.values())) if len(specs) == 1 else None
        self._handler = handler
        self._inbox = inbox
        self._batch_max = batch_max
        self._linger_seconds = linger_seconds
        self._header = msgspec.json.Decoder(_Header)

    async def run(self, connection: Client, database: Database) -> None:
        """Consume until cancelled. Finishes the batch at hand before it ends."""
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
                ack_wait=30,
                max_deliver=-1,
                max_ack_pending=max(2000, 4 * self._batch_max),
                filter_subjects=self.subjects if len(self.subjects) > 1 else None,
                filter_subject=self.subjects[0] if len(self.subjects) == 1 else None,
            ),
        )
        pull = Pull(connection, self.stream, self.name, batch_max=self._batch_max)
        await pull.open()
        try:
            while True:
                messages = await pull.take(self._linger_seconds)
                applying = asyncio.ensure_future(self._apply(messages, database))
                try:
                    await asyncio.shield(applying)
                except asyncio.CancelledError:
                    # A stop lets the batch at hand end, so that its commit is followed by its ack. It stays a
                    # stop when the batch fails: otherwise the loop would go on, and nobody asks twice.
                    await asyncio.wait({applying})
                    if (error := applying.exception()) is not None:
                        log.warning("batch failed in the stop", consumer=self.name, error=repr(error))
                    raise
        finally:
            with suppress(Exception):
                for message in await pull.close():
                    await message.nak()

    async def _apply(self, messages: list[Msg], database: Database) -> None:
        good: list[tuple[Msg, Envelope[Any]]] = []
        refused: list[tuple[Msg, str]] = []
        for message in messages:
            try:
                envelope = self.decode(message.data)
            except msgspec.MsgspecError as error:
                refused.append((message, f"cannot be decoded: {error}"))
                continue
            if envelope is not None:
                if (reason := _foreign(envelope, message.subject)) is not None:
                    refused.append((message, reason))
                    continue
                good.append((message, envelope))
        try:
            async with database.system() as connection:
                await dead_letters.bury(connection, [self._refusal(m, reason) for m, reason in refused])
                committed = await self._hand_over(connection, [envelope for _, envelope in good])
        except Exception as error:
            if is_transient(error):
                log.warning(
                    "batch handed back", consumer=self.name, messages=len(messages), error=repr(error)
                )
                await _hand_back(messages)
                return
            await self._apply_singly(good, refused, database)
            return
        if committed is not None:
            committed()
        for message in messages:
            await message.ack()

    async def _apply_singly(
        self, good: list[tuple[Msg, Envelope[Any]]], refused: list[tuple[Msg, str]], database: Database
    ) -> None:
        """Find the message that the handler refuses, and let the others through."""
        for message, reason in refused:
            async with database.system() as connection:
                await dead_letters.bury(connection, [self._refusal(message, reason)])
            await message.ack()
        for message, envelope in good:
            try:
                async with database.system() as connection:
                    committed = await self._hand_over(connection, [envelope])
                if committed is not None:
                    committed()
            except Exception as error:
                final = _is_final(error) or message.metadata.num_delivered >= _TRIES
                if is_transient(error) or not final:
                    log.warning(
                        "message handed back", consumer=self.name, event_id=envelope.id, error=repr(error)
                    )
                    await _hand_back([message])
                    continue
                log.error("message refused", consumer=self.name, event_id=envelope.id, error=repr(error))
                async with database.system() as connection:
                    await dead_letters.bury(connection, [self._refusal(message, str(error) or repr(error))])
            await message.ack()

    async def _hand_over(
        self, connection: AsyncConnection, envelopes: list[Envelope[Any]]
    ) -> AfterCommit | None:
        if self._inbox and envelopes:
            ids = [f"{envelope.source}:{envelope.id}" for envelope in envelopes]
            # Sorted, so that two consumers of one durable cannot lock the same keys crosswise.
            new = set(
                (await connection.execute(_INBOX, {"consumer": self.name, "ids": sorted(set(ids))})).scalars()
            )
            unseen: list[Envelope[Any]] = []
            for key, envelope in zip(ids, envelopes, strict=True):
                if key in new:
                    new.discard(key)
                    unseen.append(envelope)
            envelopes = unseen
        if not envelopes:
            return None
        if not telemetry.tracing_enabled():
            return await self._handler(connection, envelopes)
        parent = telemetry.remote_context(envelopes[0].traceparent)
        with telemetry.tracer().start_as_current_span(f"consume {self.name}", context=parent) as span:
            span.set_attribute("messaging.batch.message_count", len(envelopes))
            return await self._handler(connection, envelopes)

    def decode(self, data: bytes) -> Envelope[Any] | None:
        """Read a message; None when its type is none of ours.

        Raises:
            msgspec.MsgspecError: the bytes are not what the contract says.
        """
        if self._single is not None:
            try:
                envelope = self._single.decode(data)
            except msgspec.ValidationError:
                # A later version on the same subject need not look like ours.
                if self._header.decode(data).type in self._decoders:
                    raise
                return None
            return envelope if envelope.type in self._decoders else None
        decoder = self._decoders.get(self._header.decode(data).type)
        return None if decoder is None else decoder.decode(data)

    async def replay(self, database: Database, refused: Refused) -> str | None:
        """Hand one dead letter to the handler again. Returns None, or the reason it was refused again."""
        try:
            envelope = self.decode(refused.payload)
            if envelope is not None:
                if (reason := _foreign(envelope, refused.subject)) is not None:
                    return reason
                async with database.system() as connection:
                    committed = await self._hand_over(connection, [envelope])
                if committed is not None:
                    committed()
        except Exception as error:
            if is_transient(error):
                raise
            return str(error) or repr(error)
        return None

    def _refusal(self, message: Msg, reason: str) -> Refused:
        headers = message.headers or {}
        return Refused(
            consumer=self.name,
            subject=message.subject,
            message_id=headers.get("Nats-Msg-Id") or f"{self.stream}:{message.metadata.sequence.stream}",
            tenant=tenant_of(message.subject),
            # PostgreSQL's text cannot hold NUL, which a reason may quote from a message.
            reason=reason[:2000].replace("\0", "\\0"),
            payload=message.data,
        )


def _is_final(error: Exception) -> bool:
    """Whether no later try can end otherwise: refused by the handler, or not storable as data (SQLSTATE 22)."""
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return isinstance(error, AgoraError | ValueError) or str(state or "").startswith("22")


def _foreign(envelope: Envelope[Any], subject: str) -> str | None:
    """Why an event may not come on this subject; None when it may. A sender's rights hang on the subject's tenant."""
    if envelope.tenant == tenant_of(subject):
        return None
    return f"says tenant {envelope.tenant!r} on another tenant's subject"


async def _hand_back(messages: list[Msg]) -> None:
    for message in messages:
        delivered = message.metadata.num_delivered
        await message.nak(delay=_NAK_SECONDS[min(delivered, len(_NAK_SECONDS)) - 1])
