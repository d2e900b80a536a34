"""The database behind a gate that can be shut: connections through it are cut, and new ones refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from agora_kit.database import Database
from agora_kit.provision import DatabaseUrls
from sqlalchemy import make_url


class Gate:
    """Passes on to the real database what comes to `port`."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._to = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def open(self) -> None:
        """Let connections through, at the same port as before."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def shut(self) -> None:
        """Cut what is connected, and refuse whoever comes."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection(self._host, self._to)
        self._writers |= {writer, other_writer}
        await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))
        self._writers -= {writer, other_writer}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def gated(urls: DatabaseUrls) -> AsyncIterator[tuple[Gate, Database]]:
    """A database behind a gate, which is open at first."""
    url = make_url(urls.app)
    assert url.host is not None
    gate = Gate(url.host, url.port or 5432)
    await gate.open()

    def through(address: str) -> str:
        changed = make_url(address).set(host="127.0.0.1", port=gate.port)
        return changed.render_as_string(hide_password=False)

    database = Database(through(urls.app), through(urls.system), pool_size=4)
    try:
        yield gate, database
    finally:
        await database.close()
        gate.shut()
