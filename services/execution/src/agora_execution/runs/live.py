"""What runs at this worker tell while they work: sent live, in order, and never waited for by a step.

Texts are also kept, within bounds, until their run ends here: whoever missed some of one asks, and gets it from its
beginning, in the order of the deltas. What is not sent (NATS is away, or a step tells more than can be sent) is a gap
that readers see by the offsets, and close by asking.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import structlog
from agora import Progress
from agora.context import ToolUse
from agora.live import TextWritten
from agora_contracts.live import (
    TEXT_CHARACTERS_MAX,
    LiveMessage,
    TextDelta,
    TextSnapshot,
    ToolFinished,
    ToolStarted,
)
from agora_contracts.runs import RunProgress
from agora_contracts.subjects import LIVE_ASKS, live_subject
from agora_kit.broker import Broker
from nats.aio.msg import Msg

log = structlog.get_logger()

BATCH_SECONDS = 0.004
"""Between two rounds of sending. Alone a message goes at once; under load this many milliseconds go together."""

KEPT_CHARACTERS_MAX = 262_144
"""How much text of one run is kept; of more than that, the latest."""

_KEPT_IN_ALL_MAX = 64 * 1024 * 1024
_RUNS_MAX = 2_000
_WAITING_MAX = 256
_WAITING_CHARACTERS_MAX = 4 * KEPT_CHARACTERS_MAX
_TRIM_SHARE = 8
_PIECES_MAX = 512
_WATCHED_BYTES_MAX = 8 * 1024
_OPEN_CALLS_MAX = 100
_NOTE_CHARACTERS_MAX = 500

_encode = msgspec.json.Encoder(decimal_format="string").encode


class _Text:
    """What is kept of one text: the characters from `begin` to `end`."""

    __slots__ = ("begin", "kept", "node", "pieces", "take")

    def __init__(self, node: str, take: int) -> None:
        self.node = node
        self.take = take
        self.begin = 0
        self.kept = 0
        self.pieces: list[str] = []

    @property
    def end(self) -> int:
        return self.begin + self.kept

    def add(self, text: str) -> None:
        self.pieces.append(text)
        self.kept += len(text)
        if self.kept > KEPT_CHARACTERS_MAX + KEPT_CHARACTERS_MAX // _TRIM_SHARE:
            whole = self.joined()
            self.begin += len(whole) - KEPT_CHARACTERS_MAX
            self.kept = KEPT_CHARACTERS_MAX
            self.pieces = [whole[-KEPT_CHARACTERS_MAX:]]
        elif len(self.pieces) > _PIECES_MAX:
            self.joined()

    def joined(self) -> str:
        whole = "".join(self.pieces)
        self.pieces = [whole]
        return whole


class _Growing:
    """Text that waits to be sent, and grows while it does."""

    __slots__ = ("end", "key", "offset", "parts", "text")

    def __init__(self, key: tuple[str, str], text: _Text) -> None:
        self.key = key
        self.text = text
        self.offset = self.end = text.end
        self.parts: list[str] = []

    def add(self, part: str) -> None:
        self.parts.append(part)
        self.end += len(part)


class _LiveRun:
    """A run that tells something: what waits to be sent, its texts, and the tools in use."""

    __slots__ = ("asked", "characters", "id", "open", "subject", "texts", "waiting")

    def __init__(self, tenant: str, run: str) -> None:
        self.id = run
        self.subject = live_subject(tenant, run)
        self.waiting: list[RunProgress | ToolStarted | ToolFinished | _Growing] = []
        self.characters = 0
        self.texts: OrderedDict[tuple[str, str], _Text] = OrderedDict()
        self.open: dict[str, ToolStarted] = {}
        self.asked = False

    @property
    def kept(self) -> int:
        return sum(text.kept for text in self.texts.values())

    def tell(self, message: RunProgress | ToolStarted | ToolFinished) -> None:
        if len(self.waiting) < _WAITING_MAX:
            self.waiting.append(message)

    def write(self, step: str, node: str, take: int, stream: str, part: str) -> int:
        """Add to a text, in order with what waits. Returns by how much more is kept now."""
        key = (step, stream)
        text = self.texts.get(key)
        before = self.kept
        if text is None or text.take != take:
            text = self.texts[key] = _Text(node, take)
        last = self.waiting[-1] if self.waiting else None
        if self.characters + len(part) <= _WAITING_CHARACTERS_MAX:
            grows = (
                last if isinstance(last, _Growing) and last.text is text and last.end == text.end else None
            )
            if grows is None and len(self.waiting) < _WAITING_MAX:
                grows = _Growing(key, text)
                self.waiting.append(grows)
            if grows is not None:
                grows.add(part)
                self.characters += len(part)
        text.add(part)
        while len(self.texts) > 1 and self.kept > KEPT_CHARACTERS_MAX:
            oldest = next(iter(self.texts))
            if oldest == key:
                break
            del self.texts[oldest]
        return self.kept - before

    def begin(self, step: str, take: int) -> int:
        """Forget what earlier takes of a step told. Returns how many characters that were."""
        stale = [key for key, text in self.texts.items() if key[0] == step and text.take != take]
        self.open = {call: tool for call, tool in self.open.items() if tool.step != step}
        return sum(self.texts.pop(key).kept for key in stale)

    def take_waiting(self) -> Iterator[LiveMessage]:
        """What is to be sent now; behind it, where somebody asked, the texts so far."""
        waiting, self.waiting, self.characters = self.waiting, [], 0
        for one in waiting:
            if isinstance(one, _Growing):
                yield from self._deltas(one.key, one.text, one.offset, "".join(one.parts))
            else:
                yield one
        if self.asked:
            self.asked = False
            for key, text in self.texts.items():
                yield from self._snapshot(key, text)
            yield from self.open.values()

    def _snapshot(self, key: tuple[str, str], text: _Text) -> Iterator[LiveMessage]:
        whole = text.joined()
        step, stream = key
        yield TextSnapshot(
            run=self.id,
            step=step,
            node=text.node,
            stream=stream,
            take=text.take,
            offset=text.begin,
            text=whole[:TEXT_CHARACTERS_MAX],
        )
        yield from self._deltas(key, text, text.begin + TEXT_CHARACTERS_MAX, whole[TEXT_CHARACTERS_MAX:])

    def _deltas(self, key: tuple[str, str], text: _Text, offset: int, part: str) -> Iterator[TextDelta]:
        step, stream = key
        for at in range(0, len(part), TEXT_CHARACTERS_MAX):
            yield TextDelta(
                run=self.id,
                step=step,
                node=text.node,
                stream=stream,
                take=text.take,
                offset=offset + at,
                text=part[at : at + TEXT_CHARACTERS_MAX],
            )


class LiveStep:
    """One call of a step: what its context reports goes out through here. It may report from any thread."""

    def __init__(self, runs: "LiveRuns", tenant: str, run: str, step: str, node: str, take: int) -> None:
        self._runs = runs
        self._tenant = tenant
        self._run = run
        self._step = step
        self._node = node
        self._take = take

    def progress(self, progress: Progress) -> None:
        """A note on how far the step is."""
        message = RunProgress(
            run=self._run,
            step=self._step,
            node=self._node,
            message=_sendable(progress.message[:_NOTE_CHARACTERS_MAX]),
            fraction=progress.fraction,
        )
        self._runs.call(lambda: self._live.tell(message))

    def text(self, written: TextWritten) -> None:
        """The next piece of a text."""
        stream, part = _sendable(written.stream), _sendable(written.text)
        self._runs.call(
            lambda: self._runs.kept(
                self._live, self._live.write(self._step, self._node, self._take, stream, part)
            )
        )

    def tool(self, use: ToolUse) -> None:
        """A tool begins to be used, or has been."""
        if use.ended:
            self._tool_ended(use)
            return
        shown = _watched(use.arguments)
        message = ToolStarted(
            run=self._run,
            step=self._step,
            node=self._node,
            call=self._call(use),
            tool=use.tool,
            title=use.title,
            arguments={} if shown is None else msgspec.json.decode(shown),
            shortened=shown is None,
        )

        def start() -> None:
            live = self._live
            live.tell(message)
            if len(live.open) < _OPEN_CALLS_MAX:
                live.open[message.call] = message
                self._runs.kept(live, 0)

        self._runs.call(start)

    def _tool_ended(self, use: ToolUse) -> None:
        shown = _watched(use.result)
        message = ToolFinished(
            run=self._run,
            step=self._step,
            node=self._node,
            call=self._call(use),
            tool=use.tool,
            result=None if shown is None else msgspec.Raw(shown),
            error=None if use.error is None else _sendable(use.error[:_NOTE_CHARACTERS_MAX]),
            shortened=shown is None,
        )

        def finish() -> None:
            live = self._live
            live.tell(message)
            live.open.pop(message.call, None)

        self._runs.call(finish)

    @property
    def _live(self) -> _LiveRun:
        return self._runs.run(self._tenant, self._run)

    def _call(self, use: ToolUse) -> str:
        return f"{self._step}#{self._take}.{use.call}"


class LiveRuns:
    """Everything that runs at this worker tell live, and the texts that are kept of it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._runs: OrderedDict[str, _LiveRun] = OrderedDict()
        self._kept = 0
        self._dirty: dict[str, _LiveRun] = {}
        self._sending: asyncio.Task[None] | None = None
        self._listening = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._last_take = 0

    def step(self, tenant: str, run: str, step: str, node: str) -> LiveStep:
        """A step is called: its texts begin anew, and what earlier calls of it told is forgotten."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        # By the clock, as the call before may have been made by a worker that is gone.
        take = self._last_take = max(time.time_ns() // 1_000_000, self._last_take + 1)
        if (live := self._runs.get(run)) is not None:
            self._kept -= live.begin(step, take)
        return LiveStep(self, tenant, run, step, node, take)

    def ended(self, run: str) -> None:
        """A run has ended: its texts are not kept any longer. What waits is still sent."""
        if (live := self._runs.pop(run, None)) is not None:
            self._forget(live)

    @property
    def characters(self) -> int:
        """How much text is kept."""
        return self._kept

    # --- for the steps ---------------------------------------------------------------------------

    def call(self, work: Callable[[], None]) -> None:
        """Do something on the worker's own thread, now if this is it."""
        assert self._loop is not None, "a step was called"
        if threading.get_ident() == self._thread:
            work()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def run(self, tenant: str, run: str) -> _LiveRun:
        """A run that has something to tell, to be sent with the next round."""
        live = self._runs.get(run) or self._dirty.get(run) or _LiveRun(tenant, run)
        self._send(live)
        return live

    def kept(self, live: _LiveRun, more: int) -> None:
        """Count text that a run keeps now; where there is too much in all, the longest silent runs lose theirs."""
        self._kept += more
        self._runs[live.id] = live
        self._runs.move_to_end(live.id)
        while len(self._runs) > 1 and (self._kept > _KEPT_IN_ALL_MAX or len(self._runs) > _RUNS_MAX):
            self._forget(self._runs.popitem(last=False)[1])

    def _forget(self, live: _LiveRun) -> None:
        self._kept -= live.kept
        live.texts.clear()
        live.open.clear()

    # --- sending ---------------------------------------------------------------------------------

    def _send(self, live: _LiveRun) -> None:
        self._dirty[live.id] = live
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send_all(), name="live messages")

    async def _send_all(self) -> None:
        await self._listen()
        while self._dirty:
            dirty, self._dirty = self._dirty, {}
            for live in dirty.values():
                for message in list(live.take_waiting()):
                    await self._publish(live.subject, message)
            await asyncio.sleep(BATCH_SECONDS)

    async def _publish(self, subject: str, message: LiveMessage) -> None:
        try:
            await self._broker.publish_live(subject, message)
        except Exception as error:
            # Whatever it is, it must not stop the others; a reader sees the gap.
            log.debug("live message not sent", error=repr(error))

    async def _listen(self) -> None:
        """Hear what readers ask for, from before the first text goes out."""
        if self._listening:
            return
        try:
            await self._broker.client.subscribe(LIVE_ASKS, cb=self._on_ask)
            self._listening = True
        except Exception as error:
            log.warning("readers are not heard yet", error=repr(error))

    async def _on_ask(self, message: Msg) -> None:
        _, _, tenant, run = message.subject.split(".")
        live = self._runs.get(run)
        if live is not None and live.subject == live_subject(tenant, run):
            live.asked = True
            self._send(live)


def _sendable(text: str) -> str:
    """A text that can be encoded: half a surrogate pair, which models do cut, cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _watched(value: Any) -> bytes | None:
    """A value in JSON as it is shown to who watches; None where it is too large, or cannot be shown."""
    try:
        encoded = _encode(value)
    except (TypeError, ValueError):
        return None
    return encoded if len(encoded) <= _WATCHED_BYTES_MAX else None
