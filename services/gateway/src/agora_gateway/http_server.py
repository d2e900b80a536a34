"""The HTTP server, inside the service's process and event loop."""

import asyncio
import logging
import socket
from typing import Any

import structlog
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

log = structlog.get_logger()

_BIND_SECONDS = 5.0


class HttpServer:
    """Serves an ASGI app on `host` and `port`; port 0 takes a free one (see `port`)."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self.port = port or _free_port(host)
        self._server: Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Raises what the socket raises when the port is taken."""
        logging.getLogger("_granian").setLevel(logging.ERROR)
        _check_free(self._host, self.port)
        self._server = Server(
            self._app,
            address=self._host,
            port=self.port,
            interface=Interfaces.ASGINL,
            websockets=True,
            backlog=1024,
            http1_settings=HTTP1Settings(keep_alive=True),
            log_enabled=False,
        )
        self._task = asyncio.create_task(self._server.serve(), name="http")
        await self._wait_until_bound()
        log.info("listening", host=self._host, port=self.port)

    async def check(self) -> None:
        """Raise when the server has ended by itself: nobody else would hear of it."""
        if self._task is not None and self._task.done():
            raise ConnectionError("the HTTP server has ended")

    async def stop(self, seconds: float) -> None:
        """Take no more connections and let requests at hand end, for at most so many seconds."""
        if self._server is None or self._task is None:
            return
        self._server.stop()  # type: ignore[no-untyped-call]
        try:
            await asyncio.wait_for(self._task, seconds)
        except TimeoutError:
            log.warning("requests were cut off", after_seconds=seconds)

    async def _wait_until_bound(self) -> None:
        assert self._task is not None
        async with asyncio.timeout(_BIND_SECONDS):
            while True:
                if self._task.done():
                    self._task.result()
                    raise RuntimeError("the HTTP server ended")
                try:
                    _, writer = await asyncio.open_connection(self._host, self.port)
                except OSError:
                    await asyncio.sleep(0.01)
                    continue
                writer.close()
                return


def _check_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(f"port {port} on {host} is taken; set AGORA_HTTP_PORT to a free one") from error


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
