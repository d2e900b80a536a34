"""Rows as the bytes of a file, piece by piece: never more than one piece in memory."""

import csv
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

import msgspec
from agora_contracts.exports import ExportFormat

from agora_metering.exports.model import ColumnKind

type Columns = Sequence[tuple[str, ColumnKind]]

_PLACES = 12
_DIGITS = 38
"""Sums of quantities have at most 12 decimal places; Parquet's widest decimal leaves 26 digits before them."""


class Encoder(Protocol):
    """Turns rows into bytes. Blocking: call it in a thread."""

    def start(self) -> bytes:
        """What stands before the first row."""
        ...

    def rows(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """Some rows."""
        ...

    def end(self) -> bytes:
        """What stands behind the last row."""
        ...


class CsvEncoder:
    """RFC 4180 with a header line; times in UTC, decimals in full, dimensions as JSON, nothing as nothing."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def start(self) -> bytes:
        """The line of column names."""
        return self._written([[name for name, _ in self._columns]])

    def rows(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """One line per row."""
        return self._written([[_text(value) for value in row] for row in rows])

    def end(self) -> bytes:
        """Nothing."""
        return b""

    def _written(self, rows: Sequence[Sequence[str]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        return text.getvalue().encode()


class ParquetEncoder:
    """Parquet, compressed, one row group per piece."""

    def __init__(self, columns: Columns) -> None:
        # Here, because it takes 60 MB of memory, which a service that exports nothing can do without.
        import pyarrow
        import pyarrow.parquet

        kinds: dict[ColumnKind, Any] = {
            "text": pyarrow.string(),
            "number": pyarrow.decimal128(_DIGITS, _PLACES),
            "count": pyarrow.int64(),
            "time": pyarrow.timestamp("us", tz="UTC"),
        }
        self._convert: list[Callable[[Any], Any]] = [
            _text_or_none if kind == "text" else _as_it_is for _, kind in columns
        ]
        self._arrow = pyarrow
        self._schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns])
        self._sink = _Sink()
        self._writer = pyarrow.parquet.ParquetWriter(self._sink, self._schema, compression="zstd")

    def start(self) -> bytes:
        """The magic number."""
        return self._sink.take()

    def rows(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """One row group."""
        arrays = [
            self._arrow.array([convert(row[place]) for row in rows], type=field.type)
            for place, (convert, field) in enumerate(zip(self._convert, self._schema, strict=True))
        ]
        self._writer.write_table(self._arrow.table(arrays, schema=self._schema))
        return self._sink.take()

    def end(self) -> bytes:
        """The footer."""
        self._writer.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def encoder(format: ExportFormat, columns: Columns) -> Encoder:
    """The encoder of a format."""
    return CsvEncoder(columns) if format == "csv" else ParquetEncoder(columns)


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case int():
            return str(value)
    return msgspec.json.encode(value, order="deterministic").decode()


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _as_it_is(value: Any) -> Any:
    return value
