"""Documents to passages: small stretches of one section, made of units that can be quoted one by one."""

import bisect
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from agora_knowledge_base import sentences
from agora_knowledge_base.reading import Block, Document
from agora_knowledge_base.reading.markdown import plain, plain_heading

HEADING_CHARACTERS_MAX = 120
ITEM_CHARACTERS_MAX = 400
CODE_CHARACTERS_MAX = 600
ROW_QUOTE_CHARACTERS_MAX = 700
GAP_CHARACTERS_MAX = 30
WORD_CHARACTERS_MAX = 12

UnitKind = Literal["text", "item", "row", "code"]


class Unit(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The smallest thing that is quoted: a sentence, an item of a list, a row, a piece of code.

    `quote` stands in the source exactly so; `text` is how a person reads it; `place` is where it stands.
    `follows` is the unit just before it in the source, if only `gap` (space, a list's marker) is between them.
    """

    id: str
    kind: UnitKind
    quote: str
    text: str
    place: str
    follows: str = ""
    gap: str = ""


class Passage(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Neighbouring units of one section: what search finds."""

    id: str
    source: str
    headings: list[str]
    place: str
    units: list[Unit]
    fields: dict[str, str]

    @property
    def locator(self) -> str:
        """Source, headings and place in one line: `docs/billing.md#Refunds:L12-L30`."""
        return locator(self.source, self.headings, self.place)

    @property
    def title(self) -> str:
        """The headings above the passage; where there are none, the name of its file."""
        return " > ".join(self.headings) or _readable(self.source)

    @property
    def body(self) -> str:
        """The passage as a person reads it."""
        return "\n".join(unit.text for unit in self.units)

    @property
    def searched(self) -> str:
        """What search reads: the headings and the text."""
        return f"{self.title}\n{self.body}"


def _readable(source: str) -> str:
    """`docs/error-codes.csv` as `error codes`: people name a file after what it is about."""
    return re.sub(r"[\W_]+", " ", PurePosixPath(source).stem).strip()


def joined(units: Sequence[Unit]) -> Iterator[tuple[str, str]]:
    """Quote and place of each stretch of units that stand together in the source."""
    stretch: list[Unit] = []
    for unit in units:
        if stretch and unit.follows != stretch[-1].id:
            yield _stretch(stretch)
            stretch = []
        stretch.append(unit)
    if stretch:
        yield _stretch(stretch)


def _stretch(units: Sequence[Unit]) -> tuple[str, str]:
    quote = units[0].quote + "".join(unit.gap + unit.quote for unit in units[1:])
    return quote, _joined(units[0].place, units[-1].place)


def locator(source: str, headings: list[str], place: str) -> str:
    """Where something stands, for people and programs: source, `#`, headings, `:`, lines, page or row."""
    return f"{source}#{' > '.join(headings)}:{place}" if headings else f"{source}#{place}"


def split(document: Document, words_max: int) -> Iterator[Passage]:
    """The passages of a document, in order.

    Args:
        document: The document.
        words_max: About how many words a passage holds; a unit is never divided for it. Where a section
            takes several passages, each begins with the last unit of the one before.
    """
    return _Splitter(document, words_max).passages()


class _Splitter:
    def __init__(self, document: Document, words_max: int) -> None:
        self._document = document
        self._words_max = words_max
        self._lines = [match.end() for match in re.finditer("\n", document.text)]
        self._headings: list[tuple[int, str]] = []
        self._units: list[tuple[Unit, Block]] = []
        self._words = 0
        self._fresh = 0
        self._count = 0
        self._previous: tuple[str, int] = ("", 0)

    def passages(self) -> Iterator[Passage]:
        if title := self._document.fields.get("title"):
            self._headings = [(0, title[:HEADING_CHARACTERS_MAX])]
        for block in self._document.blocks:
            if block.kind == "heading":
                yield from self._flush(overlap=False)
                self._enter(block)
                continue
            for unit in self._units_of(block):
                if self._units and self._is_full(unit):
                    yield from self._flush(overlap=block.kind in ("text", "item"))
                self._take(unit, block)
            if self._document.unit == "row":
                yield from self._flush(overlap=False)
        yield from self._flush(overlap=False)

    def _enter(self, block: Block) -> None:
        text = self._document.text[block.start : block.end]
        words = (
            plain_heading(text[: 4 * HEADING_CHARACTERS_MAX])
            if self._document.unit == "line"
            else " ".join(text.split())
        )
        self._headings = [(level, name) for level, name in self._headings if level < block.level]
        if words and words not in (name for _, name in self._headings):
            self._headings.append((block.level, words[:HEADING_CHARACTERS_MAX]))

    def _is_full(self, unit: Unit) -> bool:
        if self._words + len(unit.text.split()) > self._words_max:
            return True
        # Text without spaces has few words however long it is.
        return (
            sum(len(held.text) for held, _ in self._units) + len(unit.text)
            > self._words_max * WORD_CHARACTERS_MAX
        )

    def _take(self, unit: Unit, block: Block) -> None:
        self._units.append((unit, block))
        self._words += len(unit.text.split())
        self._fresh += 1

    def _flush(self, *, overlap: bool) -> Iterator[Passage]:
        if not self._fresh:
            return
        units = [unit for unit, _ in self._units]
        first, last = self._units[0], self._units[-1]
        self._count += 1
        fields = dict(self._document.fields)
        if self._document.unit == "row":
            fields |= first[1].fields
        yield Passage(
            id=f"{self._document.name}:{self._count}",
            source=self._document.name,
            headings=[name for _, name in self._headings],
            place=_joined(first[0].place, last[0].place),
            units=units,
            fields=fields,
        )
        kept = [last] if overlap and len(last[0].text.split()) < self._words_max // 3 else []
        self._units = kept
        self._words = sum(len(unit.text.split()) for unit, _ in kept)
        self._fresh = 0

    def _units_of(self, block: Block) -> Iterator[Unit]:
        if block.kind == "row":
            yield from self._row(block)
        elif block.kind == "code":
            for start, end in _code_pieces(self._document.text, block.start, block.end):
                yield self._unit("code", block, start, end)
        elif block.kind == "item" and block.end - block.start <= ITEM_CHARACTERS_MAX:
            yield self._unit("item", block, block.start, block.end)
        else:
            for start, end in sentences.split(self._document.text, block.start, block.end):
                yield self._unit("item" if block.kind == "item" else "text", block, start, end)

    def _row(self, block: Block) -> Iterator[Unit]:
        """A row is one unit, unless a cell of it is long prose."""
        whole = self._document.text[block.start : block.end]
        if len(whole) <= ROW_QUOTE_CHARACTERS_MAX:
            yield self._unit("row", block, block.start, block.end, rendered=block.rendered)
            return
        for start, end in sentences.split(block.rendered, 0, len(block.rendered)):
            text = block.rendered[start:end]
            found = self._document.text.find(text, block.start, block.end)
            # Where the file writes the text in another way (escaped quotes), the row's beginning is quoted.
            first = found if found >= 0 else block.start
            last = found + len(text) if found >= 0 else block.start + ROW_QUOTE_CHARACTERS_MAX
            yield self._unit("row", block, first, last, rendered=text)

    def _unit(self, kind: UnitKind, block: Block, start: int, end: int, rendered: str = "") -> Unit:
        quote = self._document.text[start:end]
        prose = rendered or quote
        if kind != "code" and self._document.kind == "markdown":
            prose = plain(prose)
        elif kind != "code":
            prose = " ".join(prose.split())
        unit_id = f"{self._document.name}:{start}-{end}:{len(rendered)}"
        before, before_end = self._previous
        self._previous = (unit_id, end)
        near = bool(before) and before_end <= start <= before_end + GAP_CHARACTERS_MAX
        return Unit(
            id=unit_id,
            kind=kind,
            quote=quote,
            text=prose,
            place=self._place(block, start, end),
            follows=before if near else "",
            gap=self._document.text[before_end:start] if near else "",
        )

    def _place(self, block: Block, start: int, end: int) -> str:
        match self._document.unit:
            case "line":
                first = bisect.bisect_right(self._lines, start) + 1
                last = bisect.bisect_right(self._lines, max(end - 1, start)) + 1
                return f"L{first}" if first == last else f"L{first}-L{last}"
            case "page":
                return f"page {block.number}"
            case "paragraph":
                return f"paragraph {block.number}"
            case "row":
                return f"row {block.number}"


def _joined(first: str, last: str) -> str:
    """`L3-L4` and `L9` to `L3-L9`; `page 1` and `page 2` to `page 1-2`."""
    begin, end = first.split("-")[0], last.split("-")[-1]
    if begin == end:
        return begin
    return f"{begin}-{end}" if end.startswith("L") else f"{begin}-{end.split()[-1]}"


def _code_pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Whole lines, as many as fit a piece."""
    first = start
    while first < end:
        last = min(first + CODE_CHARACTERS_MAX, end)
        if last < end and (cut := text.rfind("\n", first + 1, last)) > first:
            last = cut
        if text[first:last].strip():
            yield first, last
        first = last + (1 if last < end and text[last] == "\n" else 0)
