"""What every reader makes of a file: its text, and the blocks that stand in it."""

from dataclasses import dataclass, field
from typing import Literal

BlockKind = Literal["heading", "text", "item", "row", "code"]
PlaceUnit = Literal["line", "page", "paragraph", "row"]

FILE_BYTES_MAX = 50 * 1024 * 1024
TEXT_CHARACTERS_MAX = 20_000_000
FIELD_CHARACTERS_MAX = 200
"""A longer value of a column or of front matter is text to search, no value to filter by."""


class Unreadable(Exception):
    """A source that cannot be read, for a reason that its owner can act on.

    Args:
        code: A stable slug, such as `file_encrypted`.
        detail: What is wrong and what to change.
        place: Where inside the file, if known.
    """

    def __init__(self, code: str, detail: str, place: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.place = place


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A stretch of a document's text, from `start` up to `end`.

    `number` is the page, paragraph or row it stands on, from 1, and 0 where a document counts lines.
    `rendered` is how search reads the block where its text is no prose, such as a row of a table.
    `fields` are the columns of a row, to filter by.
    """

    kind: BlockKind
    start: int
    end: int
    level: int = 0
    number: int = 0
    rendered: str = ""
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A source that was read.

    `text` is the file's own text where it has one (Markdown, text, CSV, JSON), else what was extracted from
    it; every quote is a slice of it. `fields` hold for the whole document (front matter, title).
    """

    name: str
    kind: str
    text: str
    blocks: list[Block]
    unit: PlaceUnit
    fields: dict[str, str] = field(default_factory=dict)


class TextBuilder:
    """Collects extracted text and the blocks in it, for formats that have no text of their own."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self.blocks: list[Block] = []

    @property
    def text(self) -> str:
        """Everything added so far, blocks set apart by newlines."""
        return "".join(self._parts)

    def add(self, kind: BlockKind, text: str, *, level: int = 0, number: int = 0, rendered: str = "") -> None:
        """Append a block; an empty one is left out.

        Raises:
            Unreadable: the document's text grows beyond the limit.
        """
        if not text:
            return
        if self._length + len(text) > TEXT_CHARACTERS_MAX:
            raise Unreadable(
                "too_large", f"The text is longer than {TEXT_CHARACTERS_MAX:,} characters: split the file."
            )
        start = self._length
        self._parts.append(text + "\n")
        self._length += len(text) + 1
        self.blocks.append(
            Block(
                kind=kind, start=start, end=start + len(text), level=level, number=number, rendered=rendered
            )
        )


def render_row(header: list[str], cells: list[str]) -> str:
    """A row of a table as search reads it: `Plan: Gold; Price: $20`."""
    named = []
    for position, cell in enumerate(cells):
        value = " ".join(cell.split())
        name = " ".join(header[position].split()) if position < len(header) else ""
        if value:
            named.append(f"{name}: {value}" if name else value)
    return "; ".join(named)
