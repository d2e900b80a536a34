"""Refusals that arrive: a client that is still sending would see a broken connection instead of the answer."""

import asyncio
from contextlib import suppress
from typing import Any

from litestar.types import Receive, Send

_REFUSAL = 400
_BYTES_MAX = 32 * 1024 * 1024
_SECONDS = 10.0


class Unread:
    """Wraps a request's channels: before a refusal is sent, what is left of the body is read and dropped.

    Up to 32 MiB and ten seconds. Whoever announces more, or waits for leave to send, gets the refusal at
    once.
    """

    def __init__(self, headers: list[tuple[bytes, bytes]], receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._more = _worth_reading(headers)

    async def receive(self) -> Any:
        """The next part of the body, for the routes."""
        message: Any = await self._receive()
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Any) -> None:
        """Send, a refusal only when the body is out of the way."""
        if self._more and message["type"] == "http.response.start" and message["status"] >= _REFUSAL:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._drain(), _SECONDS)
        await self._send(message)

    async def _drain(self) -> None:
        dropped = 0
        while self._more and dropped < _BYTES_MAX:
            message = await self.receive()
            dropped += len(message.get("body", b""))


def _worth_reading(headers: list[tuple[bytes, bytes]]) -> bool:
    for name, value in headers:
        if name == b"expect":
            return False
        if name == b"content-length" and value.isdigit() and int(value) > _BYTES_MAX:
            return False
    return True
