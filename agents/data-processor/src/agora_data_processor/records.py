"""From the bytes of a text table to records with line numbers, in bounded memory.

A broken quote, a line of 100 MB or a byte that is no text costs the record it stands in, not the file.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agora_data_processor import limits
from agora_data_processor.dialect import Dialect
from agora_data_processor.encodings import Encoding

csv.field_size_limit(limits.RECORD_CHARACTERS_MAX + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRecord:
    """A piece of the file that is no record, with the reason and its beginning."""

    line: int
    reason: str
    text: str


@dataclass(slots=True, kw_only=True)
class Batch:
    """Records in file order: `lines[i]` is the physical line (from 1) on which `rows[i]` begins."""

    lines: list[int] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)
    broken: list[BrokenRecord] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Repairs:
    """What was mended while reading, counted in lines."""

    redecoded_lines: int = 0
    undecodable_lines: int = 0
    nul_lines: int = 0


def physical_lines(path: Path, encoding: Encoding, repairs: Repairs) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers from 1, line ends kept, overlong ones cut into pieces.

    Each piece of an overlong line has that line's number; only the last ends with a line end.
    """
    number = 1
    errors = "surrogateescape" if encoding.codec.startswith("utf-8") else "replace"
    with path.open("rb") as raw:
        text = io.TextIOWrapper(raw, encoding=encoding.codec, errors=errors, newline="")
        while line := text.readline(limits.RECORD_CHARACTERS_MAX):
            yield number, _mended(line, encoding, repairs)
            if line.endswith(("\n", "\r")):
                number += 1


def _mended(line: str, encoding: Encoding, repairs: Repairs) -> str:
    if line.isascii():
        if "\0" in line:
            repairs.nul_lines += 1
            return line.replace("\0", "")
        return line
    if "\0" in line:
        repairs.nul_lines += 1
        line = line.replace("\0", "")
    if encoding.codec.startswith("utf-8"):
        try:
            line.encode("utf-8")
        except UnicodeEncodeError:
            repairs.redecoded_lines += 1
            line = _redecoded(line, encoding.fallback)
    elif "\ufffd" in line:
        repairs.undecodable_lines += 1
    return line.replace("\ufeff", "")


def _redecoded(line: str, fallback: str) -> str:
    data = line.encode("utf-8", "surrogateescape")
    try:
        return data.decode(fallback)
    except UnicodeDecodeError:
        # Every byte has a meaning in Latin-1, if not a sensible one.
        return data.decode("latin-1")


def read_batches(lines: Iterable[tuple[int, str]], dialect: Dialect) -> Iterator[Batch]:
    """Records in batches of bounded size. Blank lines are skipped; they are no records."""
    assembler = _Assembler(lines, dialect)
    numbers: list[int] = []
    texts: list[str] = []
    broken: list[BrokenRecord] = []
    characters = 0
    for number, text, reason in assembler.records():
        if reason is not None:
            broken.append(BrokenRecord(line=number, reason=reason, text=text))
            continue
        numbers.append(number)
        texts.append(text)
        characters += len(text)
        if len(texts) >= limits.BATCH_RECORDS or characters >= limits.BATCH_CHARACTERS:
            yield _parsed(numbers, texts, broken, dialect)
            numbers, texts, broken, characters = [], [], [], 0
    if texts or broken:
        yield _parsed(numbers, texts, broken, dialect)


def _parsed(numbers: list[int], texts: list[str], broken: list[BrokenRecord], dialect: Dialect) -> Batch:
    options = dialect.reader_options()
    try:
        rows: list[list[str | None]] = list(csv.reader(texts, **options))  # type: ignore[arg-type]
    except csv.Error:
        rows = []
    if len(rows) == len(texts):
        return Batch(lines=numbers, rows=rows, broken=broken)
    # Some record leaves a quote open (or is refused): read each by itself, so that it spoils no other.
    batch = Batch(broken=broken)
    for number, text in zip(numbers, texts, strict=True):
        try:
            parsed = list(csv.reader([text], **options))  # type: ignore[arg-type]
        except csv.Error as error:
            batch.broken.append(BrokenRecord(line=number, reason="unreadable_record", text=str(error)))
            continue
        if parsed:
            batch.lines.append(number)
            batch.rows.append(list(parsed[0]))
    return batch


class _Assembler:
    """Joins physical lines into records where a quoted field spans lines."""

    def __init__(self, lines: Iterable[tuple[int, str]], dialect: Dialect) -> None:
        self._lines = iter(lines)
        self._pushed: list[tuple[int, str]] = []
        self._dialect = dialect

    def records(self) -> Iterator[tuple[int, str, str | None]]:
        """(line number, text, reason why it is broken or None) of each record that is not blank."""
        quote = self._dialect.quote
        while (item := self._next()) is not None:
            number, line = item
            if len(line) >= limits.RECORD_CHARACTERS_MAX:
                self._skip_rest_of(number)
                yield number, line[: limits.REJECTED_RECORD_CHARACTERS], "record_too_long"
                continue
            if not line.strip(" \r\n\t\xa0") and (self._dialect.delimiter != "\t" or "\t" not in line):
                continue
            if quote and quote in line and self._open_at_end(line):
                yield self._joined(number, line)
                continue
            yield number, line, None

    def _next(self) -> tuple[int, str] | None:
        if self._pushed:
            return self._pushed.pop()
        return next(self._lines, None)

    def _skip_rest_of(self, number: int) -> None:
        while (item := self._next()) is not None:
            if item[0] != number:
                self._pushed.append(item)
                return

    def _joined(self, number: int, line: str) -> tuple[int, str, str | None]:
        taken: list[tuple[int, str]] = []
        pieces = [line]
        characters = len(line)
        while (item := self._next()) is not None:
            taken.append(item)
            pieces.append(item[1])
            characters += len(item[1])
            if self._dialect.quote in item[1] and not self._open_at_end("".join(pieces)):
                joined = "".join(pieces)
                if self._swallowed_records(joined):
                    break
                return number, joined, None
            if len(taken) >= limits.QUOTED_LINES_MAX or characters >= limits.RECORD_CHARACTERS_MAX:
                break
        # The quote was never closed: that line is broken, what follows it is read anew.
        self._pushed.extend(reversed(taken))
        return number, line, "unclosed_quote"

    def _swallowed_records(self, joined: str) -> bool:
        """Whether the "closing" quote was the opening one of a later record.

        Then text follows directly on a quote that should have ended a field, which real fields never have.
        """
        options = self._dialect.reader_options() | {"strict": True}
        try:
            list(csv.reader([joined], **options))  # type: ignore[arg-type]
        except csv.Error:
            return True
        return False

    def _open_at_end(self, text: str) -> bool:
        """Whether the text ends inside a quoted field."""
        quote, escape, delimiter = self._dialect.quote, self._dialect.escape, self._dialect.delimiter
        plain = text.replace(escape + quote, "") if escape else text
        if plain.count(quote) % 2 == 0:
            return False
        position, end = 0, len(plain)
        while position < end:
            while position < end and plain[position] == " ":
                position += 1
            if plain.startswith(quote, position):
                closing = _closing_quote(plain, quote, position + 1)
                if closing < 0:
                    return True
                position = closing + 1
            following = plain.find(delimiter, position) if delimiter else -1
            if following < 0:
                return False
            position = following + 1
        return False


def _closing_quote(text: str, quote: str, position: int) -> int:
    while (found := text.find(quote, position)) >= 0:
        if not text.startswith(quote, found + 1):
            return found
        position = found + 2
    return -1
