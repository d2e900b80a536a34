"""A run's events as one gapless stream: the journal first, then live, the journal again wherever it gaps.

Between the durable events, which are numbered, stands what the run tells live: its texts without a gap or a repetition
as long as a worker has them, the use of tools, progress.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

import msgspec
import structlog
from agora_contracts.live import TextDelta, TextSnapshot
from agora_contracts.problems import AgoraError, Problem
from agora_contracts.runs import ListRunEvents, RunEventList, RunProgress
from agora_kit.broker import Broker

from agora_gateway.runs import event_shapes
from agora_gateway.runs.feeds import Feed, Heard, LiveEvent, RunFeeds
from agora_gateway.runs.live_shapes import LaggedShape, live_type, public_live
from agora_gateway.runs.model import Skipped, Tracks

log = structlog.get_logger()

PAGE = 200
_LOOK_SECONDS = 5.0
"""How long nothing may arrive before the journal is asked whether something was missed."""
_KEEP_ALIVE_SECONDS = 15.0
_RECHECK_SECONDS = 1.0
"""For how long it is taken that the reader may still read."""
_PASSING = ("unavailable", "deadline_exceeded", "overloaded")


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a stream: its type, its data in JSON, and its number in the journal where it is durable."""

    type: str
    data: bytes
    seq: int | None = None


KEEP_ALIVE = StreamEvent(type="keep_alive", data=b"{}")
"""Says that the stream is still there."""

type Permit = Callable[[], Awaitable[object]]
"""Raises `AgoraError` when the reader may not read any more."""


class RunStream:
    """The stream of one reader.

    Args:
        after: the last sequence number that the reader has.
        permit: asked about once a second, as a key may be revoked while it reads.
    """

    def __init__(
        self,
        broker: Broker,
        feeds: RunFeeds,
        *,
        tenant: str,
        run: str,
        after: int,
        permit: Permit | None = None,
    ) -> None:
        self._broker = broker
        self._feeds = feeds
        self._tenant = tenant
        self._run = run
        self._seq = after
        self._permit = permit
        self._permitted_at = time.monotonic()
        self._tracks = Tracks()
        self._ended = False

    async def journal(self) -> RunEventList:
        """What the journal has after the last event that was sent.

        Raises:
            AgoraError: `not_found`, the tenant has no such run.
        """
        query = ListRunEvents(run=self._run, tenant=self._tenant, after=self._seq, limit=PAGE)
        found: RunEventList = await self._broker.ask(query)
        return found

    async def begin(self) -> RunEventList:
        """The first page of the journal, for `events`.

        Raises:
            AgoraError: `not_found`; `invalid_input`, when the run has no event of the id after which the stream is to begin:
                behind it nothing would ever come, not even the run's end.
        """
        first = await self.journal()
        if self._seq and not first.items:
            last = ListRunEvents(run=self._run, tenant=self._tenant, after=self._seq - 1, limit=1)
            found: RunEventList = await self._broker.ask(last)
            if not found.items:
                raise AgoraError(
                    "invalid_input",
                    f"the run has no event {self._seq} yet; come back with the id of the last one that arrived, or with "
                    "none to begin anew",
                )
        return first

    async def events(self, first: RunEventList) -> AsyncGenerator[StreamEvent]:
        """The stream, beginning with a page of the journal; ends after the charge, or with a `problem`."""
        for message in self._from_page(first):
            yield message
        if self._ended:
            return
        feed = await self._feeds.open(self._tenant, self._run)
        try:
            async for message in self._follow(feed):
                yield message
        except AgoraError as error:
            yield problem_event(error.problem)
        finally:
            self._feeds.discard(feed, self._tenant, self._run)

    async def _follow(self, feed: Feed) -> AsyncIterator[StreamEvent]:
        async for message in self._catch_up():
            yield message
        sent_at = time.monotonic()
        while not self._ended and not feed.closed:
            await self._ask_for_texts()
            item = await feed.next(_LOOK_SECONDS)
            now = time.monotonic()
            if self._permit is not None and now - self._permitted_at > _RECHECK_SECONDS:
                await self._check(self._permit)
            messages: list[StreamEvent] = []
            if isinstance(item, Heard):
                messages = self._live(item, now)
            elif isinstance(item, LiveEvent) and item.seq == self._seq + 1:
                messages = [self._message(item.seq, item.type, item.data)]
            elif isinstance(item, LiveEvent) and item.seq <= self._seq:
                continue
            else:
                if isinstance(item, Skipped):
                    self._tracks.lose()
                    yield self._lagged(item)
                async for message in self._catch_up():
                    sent_at = now
                    yield message
            for message in messages:
                sent_at = now
                yield message
            if item is None and now - sent_at >= _KEEP_ALIVE_SECONDS:
                sent_at = now
                yield KEEP_ALIVE

    async def _ask_for_texts(self) -> None:
        if self._tracks.asks(time.monotonic()):
            await self._feeds.ask(self._tenant, self._run)

    async def _check(self, permit: Permit) -> None:
        """Look whether the reader may still read; while that cannot be known, it is taken that it may."""
        try:
            await permit()
        except AgoraError as error:
            if error.problem.status < 500:
                raise
        except Exception as error:
            log.info("permission not checked, the stream goes on", run=self._run, error=repr(error))
        self._permitted_at = time.monotonic()

    def _live(self, heard: Heard, now: float) -> list[StreamEvent]:
        message = heard.message
        if isinstance(message, TextDelta | TextSnapshot):
            shown = self._tracks.show_text(message, now)
            if shown is None:
                return []
            if shown is not message:
                return [StreamEvent(type=live_type(shown), data=public_live(shown))]
        elif not isinstance(message, RunProgress) and not self._tracks.show_tool(message):
            return []
        if heard.shown is None:
            heard.shown = public_live(message)
        return [StreamEvent(type=live_type(message), data=heard.shown)]

    def _lagged(self, skipped: Skipped) -> StreamEvent:
        shape = LaggedShape(run=self._run, events=skipped.events, messages=skipped.messages)
        return StreamEvent(type="lagged", data=msgspec.json.encode(shape))

    async def _catch_up(self) -> AsyncIterator[StreamEvent]:
        more = True
        while more and not self._ended:
            try:
                page = await self.journal()
            except AgoraError as error:
                if error.slug not in _PASSING:
                    raise
                log.info("journal does not answer, the stream waits", run=self._run, reason=error.slug)
                return
            more = page.more
            for message in self._from_page(page):
                yield message

    def _from_page(self, page: RunEventList) -> list[StreamEvent]:
        messages = [self._message(event.seq, event.type, event.data) for event in page.items]
        # A page that ends with a charge may have corrections of it behind it.
        self._ended = page.complete and not page.more
        return messages

    def _message(self, seq: int, kind: str, data: dict[str, object]) -> StreamEvent:
        self._seq = seq
        self._ended = self._ended or kind == event_shapes.LAST
        return StreamEvent(type=kind, data=event_shapes.public_event(kind, data), seq=seq)


def problem_event(problem: Problem) -> StreamEvent:
    """Why a stream ends before its run does."""
    return StreamEvent(type="problem", data=msgspec.json.encode(problem))


def to_sse(event: StreamEvent) -> bytes:
    """An event as server-sent events have it. Its JSON has no line break, so that one line of data does."""
    if event is KEEP_ALIVE:
        return b": still there\n\n"
    number = b"" if event.seq is None else b"id: %d\n" % event.seq
    return b"%sevent: %s\ndata: %s\n\n" % (number, event.type.encode(), event.data)


def to_frame(event: StreamEvent) -> bytes:
    """An event as a frame of a WebSocket: `{type, id, data}`, the id only where it is durable."""
    number = b"" if event.seq is None else b'"id":%d,' % event.seq
    return b'{"type":"%s",%s"data":%s}' % (event.type.encode(), number, event.data)
