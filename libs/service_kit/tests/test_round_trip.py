"""What a round trip to NATS proves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from agora_kit.broker import Broker
from nats.aio.msg import Msg


@asynccontextmanager
async def overheard(url: str) -> AsyncIterator[tuple[str, bytearray]]:
    """The URL of a way to NATS on which everything that a client sends is written down."""
    target = urlsplit(url)
    sent = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection(target.hostname, target.port)
        returning = asyncio.create_task(_pass_on(onward, writer, bytearray()))
        await _pass_on(reader, back, sent)
        returning.cancel()
        back.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield url.replace(str(target.port), str(port)), sent
    finally:
        server.close()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, noted: bytearray) -> None:
    while data := await source.read(65_536):
        noted += data
        target.write(data)
        await target.drain()


async def test_a_round_trip_comes_after_what_was_said_before(nats_url: str):
    """
    A subscription that is made just before it has reached the server when it returns.
    """

    async def ignore(_: Msg) -> None:
        """Nothing is published here."""

    async with overheard(nats_url) as (url, sent):
        broker = Broker(url, "gateway")
        await broker.start()
        del sent[:]
        await broker.client.subscribe("agora.live.ten_1.run_1", cb=ignore)
        await broker.round_trip()
        said = sent.decode()
        await broker.stop()

    assert 0 <= said.find("SUB agora.live.ten_1.run_1") < said.find("PING")
