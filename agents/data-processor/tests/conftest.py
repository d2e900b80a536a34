"""A way to clean bytes as a file, without the SDK around it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from agora_data_processor import cleaning, report, tables
from agora_data_processor.cleaning import Cleaned
from agora_data_processor.job import Job

type Clean = Callable[..., "Result"]


class Result:
    """What came out of one file, ready to be looked at."""

    def __init__(self, cleaned: Cleaned) -> None:
        self.cleaned = cleaned
        self.found = cleaned.loaded[0].found
        self.frame = pl.read_parquet(cleaned.parquet_path)
        self.rows: list[tuple[Any, ...]] = self.frame.rows()
        self.kinds = {name: report.kind_of(dtype) for name, dtype in cleaned.schema.items()}
        self.rejected = pl.read_csv(cleaned.rejected_path, infer_schema=False).rows(named=True)
        self.csv_text = cleaned.csv_path.read_text(encoding="utf-8")


@pytest.fixture
def clean(tmp_path: Path) -> Clean:
    """Clean one file's content, or several files of the same columns."""

    def run(*contents: bytes | str, name: str = "table.csv", job: Job | None = None) -> Result:
        wanted = job or Job()
        given = []
        for number, content in enumerate(contents):
            path = tmp_path / f"{number}-{name}"
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            given.append(cleaning.Table(path=path, found=tables.inspect(path, path.name, wanted.options)))
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        return Result(cleaning.clean(given, wanted, out, lambda *_: None))

    return run
