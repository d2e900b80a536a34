"""What one reader has of a run's live texts and tools, and what it is to get next: no gap, and nothing twice."""

from dataclasses import dataclass

import msgspec
from agora_contracts.live import TextDelta, TextSnapshot, ToolFinished, ToolStarted

ASK_SECONDS = 0.5
"""How long a question for texts may go unanswered before it is asked again."""

PATIENCE_SECONDS = 2.0
"""How long a text whose beginning is missing waits for its snapshot. Then it is shown as it comes: nobody has more."""

TEXTS_MAX = 1_000
_TOOLS_MAX = 1_000

type TextMessage = TextDelta | TextSnapshot
type ToolMessage = ToolStarted | ToolFinished


@dataclass(slots=True)
class _Track:
    """The reader has one take of a text from `begin` to `end`."""

    take: int
    begin: int
    end: int


class Tracks:
    """A reader's texts, by step and stream. All times are seconds of one clock that only goes forward."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], _Track] = {}
        self._missing_since: dict[tuple[str, str], float] = {}
        self._tools: set[str] = set()
        self._asked_at: float | None = None
        self._wanted = True

    def show_text(self, message: TextMessage, now: float) -> TextMessage | None:
        """What the reader is to get of a message: it as it is, a part of it, or nothing."""
        if isinstance(message, TextSnapshot):
            return self._snapshot(message)
        return self._delta(message, now)

    def show_tool(self, message: ToolMessage) -> bool:
        """Whether the reader is to get this: what is told again to others is not told twice."""
        if isinstance(message, ToolFinished):
            self._tools.discard(message.call)
            return True
        if message.call in self._tools:
            return False
        if len(self._tools) < _TOOLS_MAX:
            self._tools.add(message.call)
        return True

    def lose(self) -> None:
        """Messages were lost: ask for what texts there are."""
        self._wanted = True
        self._asked_at = None

    def asks(self, now: float) -> bool:
        """Whether to ask for texts now. It is taken that it is done."""
        if not self._wanted:
            return False
        if self._asked_at is not None and now - self._asked_at < ASK_SECONDS:
            return False
        self._asked_at = now
        # Nobody answers where there is no text. A delta that does not fit will ask again.
        self._wanted = False
        return True

    def _snapshot(self, message: TextSnapshot) -> TextMessage | None:
        key = (message.step, message.stream)
        track = self._texts.get(key)
        end = message.offset + len(message.text)
        self._missing_since.pop(key, None)
        if track is not None:
            if message.take < track.take:
                return None
            known = message.take == track.take and track.begin <= message.offset
            if known and track.end >= end:
                return None
            if known and track.end >= message.offset:
                return self._go_on(track, message, message.offset, message.text)
        self._set(key, _Track(message.take, message.offset, end))
        return message

    def _delta(self, message: TextDelta, now: float) -> TextMessage | None:
        key = (message.step, message.stream)
        track = self._texts.get(key)
        end = message.offset + len(message.text)
        if track is not None and message.take < track.take:
            return None
        if track is not None and message.take == track.take and message.offset <= track.end:
            return None if end <= track.end else self._go_on(track, message, message.offset, message.text)
        if message.offset > 0 and self._waits(key, now):
            return None
        self._missing_since.pop(key, None)
        self._set(key, _Track(message.take, message.offset, end))
        return message

    def _go_on(self, track: _Track, message: TextMessage, offset: int, text: str) -> TextDelta:
        """What of a text the reader has not yet."""
        fresh = text[track.end - offset :]
        begin, track.end = track.end, track.end + len(fresh)
        if isinstance(message, TextDelta) and len(fresh) == len(text):
            return message
        return TextDelta(
            run=message.run,
            step=message.step,
            node=message.node,
            stream=message.stream,
            take=message.take,
            offset=begin,
            text=fresh,
        )

    def _waits(self, key: tuple[str, str], now: float) -> bool:
        """Whether what is missing before a delta may still come; it is asked for."""
        since = self._missing_since.setdefault(key, now)
        self._wanted = True
        return now - since < PATIENCE_SECONDS

    def _set(self, key: tuple[str, str], track: _Track) -> None:
        if key not in self._texts and len(self._texts) >= TEXTS_MAX:
            self._texts.pop(next(iter(self._texts)))
        self._texts[key] = track


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader who was too slow did not get: durable events, which the journal still has, and live messages."""

    events: int
    messages: int
