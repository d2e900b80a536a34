"""A run's texts, put together from its live events."""

from dataclasses import dataclass, field

from agora.client.types import RunEvent
from agora.live import ANSWER


@dataclass(slots=True)
class _Text:
    take: int
    begin: int
    content: str

    @property
    def end(self) -> int:
        return self.begin + len(self.content)


@dataclass(slots=True)
class Texts:
    """What a run's steps have written so far, as far as it was seen.

    texts = Texts()
    async for event in run.events():
        if texts.add(event):
            show(texts.answer)
    """

    _texts: dict[tuple[str, str], _Text] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        """The text for the reader, of all steps in the order in which they began to write."""
        return self.of(ANSWER)

    def of(self, stream: str) -> str:
        """The text of one stream, such as "thinking"."""
        return "".join(text.content for (_, name), text in self._texts.items() if name == stream)

    def add(self, event: RunEvent) -> bool:
        """Take an event in. Returns whether a text has changed; events of other types change none."""
        if event.type not in ("content_delta", "content_snapshot"):
            return False
        data = event.data
        key = (str(data["step"]), str(data["stream"]))
        take, offset = int(data["take"]), int(data["offset"])
        text = self._texts.get(key)
        if text is not None and take < text.take:
            return False
        if event.type == "content_snapshot":
            self._texts[key] = _Text(take, offset, str(data["content"]))
            return True
        piece = str(data["delta"])
        if text is None or take > text.take or offset > text.end:
            # The first of a text, or some of it is lost for good: what is seen begins here.
            self._texts[key] = _Text(take, offset, piece)
            return True
        fresh = piece[text.end - offset :]
        text.content += fresh
        return bool(fresh)
