"""What happens to runs now, over core NATS, dispatched to the streams of this process that follow them.

Nothing here is reliable, and need not be: a feed that loses messages says so, and its stream reads the run's
journal. One subscription serves all runs' events; it exists only while somebody listens.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

import msgspec
import nats.errors
import structlog
from agora_contracts.subjects import live_subject, tenant_of
from agora_kit.broker import Broker
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

log = structlog.get_logger()

EVENTS = "agora.evt.*.execution.>"
WAITING_MAX = 256
_TYPE_HEAD, _TYPE_TAIL = "agora.", ".v1"

type RunKey = tuple[str, str]


class LiveEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A durable event, seen as it was published. `seq` is its place in the run's journal."""

    type: str
    seq: int
    data: dict[str, Any]


class LiveProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is stored nowhere, as it came."""

    data: bytes


class _Envelope(msgspec.Struct, frozen=True):
    type: str
    subject: str
    data: msgspec.Raw
    sequence: int = 0


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class Feed:
    """What one stream has still to read, at most `WAITING_MAX` messages."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self.closed = False
        self._waiting_max = waiting_max
        self._lost = False
        self._items: deque[LiveEvent | LiveProgress] = deque()
        self._arrived = asyncio.Event()

    def put(self, item: LiveEvent | LiveProgress) -> None:
        """Add a message; when the reader is too slow forget them all, the journal has those that count."""
        if len(self._items) >= self._waiting_max:
            self._items.clear()
            self._lost = True
        self._items.append(item)
        self._arrived.set()

    def close(self) -> None:
        """Tell the reader that there will be no more."""
        self.closed = True
        self._arrived.set()

    async def next(self, seconds: float) -> LiveEvent | LiveProgress | None:
        """The next message; None when there is a reason to look into the journal instead.

        Reasons: nothing came for so many seconds, messages were lost, or the feed is closed.
        """
        if not self._items and not self.closed:
            self._arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), seconds)
        if self._lost:
            self._lost = False
            return None
        return self._items.popleft() if self._items else None


class _Topic:
    __slots__ = ("feeds", "subscription")

    def __init__(self) -> None:
        self.feeds: set[Feed] = set()
        self.subscription: Subscription | None = None


class RunFeeds:
    """Opens and closes feeds, and holds the subscriptions that they need."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._topics: dict[RunKey, _Topic] = {}
        self._events: Subscription | None = None
        self._lock = asyncio.Lock()
        self._dropping: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def count(self) -> int:
        """How many feeds are open."""
        return sum(len(topic.feeds) for topic in self._topics.values())

    async def open(self, tenant: str, run: str) -> Feed:
        """Follow a run. What is published after this returns reaches the feed."""
        feed = Feed()
        topic = self._topics.setdefault((tenant, run), _Topic())
        topic.feeds.add(feed)
        try:
            async with self._lock:
                await self._subscribe(topic, tenant, run)
        except BaseException:
            self.discard(feed, tenant, run)
            raise
        if self._closed:
            feed.close()
        return feed

    def discard(self, feed: Feed, tenant: str, run: str) -> None:
        """Follow a run no longer."""
        topic = self._topics.get((tenant, run))
        if topic is None:
            return
        topic.feeds.discard(feed)
        if not topic.feeds:
            del self._topics[tenant, run]
            self._drop(topic.subscription)
        if not self._topics:
            self._drop(self._events)
            self._events = None

    async def close(self) -> None:
        """End every stream, so that the server can stop; their readers come back to another replica."""
        self._closed = True
        for topic in list(self._topics.values()):
            for feed in list(topic.feeds):
                feed.close()

    async def _subscribe(self, topic: _Topic, tenant: str, run: str) -> None:
        client = self._broker.client
        if self._events is None:
            self._events = await client.subscribe(EVENTS, cb=self._on_event)
        if topic.subscription is None:

            async def on_progress(message: Msg) -> None:
                for feed in topic.feeds:
                    feed.put(LiveProgress(data=message.data))

            topic.subscription = await client.subscribe(live_subject(tenant, run), cb=on_progress)
        # So that the journal is not read before the server knows of the subscription. Where the server is slow
        # the stream begins all the same: it looks into the journal again when nothing comes.
        with suppress(TimeoutError):
            await self._broker.round_trip()

    async def _on_event(self, message: Msg) -> None:
        envelope = _decode_envelope(message.data)
        topic = self._topics.get((tenant_of(message.subject), envelope.subject))
        if topic is None:
            return
        data = msgspec.json.decode(envelope.data)
        event = LiveEvent(
            type=envelope.type.removeprefix(_TYPE_HEAD).removesuffix(_TYPE_TAIL),
            seq=int(data.get("seq") or envelope.sequence),
            data=data,
        )
        for feed in topic.feeds:
            feed.put(event)

    def _drop(self, subscription: Subscription | None) -> None:
        if subscription is not None:
            task = asyncio.create_task(_unsubscribe(subscription))
            self._dropping.add(task)
            task.add_done_callback(self._dropping.discard)


async def _unsubscribe(subscription: Subscription) -> None:
    with suppress(nats.errors.Error):
        await subscription.unsubscribe()
