"""Messages from outside, as they came: a stream that integrators publish to themselves, read in batches.

What they sent is for the handler to judge: it keeps and refuses by rules of its own. A message is acknowledged after
the commit; one that the handler fails on for no passing cause becomes a dead letter.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import msgspec
import structlog
from agora_contracts.subjects import Stream, tenant_of
from nats.aio.msg import Msg
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_kit import dead_letters, failpoints
from agora_kit.database import Database, is_transient
from agora_kit.dead_letters import Refused
from agora_kit.durable import TRIES, DurableConsumer, hand_back, is_final

log = structlog.get_logger()


class Inbound(msgspec.Struct, frozen=True, kw_only=True):
    """One message: on which subject, its bytes, and when the stream received it."""

    subject: str
    payload: bytes
    at: datetime


type InboundHandler = Callable[[AsyncConnection, Sequence[Inbound]], Awaitable[None]]
"""Applies a batch inside the given transaction. May see a message again."""


class InboundConsumer(DurableConsumer):
    """Takes the messages of one stream to one handler.

    Args:
        name: the durable's name, such as `metering-ingest`.
        stream: the stream; all of its subjects.
        handler: applies a batch in a transaction.
        batch_max: the most messages in a transaction.
        linger_seconds: how long to gather more once the first message is there.
    """

    def __init__(
        self,
        name: str,
        stream: Stream,
        handler: InboundHandler,
        *,
        batch_max: int = 500,
        linger_seconds: float = 0.012,
    ) -> None:
        super().__init__(
            name, stream.name, stream.subjects, batch_max=batch_max, linger_seconds=linger_seconds
        )
        self._handler = handler

    async def _apply(self, messages: list[Msg], database: Database) -> None:
        try:
            async with database.system() as connection:
                await self._handler(connection, [_inbound(message) for message in messages])
        except Exception as error:
            if is_transient(error):
                log.warning(
                    "batch handed back", consumer=self.name, messages=len(messages), error=repr(error)
                )
                await hand_back(messages)
                return
            for message in messages:
                await self._apply_one(message, database)
            return
        for message in messages:
            await message.ack()
        failpoints.reach("after_ack")

    async def _apply_one(self, message: Msg, database: Database) -> None:
        try:
            async with database.system() as connection:
                await self._handler(connection, [_inbound(message)])
        except Exception as error:
            final = is_final(error) or message.metadata.num_delivered >= TRIES
            if is_transient(error) or not final:
                log.warning("message handed back", consumer=self.name, error=repr(error))
                await hand_back([message])
                return
            log.error("message refused", consumer=self.name, error=repr(error))
            async with database.system() as connection:
                await dead_letters.bury(connection, [self._refusal(message, str(error) or repr(error))])
        await message.ack()

    async def replay(self, database: Database, refused: Refused) -> str | None:
        """Hand one dead letter to the handler again. Returns None, or the reason it was refused again."""
        at = datetime.fromisoformat(refused.message_id.rpartition("@")[2])
        message = Inbound(subject=refused.subject, payload=refused.payload, at=at)
        try:
            async with database.system() as connection:
                await self._handler(connection, [message])
        except Exception as error:
            if is_transient(error):
                raise
            return str(error) or repr(error)
        return None

    def _refusal(self, message: Msg, reason: str) -> Refused:
        # The stream does not keep what was acknowledged: when it came goes along in the id.
        place = message.metadata.sequence.stream
        return Refused(
            consumer=self.name,
            subject=message.subject,
            message_id=f"{self.stream}:{place}@{message.metadata.timestamp.isoformat()}",
            tenant=tenant_of(message.subject),
            # PostgreSQL's text cannot hold NUL, which a reason may quote from a message.
            reason=reason[:2000].replace("\0", "\\0"),
            payload=message.data,
        )


def _inbound(message: Msg) -> Inbound:
    return Inbound(subject=message.subject, payload=message.data, at=message.metadata.timestamp)
