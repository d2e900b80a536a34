"""A part of the table on its way through transforms and rules, with what was rejected on it."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

ROW = "\ue001row"
"""Index of a row among the strings it was read from."""


@dataclass(slots=True, kw_only=True)
class Chunk:
    """`data` has the typed columns and ROW; `reject` keeps a row's record under a reason."""

    data: pl.DataFrame
    reject: Callable[[int, str, str], None]

    def keep(self, mask: pl.Series, reason: str, column: str = "") -> None:
        """Keep the rows of the mask (null counts as False); reject the others."""
        kept = mask.fill_null(False)
        if kept.all():
            return
        for row in self.data.filter(~kept)[ROW].to_list():
            self.reject(row, reason, column)
        self.data = self.data.filter(kept)


class Seen:
    """Remembers rows by 128 bits of hash each, so that millions fit into memory.

    Two different rows of ten million are taken for equal with a chance of 1 in 10**24.
    """

    def __init__(self) -> None:
        self._hashes: set[tuple[int, int]] = set()

    def first_time(self, data: pl.DataFrame) -> pl.Series:
        """For each row, whether it is met for the first time."""
        pairs = zip(data.hash_rows(seed=1).to_list(), data.hash_rows(seed=2).to_list(), strict=True)
        fresh = []
        for pair in pairs:
            known = pair in self._hashes
            fresh.append(not known)
            if not known:
                self._hashes.add(pair)
        return pl.Series(fresh, dtype=pl.Boolean)
