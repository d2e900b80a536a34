"""Pulling from a durable consumer of JetStream, ahead of use.

`fetch` of nats-py waits for every message by itself, which was two thirds of what a message cost; here they
arrive by callback while the batch before them is applied, and are taken all at once. No more are asked for
than two batches, which bounds what waits in memory.
"""

import asyncio
import time
from collections import deque
from contextlib import suppress

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

_EXPIRES_SECONDS = 5.0
_CHECK_SECONDS = 1.0
_EXPIRED = "408"


class _Request(msgspec.Struct, frozen=True):
    """What JetStream is asked for."""

    batch: int
    expires: int


class Pull:
    """The messages of one durable consumer, for one process of those that share it.

    Args:
        connection: a connected NATS client.
        stream: the stream's name.
        durable: the consumer's name; it exists.
        batch_max: the most messages that `take` returns.
    """

    def __init__(self, connection: Client, stream: str, durable: str, *, batch_max: int) -> None:
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._inbox = connection.new_inbox()
        self._batch_max = batch_max
        self._arrived: deque[Msg] = deque()
        self._wake = asyncio.Event()
        self._subscription: Subscription | None = None
        self._refusal: str | None = None
        self._forget_requests()

    def _forget_requests(self) -> None:
        self._requested = 0
        self._requested_at = time.monotonic()
        self._reconnects = self._connection.stats["reconnects"]

    async def open(self) -> None:
        """Begin to receive."""
        self._subscription = await self._connection.subscribe(self._inbox, cb=self._receive)

    async def close(self) -> list[Msg]:
        """Receive nothing more. Returns what arrived and was not taken, to be handed back."""
        if self._subscription is not None:
            with suppress(Exception):
                await self._subscription.unsubscribe()
        left = list(self._arrived)
        self._arrived.clear()
        return left

    async def take(self, linger_seconds: float) -> list[Msg]:
        """Wait for messages and take those that are there, in order; fewer than a batch linger for more.

        Raises:
            ConnectionError: JetStream refused; the consumer may be gone and has to be set up again.
        """
        while not self._arrived:
            if self._refusal is not None:
                raise ConnectionError(f"JetStream refused to deliver: {self._refusal}")
            self._wake.clear()
            await self._request()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _CHECK_SECONDS)
        if len(self._arrived) < self._batch_max:
            await asyncio.sleep(linger_seconds)
        count = min(len(self._arrived), self._batch_max)
        batch = [self._arrived.popleft() for _ in range(count)]
        await self._request()
        return batch

    async def _request(self) -> None:
        """Ask for more, unless a good part of a batch is on its way or waits."""
        silent = time.monotonic() - self._requested_at
        if self._connection.stats["reconnects"] != self._reconnects or silent > 2 * _EXPIRES_SECONDS:
            # The server forgets requests when the connection breaks.
            self._forget_requests()
        missing = self._batch_max - self._requested - len(self._arrived)
        if missing > self._batch_max // 2:
            request = _Request(batch=missing, expires=int(_EXPIRES_SECONDS * 1e9))
            self._requested += missing
            self._requested_at = time.monotonic()
            await self._connection.publish(self._subject, msgspec.json.encode(request), reply=self._inbox)

    async def _receive(self, message: Msg) -> None:
        if message.reply:
            self._arrived.append(message)
            self._requested = max(self._requested - 1, 0)
        else:
            self._receive_status(message.headers or {})
        self._wake.set()

    def _receive_status(self, headers: dict[str, str]) -> None:
        """A request ended: it expired with a rest, which the server names, or it was refused."""
        if headers.get("Status") == _EXPIRED:
            rest = int(headers.get("Nats-Pending-Messages", self._batch_max))
            self._requested = max(self._requested - rest, 0)
        else:
            self._refusal = f"{headers.get('Status')} {headers.get('Description', '')}".strip()
