"""What a column was found to hold, precisely enough to convert every cell of it."""

from typing import Literal

import msgspec

Kind = Literal["text", "integer", "decimal", "boolean", "date", "datetime", "time"]


class ColumnPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How a column is converted.

    `decimal_mark` is the sign before decimals; the other conventions group thousands. `percent` cells become
    fractions (12.5 % is 0.125) with `places` decimals. `currencies` are the codes or symbols found. `order`
    tells numeric dates with the year last apart. `ambiguous` is True where nothing in the file decided on
    it. `nulls` are the tokens read as "no value", in lower case. `forced` is set by a cast: whatever does not
    convert is rejected.
    """

    kind: Kind
    decimal_mark: Literal[".", ","] = "."
    percent: bool = False
    places: int = 0
    currencies: list[str] = []
    order: Literal["dmy", "mdy"] = "mdy"
    ambiguous: bool = False
    zoned: bool = False
    old_years: bool = False
    serials: bool = False
    nulls: frozenset[str] = frozenset()
    forced: bool = False


type Plans = dict[str, ColumnPlan]
"""The plan of each column, by its name in the file."""
