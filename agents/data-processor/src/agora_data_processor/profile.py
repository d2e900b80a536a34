"""Figures of the cleaned table, gathered frame by frame."""

from typing import Any

import polars as pl

from agora_data_processor import limits

_UNIQUENESS_ROWS_MAX = 2_000_000


class ColumnProfile:
    """Nulls, distinct values, range, and first examples of one column."""

    def __init__(self, dtype: pl.DataType) -> None:
        self.dtype = dtype
        self.rows = 0
        self.nulls = 0
        self.least: Any = None
        self.most: Any = None
        self.total = 0.0
        self.examples: list[str] = []
        self._distinct: set[Any] = set()
        self.distinct_exact = True

    def add(self, values: pl.Series) -> None:
        """Count more cells."""
        self.rows += len(values)
        self.nulls += values.null_count()
        if self.distinct_exact:
            self._distinct.update(values.drop_nulls().unique().to_list())
            self.distinct_exact = len(self._distinct) <= limits.DISTINCT_MAX
        if len(self.examples) < 3:
            fresh = values.drop_nulls().unique(maintain_order=True).head(10)
            self.examples = list(dict.fromkeys([*self.examples, *map(str, fresh.to_list())]))[:3]
        self._range(values.str.len_chars() if self.dtype == pl.String else values)
        if self.dtype.is_numeric():
            self.total += float(values.sum() or 0)

    def _range(self, values: pl.Series) -> None:
        least, most = values.min(), values.max()
        if least is not None:
            self.least = least if self.least is None else min(self.least, least)
            self.most = most if self.most is None else max(self.most, most)

    @property
    def distinct(self) -> int:
        """Distinct values; at least so many where `distinct_exact` is False."""
        return len(self._distinct)

    def described(self) -> dict[str, Any]:
        """The figures for the report; a text's range is that of its length in characters."""
        names = ("min_length", "max_length") if self.dtype == pl.String else ("min", "max")
        shown: dict[str, Any] = {
            "nulls": self.nulls,
            "distinct": self.distinct,
            "distinct_exact": self.distinct_exact,
            names[0]: _plain(self.least),
            names[1]: _plain(self.most),
            "examples": self.examples,
        }
        if self.dtype.is_numeric() and self.rows > self.nulls:
            shown["mean"] = round(self.total / (self.rows - self.nulls), 6)
        return shown


class TableProfile:
    """The profiles of all columns, and how many rows are there more than once."""

    def __init__(self, schema: dict[str, pl.DataType]) -> None:
        self.columns = {name: ColumnProfile(dtype) for name, dtype in schema.items()}
        self.rows = 0
        self._hashes: list[pl.Series] = []
        self._counted = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Count more rows."""
        self.rows += frame.height
        for name, column in self.columns.items():
            column.add(frame[name])
        if self._counted < _UNIQUENESS_ROWS_MAX and frame.height:
            self._counted += frame.height
            self._hashes.append(frame.hash_rows(seed=1))

    @property
    def duplicates(self) -> int:
        """Rows that repeat an earlier one, among the first two million."""
        return self._counted - pl.concat(self._hashes).n_unique() if self._hashes else 0

    @property
    def completeness(self) -> float:
        """The share of cells that hold a value."""
        cells = sum(column.rows for column in self.columns.values())
        return 1.0 if not cells else 1 - sum(column.nulls for column in self.columns.values()) / cells

    @property
    def uniqueness(self) -> float:
        """The share of rows that repeat no earlier one."""
        return 1.0 if not self._counted else 1 - self.duplicates / self._counted


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | bool) else str(value)
