"""The cleaned table as Parquet and CSV, written frame by frame."""

import re
from pathlib import Path
from types import TracebackType

import polars as pl

_FORMULA = r"^(?:[=@\t\r]|[+\-][^\d\s.,(]|[+\-][\d\s.,()/+\-]*[A-Za-z!|*^&=])"
"""Text that a spreadsheet would calculate. "+49 30 123" and "-" are none; "+SUM(A1)" and "-1+cmd|..." are."""


def csv_safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe before it keeps it text."""
    return f"'{text}" if re.match(_FORMULA, text) else text


class CleanTable:
    """Writes clean.csv while frames come, and clean.parquet at the end from typed parts on disk."""

    def __init__(self, folder: Path, schema: dict[str, pl.DataType]) -> None:
        self._folder = folder
        self._schema = schema
        self.csv_path = folder / "clean.csv"
        self.parquet_path = folder / "clean.parquet"
        self._parts: list[Path | pl.DataFrame] = []
        self._stream = self.csv_path.open("wb")
        self.rows = 0
        header = pl.DataFrame(schema={csv_safe(name): dtype for name, dtype in schema.items()})
        header.write_csv(self._stream, include_header=True)

    def __enter__(self) -> "CleanTable":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows of the table's schema."""
        if frame.height == 0:
            return
        self.rows += frame.height
        _safe_for_csv(frame).write_csv(self._stream, include_header=False)
        part = self._folder / f"part-{len(self._parts)}.parquet"
        frame.write_parquet(part)
        self._parts.append(part)

    def finish(self) -> None:
        """Close the CSV and put the Parquet file together, in bounded memory."""
        self._stream.close()
        if not self._parts:
            pl.DataFrame(schema=self._schema).write_parquet(self.parquet_path)
            return
        if len(self._parts) == 1 and isinstance(self._parts[0], Path):
            self._parts[0].replace(self.parquet_path)
            return
        paths = [part for part in self._parts if isinstance(part, Path)]
        pl.scan_parquet(paths).sink_parquet(self.parquet_path, maintain_order=True)
        for path in paths:
            path.unlink()


def _safe_for_csv(frame: pl.DataFrame) -> pl.DataFrame:
    changes = []
    for name, dtype in frame.schema.items():
        column = pl.col(name)
        if dtype == pl.String:
            changes.append(
                pl.when(column.str.contains(_FORMULA))
                .then(pl.lit("'") + column)
                .otherwise(column)
                .alias(name)
            )
        elif isinstance(dtype, pl.Datetime):
            suffix = "Z" if dtype.time_zone else ""
            fraction = "%.6f" if (frame[name].dt.microsecond() != 0).any() else ""
            changes.append(column.dt.strftime(f"%Y-%m-%dT%H:%M:%S{fraction}{suffix}").alias(name))
        elif dtype == pl.Time:
            changes.append(column.dt.strftime("%H:%M:%S").alias(name))
    return frame.with_columns(changes) if changes else frame
