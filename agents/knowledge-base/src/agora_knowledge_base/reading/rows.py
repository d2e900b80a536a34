"""CSV, JSON and JSON lines: each row or object is a block, quoted as it stands in the file."""

import csv
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from agora_knowledge_base.reading.model import FIELD_CHARACTERS_MAX, Block, Document, Unreadable, render_row

ROWS_MAX = 50_000
COLUMNS_MAX = 500
DEPTH_MAX = 6
CELL_CHARACTERS_MAX = 10_000_000

_DELIMITERS = (",", ";", "\t", "|")


def read_csv(name: str, text: str) -> Document:
    """A table with a header; the delimiter is found.

    Raises:
        Unreadable: a row cannot be read, or there are too many.
    """
    delimiter = _delimiter(text)
    header: list[str] = []
    blocks: list[Block] = []
    csv.field_size_limit(CELL_CHARACTERS_MAX)
    for cells, start, end in _records(text, delimiter):
        if not any(cell.strip() for cell in cells):
            continue
        if not header:
            header = [" ".join(cell.split()) for cell in cells[:COLUMNS_MAX]]
            continue
        blocks.append(
            Block(
                kind="row",
                start=start,
                end=end,
                number=len(blocks) + 1,
                rendered=render_row(header, cells[:COLUMNS_MAX]),
                fields=_fields(zip(header, cells, strict=False)),
            )
        )
        _check_count(blocks)
    if not blocks:
        raise Unreadable("empty", "The table has no rows below its header.")
    return Document(name=name, kind="csv", text=text, blocks=blocks, unit="row")


def read_json_lines(name: str, text: str) -> Document:
    """One JSON value on each line.

    Raises:
        Unreadable: a line is no JSON, or there are too many.
    """
    blocks: list[Block] = []
    for line, match in enumerate(re.finditer(r"[^\n]+", text), start=1):
        if not match[0].strip():
            continue
        try:
            value = msgspec.json.decode(match[0])
        except (msgspec.DecodeError, RecursionError) as error:
            raise Unreadable("file_damaged", f"This is no JSON: {error}", f"line {line}") from error
        blocks.append(_json_block(value, match.start(), match.end(), len(blocks) + 1))
        _check_count(blocks)
    return Document(name=name, kind="jsonl", text=text, blocks=blocks, unit="row")


def read_json(name: str, text: str) -> Document:
    """A list of objects, or an object whose members are taken one by one.

    Raises:
        Unreadable: it is no JSON, or has too many elements.
    """
    try:
        outer = msgspec.json.decode(text, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unreadable("file_damaged", f"This is no JSON: {error}") from error
    pairs = [("", raw) for raw in outer] if isinstance(outer, list) else list(outer.items())
    blocks: list[Block] = []
    position = 0
    for key, raw in pairs:
        written = bytes(raw).decode()
        start = text.index(written, position)
        position = start + len(written)
        value = msgspec.json.decode(raw)
        blocks.append(_json_block({key: value} if key else value, start, position, len(blocks) + 1))
        _check_count(blocks)
    if not blocks:
        raise Unreadable("empty", "The file holds no values.")
    return Document(name=name, kind="json", text=text, blocks=blocks, unit="row")


def _json_block(value: Any, start: int, end: int, number: int) -> Block:
    flat = list(islice(_flat(value, "", DEPTH_MAX), COLUMNS_MAX))
    rendered = render_row([name for name, _ in flat], [cell for _, cell in flat])
    return Block(
        kind="row", start=start, end=end, number=number, rendered=rendered, fields=_fields(iter(flat))
    )


def _flat(value: Any, name: str, depth: int) -> Iterator[tuple[str, str]]:
    """Leaves of nested JSON, each named by its path."""
    if isinstance(value, dict) and depth:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key), depth - 1)
    elif isinstance(value, list) and depth:
        if all(isinstance(inner, str | int | float) for inner in value):
            yield name, ", ".join(map(_written, value))
        else:
            for inner in value:
                yield from _flat(inner, name, depth - 1)
    elif value is not None:
        yield name, _written(value)


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _fields(pairs: Iterator[tuple[str, str]] | Any) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in islice(pairs, 100):
        if name and value and len(value) <= FIELD_CHARACTERS_MAX:
            fields[name.lower()] = value.strip()
    return fields


def _delimiter(text: str) -> str:
    """The delimiter that the first lines agree on best."""
    lines = [line for line in text[:100_000].split("\n")[:30] if line.strip()]

    def agreement(delimiter: str) -> tuple[int, int]:
        counts = [line.count(delimiter) for line in lines]
        return (sum(count == counts[0] and count > 0 for count in counts), counts[0])

    return max(_DELIMITERS, key=agreement)


def _records(text: str, delimiter: str) -> Iterator[tuple[list[str], int, int]]:
    """Each record's cells, and where it begins and ends in the text."""
    position = 0
    ends: list[int] = []

    def lines() -> Iterator[str]:
        nonlocal position
        for match in re.finditer(r"[^\n]*\n|[^\n]+$", text):
            position = match.end()
            yield match[0]

    reader = csv.reader(lines(), delimiter=delimiter)
    start = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Unreadable(
                "file_damaged", f"The row cannot be read: {error}", f"line {reader.line_num}"
            ) from error
        ends.append(position)
        yield cells, start, start + len(text[start:position].rstrip("\n"))
        start = position


def _check_count(blocks: list[Block]) -> None:
    if len(blocks) > ROWS_MAX:
        raise Unreadable("too_large", f"There are more than {ROWS_MAX:,} rows: split the file.")
