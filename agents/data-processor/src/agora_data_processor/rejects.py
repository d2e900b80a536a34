"""Rejected rows: each is kept with its line, the reason and what the file says there."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from agora_data_processor import limits, native
from agora_data_processor.outputs import csv_safe

SORTED_ROWS_MAX = 200_000
"""More rejected rows than this stay in the order in which they were found."""
COLUMNS = ("source", "line", "reason", "column", "value", "record")


class RejectedRows:
    """Writes rejected.csv. `record` is the row's cells as a JSON array, or the raw text of a broken one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream)
        self._writer.writerow(COLUMNS)
        self.reasons: Counter[str] = Counter()

    def __enter__(self) -> "RejectedRows":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if kind is None and self.count <= SORTED_ROWS_MAX:
            self._sort()

    def _sort(self) -> None:
        """Rows in the order of the file: they were found in the order of the checks."""
        with self._path.open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
        sources = {source: number for number, source in enumerate(dict.fromkeys(row[0] for row in rows))}
        rows.sort(key=lambda row: (sources[row[0]], int(row[1])))
        with self._path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([header, *rows])

    @property
    def count(self) -> int:
        """How many rows were rejected."""
        return self.reasons.total()

    def add(
        self,
        source: str,
        line: int,
        reason: str,
        record: Sequence[str | None] | str,
        *,
        column: str = "",
        value: str | None = None,
    ) -> None:
        """Keep one rejected row."""
        self.reasons[reason] += 1
        if isinstance(record, str):
            text = record
        else:
            cells = [None if cell is None else cell.removeprefix(native.MARK) for cell in record]
            text = json.dumps(cells, ensure_ascii=False)
        shown = (value or "").removeprefix(native.MARK)[: limits.REJECTED_VALUE_CHARACTERS]
        self._writer.writerow(
            (
                csv_safe(source),
                line,
                reason,
                csv_safe(column),
                csv_safe(shown),
                csv_safe(text[: limits.REJECTED_RECORD_CHARACTERS].rstrip("\r\n")),
            )
        )
