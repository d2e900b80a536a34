"""Batch consumers of JetStream events: applied once, in the database transaction that the ack follows.

A batch is one transaction. What cannot be decoded, or is refused each time it is tried alone, becomes a
dead letter with its reason; what fails for a passing cause (database away) is handed back and comes again.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog
from agora_contracts.catalogue import EVENTS, EventSpec
from agora_contracts.envelope import Envelope
from agora_contracts.subjects import tenant_of
from nats.aio.msg import Msg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_kit import dead_letters, failpoints, telemetry
from agora_kit.database import Database, is_transient
from agora_kit.dead_letters import Refused
from agora_kit.durable import TRIES, DurableConsumer, hand_back, is_final

log = structlog.get_logger()

type AfterCommit = Callable[[], None]

type Handler = Callable[[AsyncConnection, Sequence[Envelope[Any]]], Awaitable[AfterCommit | None]]
"""Applies a batch inside the given transaction. May see an event late, out of order, or, without an inbox,
again; raises `AgoraError` or `ValueError` for what it will never accept. What it returns is called once the
transaction is committed."""

_INBOX = text("""
    INSERT INTO inbox (consumer, message_id)
    SELECT :consumer, * FROM unnest(CAST(:ids AS text[]))
    ON CONFLICT DO NOTHING RETURNING message_id
""")


class _Header(msgspec.Struct, frozen=True):
    """What is read of an envelope first: enough to choose the decoder."""

    type: str


class EventConsumer(DurableConsumer):
    """Takes events of some types from one stream to one handler.

    Args:
        name: the durable's name, such as `billing-usage-closed`; also the inbox's key.
        events: event types it understands; others on its subjects are acknowledged and left alone.
        handler: applies a batch in a transaction.
        inbox: whether to drop redelivered events by id before the handler sees them. Without it the
            handler deduplicates by means of its own.
        batch_max: the most messages in a transaction.
        linger_seconds: how long to gather more once the first message is there.
        batches_at_once: how many batches are applied side by side. More than one is for handlers that do not mind
            in which order events come, and whose transactions do not wait for each other.
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
        batches_at_once: int = 1,
    ) -> None:
        specs: list[EventSpec] = [EVENTS[event] for event in events]
        streams = {spec.stream.name for spec in specs}
        if len(streams) != 1:
            raise ValueError(f"{name}: a consumer reads one stream, not {sorted(streams)}")
        super().__init__(
            name,
            streams.pop(),
            [f"agora.evt.*.{spec.path}" for spec in specs],
            batch_max=batch_max,
            linger_seconds=linger_seconds,
            batches_at_once=batches_at_once,
        )
        self._decoders = {spec.type: msgspec.json.Decoder(Envelope[spec.data]) for spec in specs}  # type: ignore[name-defined]
        self._single = next(iter(self._decoders.values())) if len(specs) == 1 else None
        self._handler = handler
        self._inbox = inbox
        self._header = msgspec.json.Decoder(_Header)

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
                await hand_back(messages)
                return
            await self._apply_singly(good, refused, database)
            return
        if committed is not None:
            committed()
        for message in messages:
            await message.ack()
        failpoints.reach("after_ack")

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
                final = is_final(error) or message.metadata.num_delivered >= TRIES
                if is_transient(error) or not final:
                    log.warning(
                        "message handed back", consumer=self.name, event_id=envelope.id, error=repr(error)
                    )
                    await hand_back([message])
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


def _foreign(envelope: Envelope[Any], subject: str) -> str | None:
    """Why an event may not come on this subject; None when it may. A sender's rights hang on the subject's tenant."""
    if envelope.tenant == tenant_of(subject):
        return None
    return f"says tenant {envelope.tenant!r} on another tenant's subject"
