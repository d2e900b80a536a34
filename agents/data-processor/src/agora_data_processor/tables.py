"""A file as one table: found out once (`inspect`), then read as frames of strings (`frames`)."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from agora_data_processor import (
    convert,
    dialect,
    encodings,
    excel,
    json_tables,
    layout,
    limits,
    records,
    sniff,
)
from agora_data_processor.faults import TableError
from agora_data_processor.found import Found
from agora_data_processor.job import Options
from agora_data_processor.records import Batch, BrokenRecord, Repairs

LINE = "\ue001line"
"""The frames' column of line numbers; no file's column has such a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Records as trimmed strings under the file's names, with their lines; and what was no record."""

    strings: pl.DataFrame
    broken: list[BrokenRecord]
    ragged: list[tuple[int, str, list[str | None]]]


def inspect(path: Path, name: str, options: Options) -> Found:
    """Find out how a file is written and where its table lies.

    Raises:
        TableError: it holds no table that can be read.
    """
    kind = sniff.kind_of(path, name)
    if kind == "excel":
        sheet = excel.choose_sheet(path, name, options.sheet)
        batches = excel.read_batches(path, name, sheet.name)
        base = Found(
            name=name,
            kind=kind,
            encoding="binary",
            sheet=sheet.name,
            other_sheets=sheet.others,
            names=[],
            source_names=[],
        )
        return _laid_out(base, _head(batches), options)
    encoding = _encoding(path, name, options)
    base = Found(
        name=name,
        kind=kind,
        codec=encoding.codec,
        encoding=encoding.name,
        fallback=encoding.fallback,
        mixed_encoding=encoding.mixed,
        names=[],
        source_names=[],
    )
    if kind == "text":
        lines = _sample_lines(path, encoding)
        how = dialect.detect(lines, delimiter=options.delimiter)
        wrapped = how.delimiter == "" and dialect.is_wrapped(lines)
        if wrapped:
            how = dialect.detect([dialect.unwrapped(line) for line in lines])
        base = msgspec.structs.replace(
            base, delimiter=how.delimiter, quote=how.quote, escape=how.escape, wrapped=wrapped
        )
        return _laid_out(base, _head(_text_batches(path, base, Repairs())), options)
    return _json_layout(path, base, options)


def frames(path: Path, found: Found, options: Options, repairs: Repairs) -> Iterator[Frame]:
    """The file's records in order.

    Raises:
        TableError: the file cannot be read to its end.
    """
    pad = options.ragged == "pad" or (options.ragged == "auto" and found.pad_short)
    if found.kind == "excel":
        batches = excel.read_batches(path, found.name, str(found.sheet))
    elif found.kind == "text":
        batches = _text_batches(path, found, repairs)
    else:
        batches = _json_batches(path, found, repairs)
        pad = True
    for batch in batches:
        yield _frame(batch, found, pad)


def _encoding(path: Path, name: str, options: Options) -> encodings.Encoding:
    if options.encoding is None:
        return encodings.detect(path)
    encoding = encodings.named(options.encoding)
    if encoding is None:
        raise TableError(
            "encoding_unknown",
            f"There is no encoding {options.encoding!r}. Leave it out to have it detected.",
            name,
        )
    return encoding


def _sample_lines(path: Path, encoding: encodings.Encoding) -> list[str]:
    lines: list[str] = []
    characters = 0
    broken = 0
    for number, line in records.physical_lines(path, encoding, Repairs()):
        characters += len(line)
        if len(line) >= limits.RECORD_CHARACTERS_MAX:
            broken = number  # what is cut into pieces tells nothing about the others
        if number != broken:
            lines.append(line)
        if characters > limits.SAMPLE_BYTES or len(lines) >= 5 * limits.SAMPLE_RECORDS:
            break
    return lines


def _dialect(found: Found) -> dialect.Dialect:
    return dialect.Dialect(delimiter=found.delimiter, quote=found.quote, escape=found.escape)


def _text_batches(path: Path, found: Found, repairs: Repairs) -> Iterator[Batch]:
    encoding = encodings.Encoding(codec=found.codec, name=found.encoding, fallback=found.fallback)
    lines = records.physical_lines(path, encoding, repairs)
    first = next(lines, None)
    if first is not None and not (len(first[1].rstrip("\r\n")) == 5 and first[1].startswith("sep=")):
        lines = itertools.chain([first], lines)
    if found.wrapped:
        lines = ((number, dialect.unwrapped(line)) for number, line in lines)
    return records.read_batches(lines, _dialect(found))


def _head(batches: Iterator[Batch]) -> Batch:
    head = Batch()
    for batch in batches:
        head.lines += batch.lines[: limits.SAMPLE_RECORDS - len(head.lines)]
        head.rows += batch.rows[: limits.SAMPLE_RECORDS - len(head.rows)]
        if len(head.rows) >= limits.SAMPLE_RECORDS:
            break
    return head


def _laid_out(found: Found, head: Batch, options: Options) -> Found:
    if not head.rows:
        raise TableError("file_empty", "There is no row in the file that can be read.", found.name)
    where = layout.find(head.rows, header=options.header)
    if where.width > limits.COLUMNS_MAX:
        raise TableError(
            "too_many_columns",
            f"The table has {where.width} columns; at most {limits.COLUMNS_MAX}.",
            found.name,
        )
    first = where.first_data
    if where.header_rows:
        # Broken records between the header and the first sound row are data too: they are accounted for.
        first_line = head.lines[where.header_rows[-1]] + 1
    else:
        first_line = head.lines[first] if first else 1
    return msgspec.structs.replace(
        found,
        header_line=head.lines[where.header_rows[0]] if where.header_rows else None,
        header_lines=len(where.header_rows),
        preamble_lines=where.header_rows[0] if where.header_rows else first,
        first_data_line=first_line,
        names=where.names,
        source_names=where.source_names,
        pad_short=where.pad_short,
    )


def _json_items(path: Path, found: Found, repairs: Repairs) -> Iterator[json_tables.Item]:
    encoding = encodings.Encoding(codec=found.codec, name=found.encoding, fallback=found.fallback)
    if found.kind == "json_lines":
        return json_tables.read_lines(path, encoding, repairs)
    return json_tables.read_array(path, encoding, found.name)


def _json_layout(path: Path, found: Found, options: Options) -> Found:
    keys: dict[str, None] = {}
    head = Batch()
    objects = others = 0
    for item in _json_items(path, found, Repairs()):
        if isinstance(item, BrokenRecord):
            continue
        row = _flat(item[1])
        if isinstance(row, dict):
            objects += 1
            keys.update(dict.fromkeys(row))
            if len(keys) > limits.COLUMNS_MAX:
                raise TableError(
                    "too_many_columns", f"The records have more than {limits.COLUMNS_MAX} fields.", found.name
                )
        elif row is not None and len(head.rows) < limits.SAMPLE_RECORDS:
            others += 1
            head.lines.append(item[0])
            head.rows.append(row)
    if objects:
        names = [layout.clean_name(key) for key in keys]
        # Rows are put together by the keys as they are; names only make them unique and printable.
        return msgspec.structs.replace(
            found, names=layout.unique_names(names), source_names=list(keys), by_position=False
        )
    if not others:
        raise TableError("file_not_a_table", "The JSON holds no list of records.", found.name)
    return _laid_out(found, head, options)


def _json_batches(path: Path, found: Found, repairs: Repairs) -> Iterator[Batch]:
    batch = Batch()
    for item in _json_items(path, found, repairs):
        if isinstance(item, BrokenRecord):
            batch.broken.append(item)
            continue
        row = _json_row(item[1], found)
        if row is None:
            text = _shown(item[1])
            batch.broken.append(BrokenRecord(line=item[0], reason="not_a_record", text=text))
            continue
        batch.lines.append(item[0])
        batch.rows.append(row)
        if len(batch.rows) >= limits.BATCH_RECORDS:
            yield batch
            batch = Batch()
    yield batch


def _shown(value: Any) -> str:
    try:
        return json_tables.text_of(value)[: limits.REJECTED_RECORD_CHARACTERS]
    except RecursionError:
        return "(nested too deeply to be shown)"


def _flat(value: Any) -> dict[str, str | None] | list[str | None] | None:
    try:
        return json_tables.flat(value)
    except RecursionError:
        return None  # nested deeper than any table: no record


def _json_row(value: Any, found: Found) -> list[str | None] | None:
    cells = _flat(value)
    if isinstance(cells, dict) and not found.by_position:
        return [cells.get(key) for key in found.source_names]
    if isinstance(cells, list) and found.by_position:
        return cells
    return None


def _frame(batch: Batch, found: Found, pad: bool) -> Frame:
    width = found.width
    lines: list[int] = []
    rows: list[list[str | None]] = []
    ragged: list[tuple[int, str, list[str | None]]] = []
    for line, row in zip(batch.lines, batch.rows, strict=True):
        if line < found.first_data_line:
            continue
        if len(row) != width:
            used = layout.length(row)
            if used > width:
                ragged.append((line, "too_many_fields", row))
                continue
            if len(row) > width:
                row = row[:width]
            elif pad or used == 0:
                row = [*row, *[None] * (width - len(row))]
            else:
                ragged.append((line, "too_few_fields", row))
                continue
        lines.append(line)
        rows.append(row)
    columns = list(zip(*rows, strict=True)) if rows else [()] * width
    strings = pl.DataFrame(
        [
            convert.trimmed(pl.Series(name, column, dtype=pl.String))
            for name, column in zip(found.names, columns, strict=True)
        ]
    ).with_columns(pl.Series(LINE, lines, dtype=pl.UInt32))
    broken = [item for item in batch.broken if item.line >= found.first_data_line]
    empty = pl.all_horizontal(pl.exclude(LINE).is_null())
    return Frame(strings=strings.filter(~empty), broken=broken, ragged=ragged)
