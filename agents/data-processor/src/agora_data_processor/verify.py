"""The last look at what is delivered: the files themselves, not what was said about them."""

import csv
from pathlib import Path

import polars as pl


class DeliveryDiffers(Exception):
    """A saved file does not hold the rows that the account says: a fault of this program or of the store."""


def check(parquet: Path, rejected: Path, rows_out: int, rejected_rows: int) -> None:
    """Count the rows of both files.

    Raises:
        DeliveryDiffers: a count is not what the account says.
    """
    found = int(pl.scan_parquet(parquet).select(pl.len()).collect().item())
    if found != rows_out:
        raise DeliveryDiffers(f"{parquet.name} holds {found} rows, not {rows_out}")
    with rejected.open(encoding="utf-8", newline="") as stream:
        kept = sum(1 for _ in csv.reader(stream)) - 1
    if kept != rejected_rows:
        raise DeliveryDiffers(f"{rejected.name} holds {kept} rows, not {rejected_rows}")
