"""What happens to runs now, over core NATS, dispatched to the streams of this process that follow them.

Nothing here is reliable, and need not be: a feed that loses messages says how many, and its stream reads the run's
journal and asks for the texts. One subscription serves all runs' events, and one each run's live messages, whoever
follows it here; they exist only while somebody listens.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import nats.errors
import structlog
from agora_contracts.live import LiveMessage, TextSnapshot, decode_live
from agora_contracts.subjects import live_ask_subject, live_subject, tenant_of
from agora_kit.broker import Broker
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from agora_gateway.edge.per_tenant import PerTenant
from agora_gateway.runs.model import Skipped

log = structlog.get_logger()

EVENTS = "agora.evt.*.execution.>"
WAITING_MAX = 256
WAITING_BYTES_MAX = 1024 * 1024
STREAMS_PER_TENANT_MAX = 200
_ASK_AGAIN_SECONDS = 0.2
_TYPE_HEAD, _TYPE_TAIL = "agora.", ".v1"

type RunKey = tuple[str, str]


class LiveEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A durable event, seen as it was published. `seq` is its place in the run's journal."""

    type: str
    seq: int
    data: dict[str, Any]
    size: int = 0


class Heard(msgspec.Struct, kw_only=True):
    """A live message, read once for all who follow the run here; `shown` is its public form, once somebody made it."""

    message: LiveMessage
    size: int = 0
    shown: bytes | None = None


type Item = LiveEvent | Heard


class _Envelope(msgspec.Struct, frozen=True):
    type: str
    subject: str
    data: msgspec.Raw
    sequence: int = 0


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class Feed:
    """What one stream has still to read: at most `WAITING_MAX` messages of `WAITING_BYTES_MAX` bytes together."""

    def __init__(self, waiting_max: int = WAITING_MAX, bytes_max: int = WAITING_BYTES_MAX) -> None:
        self.closed = False
        self._waiting_max = waiting_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._skipped = Skipped(events=0, messages=0)
        self._items: deque[Item] = deque()
        self._arrived = asyncio.Event()

    def put(self, item: Item) -> None:
        """Add a message; when the reader is too slow forget all that wait, and count them."""
        if len(self._items) >= self._waiting_max or self._bytes + item.size > self._bytes_max:
            self._forget()
        self._items.append(item)
        self._bytes += item.size
        self._arrived.set()

    def close(self) -> None:
        """Tell the reader that there will be no more."""
        self.closed = True
        self._arrived.set()

    async def next(self, seconds: float) -> Item | Skipped | None:
        """The next message, or how many were skipped before it; None when nothing came for so many seconds.

        None as well when the feed is closed and empty.
        """
        if not self._items and not self.closed:
            self._arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), seconds)
        if self._skipped.events or self._skipped.messages:
            skipped, self._skipped = self._skipped, Skipped(events=0, messages=0)
            return skipped
        if not self._items:
            return None
        item = self._items.popleft()
        self._bytes -= item.size
        return item

    def _forget(self) -> None:
        events = sum(isinstance(item, LiveEvent) for item in self._items)
        self._skipped = Skipped(
            events=self._skipped.events + events,
            messages=self._skipped.messages + len(self._items) - events,
        )
        self._items.clear()
        self._bytes = 0


class _Topic:
    """A run that is followed here."""

    __slots__ = ("asked_at", "feeds", "subscription")

    def __init__(self) -> None:
        self.feeds: set[Feed] = set()
        self.subscription: Subscription | None = None
        self.asked_at: float | None = None

    def put(self, item: Item) -> None:
        for feed in self.feeds:
            feed.put(item)


class RunFeeds:
    """Opens and closes feeds, and holds the subscriptions that they need."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._topics: dict[RunKey, _Topic] = {}
        self._events: Subscription | None = None
        self._lock = asyncio.Lock()
        self._dropping: set[asyncio.Task[None]] = set()
        self.streams = PerTenant("streams of events", STREAMS_PER_TENANT_MAX)
        """Streams of server-sent events that are open here."""
        self.closing = asyncio.Event()
        """Set when this process stops: whatever goes on for long is to end."""

    @property
    def count(self) -> int:
        """How many feeds are open."""
        return sum(len(topic.feeds) for topic in self._topics.values())

    @property
    def runs(self) -> int:
        """How many runs are followed, each with one subscription."""
        return len(self._topics)

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
        if self.closing.is_set():
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

    async def ask(self, tenant: str, run: str) -> None:
        """Ask the workers for a run's texts so far. They come to all its feeds; one question at a time is enough."""
        topic = self._topics.get((tenant, run))
        now = time.monotonic()
        if topic is None or (topic.asked_at is not None and now - topic.asked_at < _ASK_AGAIN_SECONDS):
            return
        topic.asked_at = now
        with suppress(nats.errors.Error, OSError):
            await self._broker.client.publish(live_ask_subject(tenant, run))

    async def start(self) -> None:
        """Let streams be opened, also after a stop."""
        self.closing.clear()

    async def close(self) -> None:
        """End every stream, so that the server can stop; their readers come back to another replica."""
        self.closing.set()
        for topic in list(self._topics.values()):
            for feed in list(topic.feeds):
                feed.close()

    async def _subscribe(self, topic: _Topic, tenant: str, run: str) -> None:
        client = self._broker.client
        if self._events is None:
            self._events = await client.subscribe(EVENTS, cb=self._on_event)
        elif topic.subscription is not None:
            return
        if topic.subscription is None:

            async def on_live(message: Msg) -> None:
                for item in _heard(message.data):
                    if isinstance(item.message, TextSnapshot):
                        topic.asked_at = None
                    topic.put(item)

            topic.subscription = await client.subscribe(live_subject(tenant, run), cb=on_live)
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
        topic.put(
            LiveEvent(
                type=envelope.type.removeprefix(_TYPE_HEAD).removesuffix(_TYPE_TAIL),
                seq=int(data.get("seq") or envelope.sequence),
                data=data,
                size=len(message.data),
            )
        )

    def _drop(self, subscription: Subscription | None) -> None:
        if subscription is not None:
            task = asyncio.create_task(_unsubscribe(subscription))
            self._dropping.add(task)
            task.add_done_callback(self._dropping.discard)


def _heard(data: bytes) -> Iterator[Heard]:
    """A live message; nothing of one that is newer than this process, or none at all."""
    try:
        yield Heard(message=decode_live(data), size=len(data))
    except msgspec.DecodeError as error:
        log.debug("live message not understood", error=str(error))


async def _unsubscribe(subscription: Subscription) -> None:
    with suppress(nats.errors.Error):
        await subscription.unsubscribe()
