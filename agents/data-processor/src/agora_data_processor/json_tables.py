"""Rows of JSON: an array of objects or of arrays, one value per line, or an object that holds such an array.

Values are read one by one, so that a large array does not have to fit into memory.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agora_data_processor import limits, native
from agora_data_processor.encodings import Encoding
from agora_data_processor.faults import TableError
from agora_data_processor.records import BrokenRecord, Repairs, physical_lines

type Item = tuple[int, Any] | BrokenRecord
"""A value with its line (JSON lines) or its position from 1 (an array)."""

_BLOCK_CHARACTERS = 1 << 20
_AFTER_COMMA = re.compile(r"[,\s]*")


class _Numeral(str):
    """A number's own text, so that no digit is lost."""

    __slots__ = ()


_decoder = json.JSONDecoder(
    parse_float=_Numeral, parse_int=_Numeral, parse_constant=lambda _: None, strict=False
)


def read_lines(path: Path, encoding: Encoding, repairs: Repairs) -> Iterator[Item]:
    """Each line's value; a line that is no JSON is broken."""
    for number, line in physical_lines(path, encoding, repairs):
        text = line.strip().rstrip(",")
        if not text or text in ("[", "]"):
            continue
        try:
            yield number, _decoder.decode(text)
        except (json.JSONDecodeError, RecursionError):
            yield BrokenRecord(
                line=number, reason="invalid_json", text=text[: limits.REJECTED_RECORD_CHARACTERS]
            )


def read_array(path: Path, encoding: Encoding, name: str) -> Iterator[Item]:
    """The elements of the table's array, wherever in the document it is.

    Raises:
        TableError: the document holds no array of records.
    """
    with path.open(encoding=encoding.codec, errors="replace") as stream:
        text = stream.read(1024).lstrip("\ufeff \t\r\n")
    if text.startswith("["):
        yield from _elements(path, encoding)
        return
    yield from enumerate(_inside_object(path, encoding, name), start=1)


def _elements(path: Path, encoding: Encoding) -> Iterator[Item]:
    position = 0
    ended = False
    with path.open(encoding=encoding.codec, errors="replace") as stream:
        buffer = stream.read(_BLOCK_CHARACTERS).lstrip("\ufeff \t\r\n")[1:]
        start = 0
        while True:
            start = _AFTER_COMMA.match(buffer, start).end()  # type: ignore[union-attr]  # it matches nothing too
            if buffer.startswith("]", start):
                return
            try:
                value, end = _decoder.raw_decode(buffer, start)
            except (json.JSONDecodeError, RecursionError):
                value, end = None, -1
            # A number at the buffer's end may go on in the next block.
            if end >= 0 and (ended or end < len(buffer)):
                position += 1
                yield position, value
                start = end
                continue
            buffer, start = buffer[start:], 0
            if not ended and len(buffer) <= limits.JSON_ITEM_CHARACTERS_MAX:
                more = stream.read(_BLOCK_CHARACTERS)
                ended = not more
                buffer += more
                continue
            if not buffer:
                return
            position += 1
            broken = buffer[: limits.REJECTED_RECORD_CHARACTERS]
            yield BrokenRecord(line=position, reason="invalid_json", text=broken)
            buffer = _resumed(buffer)


def _resumed(buffer: str) -> str:
    """What follows a broken element: the next object that starts on a new line, if there is one."""
    following = buffer.find("{", 1)
    while following > 0:
        if buffer[:following].rstrip().endswith((",", "}")):
            return buffer[following:]
        following = buffer.find("{", following + 1)
    return ""


def _inside_object(path: Path, encoding: Encoding, name: str) -> list[Any]:
    if path.stat().st_size > limits.EXCEL_BYTES_MAX:
        raise TableError(
            "file_too_large", "A JSON object of this size is refused. Send JSON lines or an array.", name
        )
    try:
        document = _decoder.decode(
            path.read_text(encoding=encoding.codec, errors="replace").strip("\ufeff \t\r\n")
        )
    except (json.JSONDecodeError, RecursionError) as error:
        where = f"{name}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else name
        raise TableError("file_damaged", f"The file is not valid JSON: {error}.", where) from error
    found = _largest_list(document, depth=0)
    if found is not None:
        return found
    if isinstance(document, dict):
        return [document]
    raise TableError("file_not_a_table", "The JSON holds no list of records.", name)


def _largest_list(value: Any, depth: int) -> list[Any] | None:
    """The longest list of objects or lists inside; a dict of equally long lists is read as columns."""
    if depth > 3 or not isinstance(value, dict) or not value:
        return None
    lists = [inner for inner in value.values() if isinstance(inner, list)]
    scalars_only = all(not isinstance(cell, dict | list) for inner in lists for cell in inner)
    if len(lists) == len(value) and scalars_only and len({len(inner) for inner in lists}) == 1:
        return [dict(zip(value, cells, strict=True)) for cells in zip(*lists, strict=True)]
    if all(isinstance(inner, dict) for inner in value.values()) and len(value) > 1:
        inner_lists = [_largest_list(inner, depth + 1) for inner in value.values()]
        if not any(inner_lists):
            return _keyed(value)
    candidates = [inner for inner in lists if inner and isinstance(inner[0], dict | list)]
    candidates += [found for inner in value.values() if (found := _largest_list(inner, depth + 1))]
    return max(candidates, key=len) if candidates else None


def _keyed(value: dict[str, dict[str, Any]]) -> list[Any]:
    """{"a": {...}, "b": {...}}: columns of {row: cell} as pandas writes them, or records by key."""
    keys = [tuple(inner) for inner in value.values()]
    same = len(set(keys)) == 1
    if same and all(key.isdigit() for key in keys[0]):
        return [{column: cells[row] for column, cells in value.items()} for row in keys[0]]
    return [{"key": key, **inner} for key, inner in value.items()]


def flat(record: Any) -> dict[str, str | None] | list[str | None] | None:
    """A record's cells as strings: nested objects by dotted names, lists as JSON. None if it is no record."""
    if isinstance(record, dict):
        cells: dict[str, str | None] = {}
        _flatten(record, "", cells, 0)
        return cells
    if isinstance(record, list):
        return [_cell(value) for value in record]
    return None


def _flatten(record: dict[str, Any], prefix: str, cells: dict[str, str | None], depth: int) -> None:
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and depth < limits.JSON_DEPTH_MAX:
            _flatten(value, f"{name}.", cells, depth + 1)
        else:
            cells[name] = _cell(value)


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, _Numeral):
        return f"{native.MARK}{value}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return text_of(value)


def text_of(value: Any) -> str:
    """JSON of a value, its numbers as they were written."""
    if isinstance(value, _Numeral):
        return str(value)
    if isinstance(value, dict):
        inner = (f"{json.dumps(key, ensure_ascii=False)}: {text_of(cell)}" for key, cell in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(text_of, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
