"""The same files through plain polars, pandas and clevercsv, scored by the same measure.

    pip install pandas clevercsv        (neither is a dependency of the agent)
    python agents/data-processor/evals/compare.py [--split report]

Text files only. A reader that fails on a file scores zero there; none of them says which rows it lost, so only the
number of rows counts as the account.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from score_data_processor import stored  # noqa: E402
from scoring import score  # noqa: E402

type Read = Callable[[Path], pl.DataFrame]


def polars_alone(path: Path) -> pl.DataFrame:
    """read_csv with types from all rows, dates tried, ragged lines cut, bytes that are no UTF-8 replaced."""
    return pl.read_csv(
        path, try_parse_dates=True, infer_schema_length=None, truncate_ragged_lines=True, encoding="utf8-lossy",
        null_values=["", "NA", "N/A", "null", "-"],
    )  # fmt: skip


def pandas_sniffing(path: Path) -> pl.DataFrame:
    """read_csv that sniffs the delimiter, skips bad lines, and falls back to Windows-1252."""
    pandas = import_module("pandas")

    def read(encoding: str) -> Any:
        return pandas.read_csv(path, sep=None, engine="python", on_bad_lines="skip", encoding=encoding)

    try:
        frame = read("utf-8-sig")
    except UnicodeError:
        frame = read("cp1252")
    return _from_pandas(frame)


def clevercsv_and_pandas(path: Path) -> pl.DataFrame:
    """Encoding and dialect by clevercsv, the rest by pandas."""
    clevercsv, pandas = import_module("clevercsv"), import_module("pandas")

    encoding = clevercsv.encoding.get_encoding(str(path))
    dialect = clevercsv.Sniffer().sniff(path.read_bytes().decode(encoding), verbose=False)
    frame = pandas.read_csv(
        path, sep=dialect.delimiter or ",", quotechar=dialect.quotechar or '"', escapechar=dialect.escapechar or None,
        on_bad_lines="skip", encoding=encoding, engine="python",
    )  # fmt: skip
    return _from_pandas(frame)


def _from_pandas(frame: Any) -> pl.DataFrame:
    columns = {}
    for name in frame.columns:
        values = [None if value != value else value for value in frame[name].tolist()]
        columns[str(name)] = pl.Series(str(name), values, strict=False)
    return pl.DataFrame(columns)


KINDS: dict[Any, str] = {
    pl.Int64: "integer",
    pl.Float64: "decimal",
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Time: "time",
}


def kinds(frame: pl.DataFrame) -> dict[str, str]:
    """Types in the agent's words."""
    return {
        name: "datetime"
        if isinstance(dtype, pl.Datetime)
        else KINDS.get(type(dtype), KINDS.get(dtype, "text"))
        for name, dtype in frame.schema.items()
    }


def main() -> None:
    """Print a line of figures for each reader."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--split", choices=["tune", "report"])
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    readers: tuple[Read, ...] = (polars_alone, pandas_sniffing, clevercsv_and_pandas)
    cases = [case for case in stored(asked.split) if case[3].endswith((".csv", ".tsv", ".txt"))]
    for read in readers:
        scores, failed = [], 0
        for _, truth, base, file in cases:
            try:
                frame = read(base / file)
                found, types = frame.to_dicts(), kinds(frame)
            except Exception:  # whatever a reader raises, it did not read the file
                found, types, failed = [], {}, failed + 1
            names = (
                truth["names"]
                if truth["header_row"]
                else list(types)[: len(truth["names"])] or truth["names"]
            )
            if len(names) < len(truth["names"]):
                names = truth["names"]
            scores.append(score(names, truth["types"], truth["rows"], truth["key"], types, found, [], None))
        count = len(scores)
        print(json.dumps({
            "reader": read.__name__, "cases": count, "failed": failed,
            "types": round(sum(one.types for one in scores) / count, 4),
            "cells": round(sum(one.cells for one in scores) / count, 4),
            "row_counts": round(sum(one.exact for one in scores) / count, 4),
        }))  # fmt: skip


if __name__ == "__main__":
    main()
