"""Pulling from a durable consumer on a real NATS server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from agora_kit.pull import Pull
from agora_local.parts import Nats
from agora_local.ports import free_ports
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

_LINGER_SECONDS = 0.003


async def prepare(connection: Client) -> None:
    """Make the stream S with the durable D."""
    stream = connection.jetstream()
    await stream.add_stream(StreamConfig(name="S", subjects=["s.>"]))
    await stream.add_consumer("S", ConsumerConfig(durable_name="D", ack_policy=AckPolicy.EXPLICIT))


async def say(connection: Client, *texts: str) -> None:
    """Put messages on the stream."""
    for text in texts:
        await connection.jetstream().publish("s.x", text.encode())


@pytest.fixture
async def connection(nats_url: str) -> AsyncIterator[Client]:
    """A connection whose account has the stream and the durable."""
    connection = await nats.connect(nats_url)
    await prepare(connection)
    yield connection
    await connection.close()


@pytest.fixture
async def pull(connection: Client) -> AsyncIterator[Pull]:
    """An open pull that takes at most three messages."""
    pull = Pull(connection, "S", "D", batch_max=3)
    await pull.open()
    yield pull
    await pull.close()


async def take(pull: Pull) -> list[str]:
    """What the next batch says; it is acknowledged."""
    async with asyncio.timeout(20):
        messages = await pull.take(_LINGER_SECONDS)
    for message in messages:
        await message.ack()
    return [message.data.decode() for message in messages]


async def test_a_lone_message_does_not_wait_for_others(connection: Client, pull: Pull) -> None:
    """
    A batch need not be full: what is there is taken, also when it comes while somebody waits.
    """
    waiting = asyncio.create_task(take(pull))
    await asyncio.sleep(0.1)
    await say(connection, "a")

    assert await waiting == ["a"]


async def test_a_backlog_is_taken_in_order_in_full_batches(connection: Client, pull: Pull) -> None:
    """
    Everything comes, once, in the order of the stream, and never more than a batch at a time.
    """
    await say(connection, *"abcdefgh")
    batches: list[list[str]] = []
    while sum(map(len, batches)) < 8:
        batches.append(await take(pull))

    assert [text for batch in batches for text in batch] == list("abcdefgh")
    assert max(map(len, batches)) <= 3


async def test_what_was_not_taken_is_left_for_others(connection: Client, pull: Pull) -> None:
    """
    A pull that closes returns what it had received, so that another gets it at once.
    """
    await say(connection, *"abcde")
    first = await take(pull)
    # Time for the next batch to arrive; when it has not, there is less to hand back and the outcome the same.
    await asyncio.sleep(0.1)
    for message in await pull.close():
        await message.nak()

    other = Pull(connection, "S", "D", batch_max=10)
    await other.open()
    rest: list[str] = []
    while len(first) + len(rest) < 5:
        rest += await take(other)
    await other.close()
    assert sorted(first + rest) == list("abcde")


async def test_a_consumer_that_is_gone_is_an_error(connection: Client, pull: Pull) -> None:
    """
    When the durable is deleted, whoever waits learns it and can set it up again.
    """
    waiting = asyncio.create_task(take(pull))
    await asyncio.sleep(0.1)
    await connection.jetstream().delete_consumer("S", "D")

    with pytest.raises(ConnectionError, match="JetStream refused to deliver"):
        await waiting


async def test_a_server_that_was_killed_is_asked_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    A request that the server forgot when it was killed is made again after the reconnection.
    """
    folder: Path = tmp_path_factory.mktemp("nats")
    ports = free_ports(2)
    with Nats(folder, *ports) as server:
        back = asyncio.Event()

        async def reconnected() -> None:
            back.set()

        connection = await nats.connect(
            server.url,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,
            error_cb=_ignore,
            reconnected_cb=reconnected,
        )
        await prepare(connection)
        pull = Pull(connection, "S", "D", batch_max=3)
        await pull.open()
        waiting = asyncio.create_task(take(pull))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await asyncio.wait_for(back.wait(), 20)
        await say(connection, "after")

        assert await waiting == ["after"]
        await pull.close()
        await connection.close()


async def _ignore(_: Exception) -> None:
    """Losing the connection is the point of the test."""
