"""What a step tells whoever watches, beside its progress: text as it is written. Live only; nothing of it is kept."""

from collections.abc import Callable

import msgspec

ANSWER = "answer"
"""The stream of a step's text for the reader who asked; others, such as "thinking", stand beside it."""


class TextWritten(msgspec.Struct, frozen=True, kw_only=True):
    """The next piece of one of a step's texts."""

    text: str
    stream: str = ANSWER


type OnText = Callable[[TextWritten], None]


def ignore_text(written: TextWritten) -> None:
    """Nobody watches."""
