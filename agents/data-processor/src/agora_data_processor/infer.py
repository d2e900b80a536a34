# ruff: noqa: RUF001  -- characters that look alike are what this file is about
"""Which type each column has, from a sample of its cells and from what the rest of the file says.

The decision is checked on every row afterwards: see `clean.py`.
"""

import datetime
from collections.abc import Mapping
from typing import Literal

import msgspec
import polars as pl

from agora_data_processor import convert, dates, judging, native, nulls, numerals
from agora_data_processor.conventions import (
    COMMA_DECIMAL,
    DOT_DECIMAL,
    Column,
    Hints,
    column_of,
    mark_votes,
    order_votes,
    share_like,
    with_votes,
)
from agora_data_processor.plans import ColumnPlan, Kind

_UNCLEAR_COMMA = r"^[^\d]*[1-9]\d{0,2},\d{3}[^\d]*$"
_UNCLEAR_DOT = r"^[^\d]*[1-9]\d{0,2}\.\d{3}[^\d]*$"
_DIGITS_MAX = 18


def infer(
    columns: Mapping[str, pl.Series], hints: Hints, casts: Mapping[str, Kind] | None = None
) -> dict[str, ColumnPlan]:
    """A plan for each column of trimmed strings; `casts` fixes the type of some."""
    found = {name: column_of(name, values, hints) for name, values in columns.items()}
    informed = with_votes(hints, found.values())
    wanted = casts or {}
    return {
        name: _forced(column, wanted[name], informed) if name in wanted else _decided(column, informed)
        for name, column in found.items()
    }


def text_plan(column_values: pl.Series, hints: Hints) -> ColumnPlan:
    """The plan of a column that was taken for another type too early."""
    return _text(column_of("", column_values, hints), hints)


def _decided(column: Column, hints: Hints) -> ColumnPlan:
    if column.total == 0 or (judging.CODE_NAME.search(column.name) and not _grouped(column)):
        return _text(column, hints)
    candidates = [
        _boolean(column, hints),
        _moment(column, hints),
        _time(column, hints),
        _number(column, hints),
    ]
    best: ColumnPlan | None = None
    best_failed = column.total + 1
    for plan in candidates:
        if plan is None:
            continue
        failed, bad = _failed(column, plan)
        present = column.total - _nulls_beyond(column, plan)
        if failed < best_failed and judging.tolerable(failed, present, bad, column.name, plan.kind):
            best, best_failed = plan, failed
    return best or _text(column, hints)


def _grouped(column: Column) -> bool:
    """Whether cells hold decimals or thousands groups, which no code has."""
    return column.weight(column.values.str.contains(r"^\d+[.,]\d+$")) > 0.5 * column.total


def _failed(column: Column, plan: ColumnPlan) -> tuple[int, list[str]]:
    values = _as_stored(column)
    converted = convert.convert(values, plan)
    mask = convert.failures(values, converted, plan)
    return column.weight(mask), values.filter(mask).head(50).to_list()


def _as_stored(column: Column) -> pl.Series:
    """The cells as conversion will meet them: native numbers with their mark."""
    if not column.native:
        return column.values
    numeric = column.values.cast(pl.Float64, strict=False).is_not_null()
    marked = native.MARK + column.values
    return pl.select(pl.when(numeric).then(marked).otherwise(column.values)).to_series()


def _nulls_beyond(column: Column, plan: ColumnPlan) -> int:
    return column.weight(convert.is_null(column.values, plan))


def _typed_nulls(hints: Hints) -> frozenset[str]:
    return nulls.IN_TYPED | hints.null_tokens


def _boolean(column: Column, hints: Hints) -> ColumnPlan | None:
    lowered = column.values.str.to_lowercase()
    words = sorted((convert.TRUE | convert.FALSE) - {"1", "0", "1.0", "0.0"})
    in_words = column.weight(lowered.is_in(words))
    digits = column.weight(lowered.is_in(["0", "1", "0.0", "1.0"]))
    named = bool(judging.BOOLEAN_NAME.search(column.name))
    if in_words + digits < 0.7 * column.total or not (in_words >= 0.3 * column.total or named):
        return None
    distinct = set(lowered.filter(lowered.is_in(words)).to_list())
    if len(distinct) == 1 and (
        distinct <= {"o", "s", "t", "f", "j"} or (distinct <= {"y", "n"} and column.total < 3)
    ):
        return None  # a lone letter is a category
    return ColumnPlan(kind="boolean", nulls=_typed_nulls(hints) - convert.TRUE - convert.FALSE)


def _number(column: Column, hints: Hints, *, forced: bool = False) -> ColumnPlan | None:
    typed_nulls = _typed_nulls(hints)
    present = column.values.filter(~column.values.str.to_lowercase().is_in(sorted(typed_nulls)))
    if not forced and not present.str.contains(r"\d").any():
        return None
    if not forced and _codes(column):
        return None
    mark, ambiguous = _decimal_mark(column, hints)
    percents = column.weight(column.values.str.contains(r"[%％]\s?\)?$"))
    plain_text = (
        column.total - column.weight(column.values.cast(pl.Float64, strict=False).is_not_null()) - percents
    )
    # A sheet's own percentages are fractions already: beside them a "37.5%" that was typed as text is one too.
    percent = percents > 0 and (percents >= 0.5 * column.total or (column.native and plain_text == 0))
    currencies = _currencies(column)
    plan = ColumnPlan(
        kind="decimal",
        decimal_mark=mark,
        percent=percent,
        currencies=currencies,
        ambiguous=ambiguous,
        nulls=typed_nulls,
        forced=forced,
    )
    numbers = convert.convert(_as_stored(column), msgspec.structs.replace(plan, percent=False, forced=True))
    fractions = (numbers != numbers.floor()).fill_null(False).any() or _states_decimals(column, mark)
    if percent:
        return msgspec.structs.replace(plan, places=2 + _decimals(column))
    if fractions or currencies:
        return plan
    if (numbers.abs() >= float(10**_DIGITS_MAX)).any():
        return None
    return msgspec.structs.replace(plan, kind="integer")


def _states_decimals(column: Column, mark: Literal[".", ","]) -> bool:
    """Whether cells show decimals, if only zeros: 12.00 is no count."""
    if column.native:
        return False
    pattern = r"\d\.\d*\D*$|\d[eE][-+]?\d" if mark == "." else r"\d,\d*\D*$"
    plain = numerals.normal(column.values)
    decimals = plain.str.contains(pattern)
    other = plain.str.contains(COMMA_DECIMAL if mark == "." else DOT_DECIMAL)
    valid = plain.str.contains(numerals.GRAMMARS[mark])
    return column.weight((decimals & valid) | other) > 0


def _decimals(column: Column) -> int:
    longest = column.values.str.extract(r"[.,](\d+)\s?[%％]", 1).str.len_chars().max()
    return int(longest) if isinstance(longest, int) else 0


def _codes(column: Column) -> bool:
    """Whether digits are codes, to be kept as text: leading zeros, telephone numbers, too many digits."""
    zeros = column.weight(column.values.str.contains(convert.LEADING_ZERO))
    if (
        zeros
        and (column.total <= 200 or zeros >= 0.005 * column.total)
        and not judging.TYPED_NAME.search(column.name)
    ):
        return True
    phones = column.weight(column.values.str.contains(r"^(?:\+|00)\d[\d\s\-()]{8,}$"))
    long_numbers = column.weight(column.values.str.contains(rf"^\d{{{_DIGITS_MAX + 1},}}$"))
    return phones > 0.3 * column.total or long_numbers > 0


def _decimal_mark(column: Column, hints: Hints) -> tuple[Literal[".", ","], bool]:
    if hints.comma_decimals is not None:
        return ("," if hints.comma_decimals else "."), False
    commas, dots = mark_votes(column)
    if commas != dots:
        return ("," if commas > dots else "."), False
    plain = numerals.normal(column.values)
    unclear_comma = column.weight(plain.str.contains(_UNCLEAR_COMMA))
    unclear_dot = column.weight(plain.str.contains(_UNCLEAR_DOT))
    if hints.comma_weight > 0.8:
        return ",", False
    if hints.comma_weight < -0.4 or not (unclear_comma or unclear_dot):
        return ".", False
    return ".", True


def _currencies(column: Column) -> list[str]:
    if not column.values.str.contains(numerals.HAS_CURRENCY).any():
        return []
    codes = numerals.currencies_of(column.values)
    return sorted(set(codes.drop_nulls().to_list()))


def _moment(column: Column, hints: Hints, *, forced: bool = False) -> ColumnPlan | None:
    likely = column.values.str.contains(
        r"\d{1,4}\s?[-/.\s年]\s?(?:\d|\p{L})|\p{L}\s?\d|^\d{8}(?:T?\d{4,6}Z?)?$|\d\p{L}"
    )
    if not forced and column.weight(likely) < 0.5 * column.total:
        return None
    order, ambiguous = _order(column, hints)
    typed_nulls = _typed_nulls(hints) | frozenset(
        {"0000-00-00", "00/00/0000", "00.00.0000", "0000-00-00 00:00:00"}
    )
    plan = ColumnPlan(
        kind="datetime",
        order=order,
        ambiguous=ambiguous,
        old_years=bool(judging.BIRTH_NAME.search(column.name)),
        nulls=typed_nulls,
        forced=forced,
    )
    moments = dates.convert(_as_stored(column), plan)
    read = column.weight(moments.value.is_not_null())
    if not forced and (read == 0 or (_only_compact(column) and not _compact_is_date(column, read))):
        return None
    timed = moments.timed & moments.value.is_not_null()
    has_time = (
        ((moments.value.dt.time() != datetime.time()).fill_null(False) & timed).any()
        if timed.any()
        else False
    )
    zoned = bool((moments.zoned & moments.value.is_not_null()).any())
    missing = column.values.filter(moments.value.is_null()).cast(pl.Float64, strict=False)
    serials = bool(missing.is_between(10_000, 80_000).any()) and read >= 0.5 * column.total
    kind: Kind = "datetime" if has_time or zoned else "date"
    return msgspec.structs.replace(plan, kind=kind, zoned=zoned, serials=serials)


def _only_compact(column: Column) -> bool:
    return column.weight(column.values.str.contains(r"^\d{8,14}$")) >= 0.5 * column.total


def _compact_is_date(column: Column, read: int) -> bool:
    """Eight digits are a date where all of them are, and either the name says so or there are several."""
    if read < 0.9 * column.total:
        return False
    return bool(judging.DATE_NAME.search(column.name)) or (
        len(column.values) >= 3 and not judging.IDENTIFIER_NAME.search(column.name)
    )


def _order(column: Column, hints: Hints) -> tuple[Literal["dmy", "mdy"], bool]:
    if hints.day_first is not None:
        return ("dmy" if hints.day_first else "mdy"), False
    first, second = order_votes(column)
    if first != second:
        return ("dmy" if first > second else "mdy"), bool(first and second)
    unclear = column.values.filter(column.values.str.contains(dates.AMBIGUOUS))
    if not len(unclear):
        return "mdy", False
    if first == 0 and (told := _order_by_sequence(column)):
        return told, False
    if share_like(unclear, r"^\d{1,2}\.\s?\d") > 0.5:
        return "dmy", False
    if hints.day_first_weight:
        return ("dmy" if hints.day_first_weight > 0 else "mdy"), abs(hints.day_first_weight) < 1
    return "mdy", True


def _order_by_sequence(column: Column) -> Literal["dmy", "mdy"] | None:
    """Rows that are in order under one reading only tell which reading is right."""
    if column.total < 5:
        return None
    orders: tuple[Literal["dmy", "mdy"], ...] = ("dmy", "mdy")
    in_order = []
    for order in orders:
        moments = dates.convert(column.ordered, ColumnPlan(kind="datetime", order=order)).value.drop_nulls()
        if moments.n_unique() < 4:
            return None
        in_order.append(moments.is_sorted() or moments.is_sorted(descending=True))
    return None if in_order[0] == in_order[1] else orders[in_order.index(True)]


def _time(column: Column, hints: Hints) -> ColumnPlan | None:
    if column.weight(column.values.str.contains(dates.TIME_ONLY)) < 0.5 * column.total:
        return None
    return ColumnPlan(kind="time", nulls=_typed_nulls(hints))


def _text(column: Column, hints: Hints) -> ColumnPlan:
    tokens = nulls.ALWAYS | hints.null_tokens
    if column.total and _short_codes(column):
        tokens -= {"na"}
    return ColumnPlan(kind="text", nulls=tokens)


def _short_codes(column: Column) -> bool:
    """In a column of two-letter codes NA is Namibia (or North America), not a missing value."""
    return (
        column.weight(column.values.str.contains(r"^[A-Z]{2}$")) >= 0.8 * column.total
        and len(column.values) >= 2
    )


def _forced(column: Column, kind: Kind, hints: Hints) -> ColumnPlan:
    """The plan of a cast: conventions are still found from the cells."""
    if kind == "text" or column.total == 0:
        plan = _text(column, hints)
        return msgspec.structs.replace(plan, kind=kind, forced=True)
    if kind == "boolean":
        return ColumnPlan(kind=kind, nulls=_typed_nulls(hints) - convert.TRUE - convert.FALSE, forced=True)
    if kind == "time":
        return ColumnPlan(kind=kind, nulls=_typed_nulls(hints), forced=True)
    found = (
        _number(column, hints, forced=True)
        if kind in ("integer", "decimal")
        else _moment(column, hints, forced=True)
    )
    base = found or ColumnPlan(kind=kind, nulls=_typed_nulls(hints), forced=True)
    return msgspec.structs.replace(base, kind=kind, percent=base.percent and kind == "decimal")
