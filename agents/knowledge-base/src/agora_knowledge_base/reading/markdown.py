"""Markdown, by the blocks of CommonMark and GitHub's tables. Quotes stay as they stand in the file."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agora_knowledge_base.reading.model import FIELD_CHARACTERS_MAX, Block, Document, render_row

if TYPE_CHECKING:
    from markdown_it.token import Token

PARSED_CHARACTERS_MAX = 2_000_000
"""A larger file is read as plain text with headings: the parser keeps many objects per line."""

_MARKER = re.compile(r"[ \t]*(?:>[ \t]?)*[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?")
_FRONT_LINE = re.compile(r"([A-Za-z_][\w .-]{0,60})\s*:\s*(.+?)\s*$")


def read(name: str, text: str) -> Document:
    """The blocks of a Markdown file; flat front matter becomes fields."""
    from markdown_it import MarkdownIt

    fields, body_line = _front_matter(text)
    lines = _line_starts(text)
    body = text[lines[body_line] :]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    reader = _Reader(text, lines, body_line)
    return Document(
        name=name, kind="markdown", text=text, blocks=reader.blocks(tokens), unit="line", fields=fields
    )


def _front_matter(text: str) -> tuple[dict[str, str], int]:
    """Values between two `---` at the top, and the number of the first line after them."""
    lines = text.split("\n", 200)
    if lines[0].strip() != "---":
        return {}, 0
    fields: dict[str, str] = {}
    for number, line in enumerate(lines[1:200], start=1):
        if line.strip() in ("---", "..."):
            return fields, number + 1 if number + 1 < len(lines) else number
        if found := _FRONT_LINE.match(line):
            value = found[2].strip("'\"")
            if len(value) <= FIELD_CHARACTERS_MAX:
                fields[found[1].strip().lower()] = value
    return {}, 0


def _line_starts(text: str) -> list[int]:
    starts = [0]
    starts.extend(match.end() for match in re.finditer("\n", text))
    return starts


class _Reader:
    """Walks the parser's tokens once and keeps what each needs of those around it."""

    def __init__(self, text: str, lines: list[int], first_line: int) -> None:
        self._text = text
        self._lines = lines
        self._first_line = first_line
        self._header: list[str] = []
        self._in_header = False

    def blocks(self, tokens: Sequence["Token"]) -> list[Block]:
        """All blocks, in order."""
        found: list[Block] = []
        items = 0
        for position, token in enumerate(tokens):
            items += (token.type == "list_item_open") - (token.type == "list_item_close")
            block: Block | None = None
            if token.type == "heading_open":
                block = self._block("heading", token, level=int(token.tag[1]))
            elif token.type == "paragraph_open":
                block = self._block("item" if items else "text", token)
            elif token.type in ("fence", "code_block", "html_block"):
                block = self._block("text" if token.type == "html_block" else "code", token)
            elif token.type in ("thead_open", "thead_close"):
                self._in_header = token.type == "thead_open"
            elif token.type == "tr_open":
                block = self._row(tokens, position)
            if block is not None and block.end > block.start:
                found.append(block)
        return found

    def _row(self, tokens: Sequence["Token"], position: int) -> Block | None:
        cells = []
        # By index: a slice would copy the rest of the file for every row.
        for index in range(position + 1, len(tokens)):
            if tokens[index].type == "tr_close":
                break
            if tokens[index].type == "inline":
                cells.append(tokens[index].content)
        if self._in_header:
            self._header = cells
            return None
        return self._block("row", tokens[position], rendered=render_row(self._header, cells))

    def _block(self, kind: str, token: "Token", *, level: int = 0, rendered: str = "") -> Block | None:
        if token.map is None:
            return None
        first, last = (self._first_line + line for line in token.map)
        if token.type == "fence":
            first, last = first + 1, self._without_closing_fence(first, last, token.markup)
        start = self._lines[min(first, len(self._lines) - 1)]
        end = self._lines[last] if last < len(self._lines) else len(self._text)
        if kind == "heading":
            return Block(kind="heading", start=start, end=self._trimmed_end(start, end), level=level)
        if kind == "item" and (marker := _MARKER.match(self._text, start, end)):
            start = marker.end()
        return Block(
            kind=kind,  # type: ignore[arg-type]
            start=self._trimmed_start(start, end),
            end=self._trimmed_end(start, end),
            rendered=rendered,
        )

    def _without_closing_fence(self, first: int, last: int, markup: str) -> int:
        """A fence that the end of the file closes has no closing line."""
        line = self._text[self._lines[last - 1] : self._lines[last] if last < len(self._lines) else None]
        return last - 1 if last - 1 > first and line.strip(" \t>\n").startswith(markup) else last

    def _trimmed_start(self, start: int, end: int) -> int:
        while start < end and self._text[start].isspace():
            start += 1
        return start

    def _trimmed_end(self, start: int, end: int) -> int:
        while end > start and self._text[end - 1].isspace():
            end -= 1
        return end


_IMAGE = re.compile(r"!\[([^\]\n]{0,300})\]\([^()\s]{0,500}(?:\s[^()\n]{0,200})?\)")
_LINK = re.compile(r"\[([^\]\n]{1,300})\](?:\([^()\s]{0,500}(?:\s[^()\n]{0,200})?\)|\[[^\]\n]{0,100}\])")
_AUTOLINK = re.compile(r"<(https?://[^>\s]{1,500}|[^>\s@]{1,100}@[^>\s]{1,100})>")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>")
_STRONG = re.compile(r"(\*\*|__|~~)(?=\S)(.{1,1000}?)(?<=\S)\1", re.DOTALL)
_EMPHASIS = re.compile(r"(?<![\w*])([*_])(?=\S)([^*_\n]{1,500}?)(?<=\S)\1(?![\w*])")
_CODE = re.compile(r"`+([^`\n]{1,500})`+")
_QUOTE = re.compile(r"^[ \t]*>[ \t]?", re.MULTILINE)
_ATX = re.compile(r"^[ \t]*#{1,6}[ \t]+|[ \t]+#+[ \t]*$|^[=-]{2,}[ \t]*$", re.MULTILINE)
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+.!|<>~-])")


def plain(text: str) -> str:
    """Markdown's inline marks taken off, for search and for answers; quotes keep them."""
    import html

    text = _QUOTE.sub("", text)
    text = _IMAGE.sub(r"\1", text)
    text = _LINK.sub(r"\1", text)
    text = _AUTOLINK.sub(r"\1", text)
    text = _TAG.sub(" ", text)
    text = _CODE.sub(r"\1", text)
    text = _STRONG.sub(r"\2", text)
    text = _EMPHASIS.sub(r"\2", text)
    return " ".join(html.unescape(_ESCAPE.sub(r"\1", text)).split())


def plain_heading(text: str) -> str:
    """A heading without its marks."""
    return plain(_ATX.sub("", text))
