"""A run's events as one gapless stream: the journal first, then live, the journal again wherever it gaps."""

import time
from collections.abc import AsyncIterator

import structlog
from agora_contracts.execution import ListRunEvents, RunEventList
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker
from litestar.response import ServerSentEventMessage

from agora_gateway.runs import event_shapes
from agora_gateway.runs.feeds import Feed, LiveProgress, RunFeeds

log = structlog.get_logger()

PAGE = 200
_LOOK_SECONDS = 5.0
"""How long nothing may arrive before the journal is asked whether something was missed."""
_KEEP_ALIVE_SECONDS = 15.0
_PASSING = ("unavailable", "deadline_exceeded", "overloaded")


class RunStream:
    """The stream of one reader.

    Args:
        after: the last sequence number that the reader has.
    """

    def __init__(self, broker: Broker, feeds: RunFeeds, *, tenant: str, run: str, after: int) -> None:
        self._broker = broker
        self._feeds = feeds
        self._tenant = tenant
        self._run = run
        self._seq = after
        self._ended = False

    async def journal(self) -> RunEventList:
        """What the journal has after the last event that was sent.

        Raises:
            AgoraError: `not_found`, the tenant has no such run.
        """
        query = ListRunEvents(run=self._run, tenant=self._tenant, after=self._seq, limit=PAGE)
        found: RunEventList = await self._broker.ask(query)
        return found

    async def events(self, first: RunEventList) -> AsyncIterator[bytes]:
        """The stream in bytes, beginning with a page of the journal; ends after the charge."""
        for message in self._from_page(first):
            yield message
        if self._ended:
            return
        feed = await self._feeds.open(self._tenant, self._run)
        try:
            async for message in self._follow(feed):
                yield message
        finally:
            self._feeds.discard(feed, self._tenant, self._run)

    async def _follow(self, feed: Feed) -> AsyncIterator[bytes]:
        async for message in self._catch_up():
            yield message
        sent_at = time.monotonic()
        while not self._ended and not feed.closed:
            item = await feed.next(_LOOK_SECONDS)
            if isinstance(item, LiveProgress):
                yield ServerSentEventMessage(event="progress", data=item.data).encode()
            elif item is not None and item.seq == self._seq + 1 and item.type in event_shapes.TYPES:
                yield self._message(item.seq, item.type, item.data)
            elif item is not None and item.seq <= self._seq:
                continue
            else:
                async for message in self._catch_up():
                    yield message
                if time.monotonic() - sent_at < _KEEP_ALIVE_SECONDS:
                    continue
                yield ServerSentEventMessage(data=None, comment="still there").encode()
            sent_at = time.monotonic()

    async def _catch_up(self) -> AsyncIterator[bytes]:
        more = True
        while more and not self._ended:
            try:
                page = await self.journal()
            except AgoraError as error:
                if error.slug not in _PASSING:
                    raise
                log.info("journal does not answer, the stream waits", run=self._run, reason=error.slug)
                return
            more = len(page.items) == PAGE
            for message in self._from_page(page):
                yield message

    def _from_page(self, page: RunEventList) -> list[bytes]:
        messages = [self._message(event.seq, event.type, event.data) for event in page.items]
        # A page that ends with a charge may have corrections of it behind it.
        self._ended = page.complete and len(page.items) < PAGE
        return messages

    def _message(self, seq: int, kind: str, data: dict[str, object]) -> bytes:
        self._seq = seq
        self._ended = self._ended or kind == event_shapes.LAST
        shown = event_shapes.public_event(kind, data)
        return ServerSentEventMessage(id=seq, event=kind, data=shown).encode()
