"""Rules that rows must keep, counted with examples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from agora_data_processor import job, names, values
from agora_data_processor.chunks import ROW, Chunk, Seen
from agora_data_processor.faults import TableError
from agora_data_processor.plans import Kind

EXAMPLES_MAX = 5

type Test = Callable[[pl.DataFrame], pl.Series]
"""Whether each row keeps the rule; null counts as kept."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """How often a rule was broken, with the first rows that did: (row of the chunk's strings, value)."""

    rule: job.Rule
    column: str
    count: int = 0
    examples: list[tuple[int, str | None]] = field(default_factory=list)
    test: Test | None = None
    """None for `type`, which conversion has checked."""


def types(rules: Sequence[job.Rule]) -> dict[str, Kind]:
    """The types that rules ask for, by the field they name."""
    return {rule.field: rule.type for rule in rules if rule.check == "type" and rule.type is not None}


def compiled(
    rules: Sequence[job.Rule], schema: Mapping[str, pl.DataType], known: Mapping[str, str]
) -> list[Tally]:
    """A tally for each rule.

    Raises:
        TableError: a rule names a column that is not there or lacks what its check needs.
    """
    tallies = []
    for number, rule in enumerate(rules):
        place = f"rules[{number}]"
        name = names.resolve(rule.field, list(schema), known, place)
        tallies.append(Tally(rule=rule, column=name, test=_test(rule, name, schema[name], place)))
    return tallies


def apply(chunk: Chunk, tallies: Sequence[Tally], line_of: Callable[[int], int]) -> None:
    """Count what breaks each rule and reject those rows, each once, for the first rule it breaks."""
    doomed: dict[int, tuple[str, str]] = {}
    for tally in tallies:
        if tally.test is None:
            continue
        broken = chunk.data.filter(~tally.test(chunk.data).fill_null(True))
        if not broken.height:
            continue
        tally.count += broken.height
        for row, value in broken.select(ROW, pl.col(tally.column)).head(EXAMPLES_MAX).iter_rows():
            if len(tally.examples) < EXAMPLES_MAX:
                tally.examples.append((line_of(row), None if value is None else str(value)))
        if tally.rule.on_fail == "reject":
            for row in broken[ROW].to_list():
                doomed.setdefault(row, (f"rule_{tally.rule.check}", tally.column))
    if doomed:
        for row, (reason, column) in doomed.items():
            chunk.reject(row, reason, column)
        chunk.data = chunk.data.filter(
            ~pl.col(ROW).is_in(pl.Series(sorted(doomed), dtype=pl.UInt32).implode())
        )


def _test(rule: job.Rule, name: str, dtype: pl.DataType, place: str) -> Test | None:
    column = pl.col(name)
    match rule.check:
        case "not_null":
            return _expression(column.is_not_null())
        case "unique":
            return _unique(name)
        case "range":
            return _expression(_range(rule, column, name, dtype, place))
        case "regex":
            return _expression(_regex(rule, column, place))
        case "in_set":
            if rule.values is None:
                raise TableError("rule_incomplete", "The check in_set needs `values`.", place)
            allowed = pl.Series(
                [values.of_column(one, dtype, name, place) for one in rule.values], dtype=dtype
            )
            return _expression(column.is_in(allowed.implode()))
        case "type":
            if rule.type is None:
                raise TableError("rule_incomplete", "The check type needs `type`.", place)
            return None


def _expression(expression: pl.Expr) -> Test:
    def test(data: pl.DataFrame) -> pl.Series:
        return data.select(expression.alias(ROW)).to_series()

    return test


def _unique(name: str) -> Test:
    seen = Seen()

    def test(data: pl.DataFrame) -> pl.Series:
        present = data[name].is_not_null()
        fresh = seen.first_time(data.select(name))
        return fresh | ~present

    return test


def _range(rule: job.Rule, column: pl.Expr, name: str, dtype: pl.DataType, place: str) -> pl.Expr:
    if rule.min is None and rule.max is None:
        raise TableError("rule_incomplete", "The check range needs `min` or `max`.", place)
    if dtype in (pl.String, pl.Boolean):
        raise TableError(
            "value_type",
            f"The check range needs numbers or dates; {name!r} holds {values.describe(dtype)}.",
            place,
        )
    inside = pl.lit(True)
    # A bound such as 0.5 is fine for integers: compare numbers as they are.
    if rule.min is not None:
        inside &= column >= _bound(rule.min, dtype, name, place)
    if rule.max is not None:
        inside &= column <= _bound(rule.max, dtype, name, place)
    return inside


def _bound(value: int | float | str, dtype: pl.DataType, name: str, place: str) -> pl.Expr:
    if dtype.is_numeric() and isinstance(value, int | float):
        return pl.lit(value)
    return pl.lit(values.of_column(value, dtype, name, place), dtype=dtype)


def _regex(rule: job.Rule, column: pl.Expr, place: str) -> pl.Expr:
    if rule.pattern is None:
        raise TableError("rule_incomplete", "The check regex needs `pattern`.", place)
    whole = f"^(?:{rule.pattern})$"
    try:
        pl.Series([""]).str.contains(whole, strict=True)
    except pl.exceptions.PolarsError as error:
        raise TableError("regex_invalid", f"The pattern cannot be read: {error}.", place) from error
    return column.cast(pl.String).str.contains(whole)
