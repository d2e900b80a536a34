# ruff: noqa: RUF001  -- characters that look alike are what this file is about
"""Which conventions a file follows: decimal comma or point, day or month first, told by its columns together."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import polars as pl

from agora_data_processor import convert, dates, native, nulls, numerals
from agora_data_processor.plans import ColumnPlan

COMMA_DECIMAL = r"^[^\d]*(?:\d{1,3}(?:[.'’ ]\d{3})+,\d+|\d+,(?:\d{1,2}|\d{4,})|\d{4,},\d+|0,\d+|,\d+|\d{1,3}(?:\.\d{3}){2,})[^\d]*$"
DOT_DECIMAL = r"^[^\d]*(?:\d{1,3}(?:[,'’ ]\d{2,3})+\.\d+|\d+\.(?:\d{1,2}|\d{4,})|\d{4,}\.\d+|0\.\d+|\.\d+|\d{1,3}(?:,\d{2,3})+,\d{3})[^\d]*$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What is known beside the cells.

    `comma_decimals` and `day_first` are what a customer fixed, or None. The weights speak for a convention
    in columns that do not tell: positive for a decimal comma, and for the day before the month.
    """

    comma_decimals: bool | None = None
    day_first: bool | None = None
    null_tokens: frozenset[str] = frozenset()
    comma_weight: float = 0.0
    day_first_weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The distinct present cells of a column and how often each occurs."""

    name: str
    values: pl.Series
    weights: pl.Series
    total: int
    native: bool
    ordered: pl.Series = field(repr=False)

    def weight(self, mask: pl.Series) -> int:
        """How many cells the mask is about, repeated ones as often as they occur."""
        return int(self.weights.filter(mask.fill_null(False)).sum())


def column_of(name: str, values: pl.Series, hints: Hints) -> Column:
    """Count the present cells of a column of trimmed strings."""
    basic = ColumnPlan(kind="text", nulls=nulls.ALWAYS | hints.null_tokens)
    present = values.filter(~convert.is_null(values, basic))
    counted = present.alias("cell").value_counts(sort=True, name="weight")
    texts = counted["cell"]
    return Column(
        name=name,
        values=texts.str.strip_prefix(native.MARK) if len(texts) else texts.cast(pl.String),
        weights=counted["weight"],
        total=len(present),
        native=bool(texts.str.starts_with(native.MARK).any()) if len(texts) else False,
        ordered=present.head(2_000),
    )


def with_votes(hints: Hints, columns: Collection[Column]) -> Hints:
    """The hints with what the columns themselves say of the conventions."""
    comma, day_first = hints.comma_weight, hints.day_first_weight
    accents = _has_accents(columns)
    comma += 0.5 if accents else 0.0
    for column in columns:
        if column.total == 0 or column.native:
            continue
        commas, dots = mark_votes(column)
        comma += _sign(commas - dots) * (2 if commas + dots else 0)
        first, second = order_votes(column)
        day_first += _sign(first - second) * (2 if first + second else 0)
        comma += 0.4 if accents and first > second else 0.0
        money = column.weight(column.values.str.contains(r"\d.*[€£₹]|[€£₹].*\d|CHF|EUR|GBP|INR|zł|Kč"))
        dollars = column.weight(column.values.str.contains(r"\$|USD"))
        day_first += 0.5 * _sign(money - dollars)
        comma += _habits(column)
    if comma > 0:
        day_first += 1
    return replace(hints, comma_weight=comma, day_first_weight=day_first)


def share_like(values: pl.Series, pattern: str) -> float:
    """The share of values that hold the pattern."""
    return int(values.str.contains(pattern).sum()) / len(values) if len(values) else 0.0


def _has_accents(columns: Collection[Column]) -> bool:
    """Whether the text is of a language with accents, and not of English with a few foreign names."""
    texts = [column for column in columns if share_like(column.values, r"\p{L}{3}") > 0.5]
    if not texts:
        return False
    accented = sum(column.weight(column.values.str.contains("[à-öø-žß]")) for column in texts)
    return accented > 0.1 * sum(column.total for column in texts)


def _habits(column: Column) -> float:
    """What goes with a decimal comma in other columns: dotted dates, a euro sign behind the amount; not CHF."""
    half = 0.5 * column.total
    if column.weight(column.values.str.contains(r"\d['’]\d{3}(?:\D|$)|CHF")) > half / 5:
        return -2.0
    if (
        column.weight(column.values.str.contains(r"^\d{1,2}\.\s?\d{1,2}\.\s?\d{2,4}$|\d\s?(?:€|zł|Kč|kr)$"))
        > half
    ):
        return 0.5
    return 0.0


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def mark_votes(column: Column) -> tuple[int, int]:
    """How many cells can only be decimal comma, and how many only decimal point."""
    plain = numerals.normal(column.values)
    numeric = plain.str.contains(numerals.GRAMMARS["."]) | plain.str.contains(numerals.GRAMMARS[","])
    if column.weight(numeric) < 0.5 * column.total:
        return 0, 0
    return (
        column.weight(numeric & plain.str.contains(COMMA_DECIMAL)),
        column.weight(numeric & plain.str.contains(DOT_DECIMAL)),
    )


def order_votes(column: Column) -> tuple[int, int]:
    """How many numeric dates can only have the day first, and how many only the month."""
    parts = (
        pl.DataFrame({"v": column.values}).select(pl.col("v").str.extract_groups(dates.AMBIGUOUS)).unnest("v")
    )
    first, second = parts["1"].cast(pl.Int32, strict=False), parts["2"].cast(pl.Int32, strict=False)
    return (
        column.weight((first > 12) & (first <= 31) & (second <= 12)),
        column.weight((second > 12) & (second <= 31) & (first <= 12)),
    )
