"""Messages that integrators publish themselves: handed over in batches, acknowledged after the commit."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import nats.js.errors
import pytest
from agora_contracts.subjects import INGEST_STREAM, ingest_subject
from agora_kit import dead_letters, durable
from agora_kit.database import Database
from agora_kit.inbound import Inbound, InboundConsumer
from nats.aio.client import Client
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

type Until = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

SUBJECT = ingest_subject("ten_1", "weather")
STORE = text("INSERT INTO notes (tenant_id, id, body) VALUES ('ten_1', :id, :body) ON CONFLICT DO NOTHING")


@pytest.fixture(autouse=True)
def quick_redelivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed back comes again at once."""
    monkeypatch.setattr(durable, "_NAK_SECONDS", (0.01,))


class Notes:
    """A handler that writes a note per message, and fails on what a test tells it to."""

    def __init__(self) -> None:
        self.seen: list[Inbound] = []
        self.failing: dict[bytes, Exception] = {}

    async def apply(self, connection: AsyncConnection, messages: Sequence[Inbound]) -> None:
        """Write the notes."""
        for message in messages:
            self.seen.append(message)
            await connection.execute(STORE, {"id": message.payload.decode(), "body": message.subject})
            if error := self.failing.get(message.payload):
                raise error


@asynccontextmanager
async def consuming(client: Client, database: Database, notes: Notes) -> AsyncIterator[InboundConsumer]:
    """A consumer of the integrators' stream that runs."""
    consumer = InboundConsumer("metering-ingest", INGEST_STREAM, notes.apply)
    task = asyncio.create_task(consumer.run(client, database))
    try:
        yield consumer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def noted(database: Database) -> list[str]:
    """The ids of all notes, in order."""
    async with database.system() as connection:
        return list((await connection.execute(text("SELECT id FROM notes ORDER BY id"))).scalars())


async def left(client: Client) -> int:
    """How many messages the stream still keeps."""
    return (await client.jetstream().stream_info("INGEST")).state.messages


async def test_messages_are_kept_until_they_are_applied(client: Client, database: Database, until: Until):
    """
    What was published before anybody listened is applied, with its subject and the time at which the stream had it;
    what is applied the stream keeps no longer.
    """
    before = datetime.now(UTC) - timedelta(minutes=1)
    for name in ("a", "b", "c"):
        await client.jetstream().publish(SUBJECT, name.encode())
    assert 3 == await left(client)
    notes = Notes()
    async with consuming(client, database, notes):

        async def gone() -> bool:
            return await left(client) == 0

        await until(gone)

    assert ["a", "b", "c"] == await noted(database)
    assert {SUBJECT} == {message.subject for message in notes.seen}
    assert all(before < message.at <= datetime.now(UTC) + timedelta(minutes=1) for message in notes.seen)


async def test_a_failing_message_holds_back_none_and_can_be_replayed(
    client: Client, database: Database, until: Until
):
    """
    A message on which the handler fails becomes a dead letter, its neighbours are applied, and a replay is
    handed the time at which it came first.
    """
    notes = Notes()
    notes.failing = {b"b": ValueError("no note for b"), b"d": RuntimeError("a mistake")}
    for name in ("a", "b", "c", "d"):
        await client.jetstream().publish(SUBJECT, name.encode())
    async with consuming(client, database, notes) as consumer:

        async def buried() -> list[Any]:
            async with database.system() as connection:
                found = await dead_letters.lock_for_replay(connection, [])
            return found if len(found) == 2 else []

        letters = await until(buried)
        assert ["no note for b", "a mistake"] == [letter.reason for _, letter in letters]
        assert ["a", "c"] == await noted(database)
        assert "no note for b" == await consumer.replay(database, letters[0][1])
        notes.failing.clear()
        assert None is await consumer.replay(database, letters[0][1])

    assert ["a", "b", "c"] == await noted(database)
    assert 1 == len({message.at for message in notes.seen if message.payload == b"b"})


async def test_a_passing_failure_is_tried_again(client: Client, database: Database, until: Until):
    """
    While the database is away nothing is lost and nothing buried.
    """
    notes = Notes()
    notes.failing = {b"a": ConnectionResetError("away")}
    await client.jetstream().publish(SUBJECT, b"a")
    async with consuming(client, database, notes):

        async def tried() -> bool:
            return len(notes.seen) > 2

        await until(tried)
        assert [] == await noted(database)
        notes.failing.clear()

        async def applied() -> bool:
            return await noted(database) == ["a"]

        await until(applied)


async def test_a_message_that_is_too_large_is_refused_to_its_sender(client: Client):
    """
    The stream takes no message beyond its bound, and whoever publishes one hears so.
    """
    with pytest.raises(nats.js.errors.APIError, match="message size exceeds maximum"):
        await client.jetstream().publish(SUBJECT, b"x" * 70_000)


async def test_one_integrator_cannot_suppress_anothers_messages(client: Client):
    """
    JetStream's own deduplication, whose key any sender may choose, is over before anybody could use it so.
    """
    info = await client.jetstream().stream_info("INGEST")

    assert info.config.duplicate_window is not None and info.config.duplicate_window <= 0.1
