"""Text without a format: paragraphs, lists, and the headings that people write by hand."""

import re

from agora_knowledge_base.reading.model import Block, Document

HEADING_CHARACTERS_MAX = 100

_HASHES = re.compile(r"(#{1,6})[ \t]+\S")
_NUMBERED = re.compile(
    r"(?:(?:Section|Chapter|Article|Part|Appendix)\s+)?(\d{1,3}(?:\.\d{1,3}){0,4})[.)]?\s+[A-Z]"
)
_ITEM = re.compile(r"[ \t]*(?:[-*•·‣\u2013]|\(?\d{1,3}[.)]|\(?[a-z][.)])[ \t]+(?=\S)")
_UNDERLINE = re.compile(r"([=\-~^*])\1{2,}\s*$")
_SENTENCE_END = (".", "!", "?", ";", ",")


def read(name: str, text: str, kind: str = "text") -> Document:
    """The blocks of a text file, whose places are lines."""
    return Document(name=name, kind=kind, text=text, blocks=blocks(text, 0, len(text)), unit="line")


def blocks(text: str, start: int, end: int, number: int = 0) -> list[Block]:
    """The blocks of a stretch of text.

    Args:
        text: The whole text, which the blocks' offsets count in.
        start: Where the stretch begins.
        end: Where it ends.
        number: The page it stands on, 0 for a text without pages.
    """
    found: list[Block] = []
    for first, last in _paragraphs(text, start, end):
        found.extend(_of_paragraph(text, first, last, number))
    return found


def _paragraphs(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Stretches between blank lines."""
    found = re.finditer(r"[^\n]*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*", text[start:end])
    return [(start + match.start(), start + match.end()) for match in found]


def _of_paragraph(text: str, start: int, end: int, number: int) -> list[Block]:
    lines = [(start + m.start(), start + m.end()) for m in re.finditer(r"[^\n]+", text[start:end])]
    found: list[Block] = []
    gathered: list[tuple[int, int]] = []

    def flush() -> None:
        if gathered:
            first, last = gathered[0][0], gathered[-1][1]
            marker = _ITEM.match(text, first, last)
            kind = "item" if marker else "text"
            begin = marker.end() if marker else first
            found.append(Block(kind=kind, start=begin, end=last, number=number))  # type: ignore[arg-type]
            gathered.clear()

    position = 0
    while position < len(lines):
        first, last = lines[position]
        following = text[slice(*lines[position + 1])] if position + 1 < len(lines) else ""
        line = text[first:last].strip()
        level = _heading_level(line, following, alone=len(lines) == 1, opens=not gathered)
        if level:
            flush()
            found.append(Block(kind="heading", start=first, end=last, level=level, number=number))
            position += 2 if _UNDERLINE.match(following.strip()) else 1
            continue
        if _ITEM.match(text, first, last):
            flush()
        if not _UNDERLINE.fullmatch(line):
            gathered.append((first, last))
        position += 1
    flush()
    return found


def _heading_level(line: str, following: str, *, alone: bool, opens: bool) -> int:
    """1 to 6 for a heading, 0 for anything else.

    Args:
        line: The line, stripped.
        following: The next line of the same paragraph, or nothing.
        alone: Whether the line is a paragraph by itself.
        opens: Whether it begins a paragraph or follows a heading.
    """
    if hashes := _HASHES.match(line):
        return len(hashes[1])
    if len(line) > HEADING_CHARACTERS_MAX or not any(map(str.isalpha, line)) or line.endswith(_SENTENCE_END):
        return 0
    if opens and _UNDERLINE.match(following.strip()):
        return 1 if following.strip()[0] == "=" else 2
    words = line.split()
    if _NUMBERED.match(line) and len(words) <= 12 and (alone or opens):
        return 1 + line.split()[0].strip(".)").count(".")
    letters = [character for character in line if character.isalpha()]
    if opens and len(words) <= 10 and len(letters) >= 3 and all(map(str.isupper, letters)):
        return 1
    if opens and not alone and len(words) <= 5 and _title_like(words) and _much_longer(following, line):
        return 2
    return 2 if alone and len(words) <= 8 and _title_like(words) and not _ITEM.match(line) else 0


def _much_longer(following: str, line: str) -> bool:
    """A short first line over a line of full length that begins a sentence of its own."""
    text = following.strip()
    return len(text) > max(2 * len(line), 50) and (text[0].isupper() or text[0].isdigit())


def _title_like(words: list[str]) -> bool:
    """A short line by itself, with no sentence's end: a heading if it starts like one."""
    return words[0][0].isupper() and not words[-1].endswith(":") and not any("@" in word for word in words)
