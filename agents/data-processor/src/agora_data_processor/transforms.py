"""Transforms of a typed table, in the order in which they are asked for."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from agora_data_processor import job, names, pii, values
from agora_data_processor.chunks import ROW, Chunk, Seen
from agora_data_processor.faults import TableError
from agora_data_processor.plans import Kind

type Step = Callable[[Chunk], None]


def casts(
    transforms: Sequence[job.Transform], columns: Sequence[str], sources: Mapping[str, str]
) -> tuple[dict[str, Kind], set[str]]:
    """Types that are fixed before reading, and columns that are dropped later, by their original names.

    Raises:
        TableError: a transform names a column that is not there.
    """
    present = {name: name for name in columns}
    fixed: dict[str, Kind] = {}
    dropped: set[str] = set()
    for number, transform in enumerate(transforms):
        place = f"transforms[{number}]"
        match transform:
            case job.Rename():
                resolved = _renaming(transform, list(present), sources, place)
                present = {resolved.get(name, name): original for name, original in present.items()}
            case job.Drop():
                for wanted in transform.columns:
                    original = present.pop(_resolved(wanted, present, sources, place), None)
                    if original is not None:
                        dropped.add(original)
            case job.Cast():
                for wanted in transform.columns:
                    fixed[present[_resolved(wanted, present, sources, place)]] = transform.type
            case _:
                pass
    return fixed, dropped


def _resolved(wanted: str, present: Mapping[str, str], sources: Mapping[str, str], place: str) -> str:
    known = {name: sources.get(original, "") for name, original in present.items()}
    return names.resolve(wanted, list(present), known, place)


def compiled(
    transforms: Sequence[job.Transform], schema: dict[str, pl.DataType], sources: Mapping[str, str]
) -> tuple[list[Step], dict[str, pl.DataType], dict[str, str]]:
    """The steps, and the schema and the file's own names of columns as they are after the last.

    Raises:
        TableError: a column or a value does not fit the table.
    """
    steps: list[Step] = []
    known = dict(sources)
    for number, transform in enumerate(transforms):
        place = f"transforms[{number}]"
        match transform:
            case job.Rename():
                resolved = _renaming(transform, list(schema), known, place)
                schema = {resolved.get(name, name): dtype for name, dtype in schema.items()}
                known = {resolved.get(name, name): source for name, source in known.items()}
                steps.append(_rename(resolved))
            case job.Drop():
                gone = {names.resolve(wanted, list(schema), known, place) for wanted in transform.columns}
                schema = {name: dtype for name, dtype in schema.items() if name not in gone}
                if not schema:
                    raise TableError("nothing_left", "No column would be left: drop fewer.", place)
                steps.append(_drop(sorted(gone)))
            case job.Fill():
                steps.append(_fill(transform, schema, known, place))
            case job.Deduplicate():
                steps.append(_deduplicate(_columns(transform.columns, schema, known, place)))
            case job.Filter():
                steps.append(_filter(transform, schema, known, place))
            case job.Trim():
                steps.append(_trim(_text_columns(transform.columns, schema, known, place)))
            case job.PiiRedact():
                columns = _text_columns(transform.columns, schema, known, place)
                steps.append(_redact(columns, transform.kinds))
            case job.Cast():
                pass  # done while reading: see `casts`
    return steps, schema, known


def _columns(
    wanted: Sequence[str], schema: Mapping[str, pl.DataType], known: Mapping[str, str], place: str
) -> list[str]:
    return [names.resolve(name, list(schema), known, place) for name in wanted] or list(schema)


def _text_columns(
    wanted: Sequence[str], schema: Mapping[str, pl.DataType], known: Mapping[str, str], place: str
) -> list[str]:
    columns = _columns(wanted, schema, known, place)
    if wanted and (other := next((name for name in columns if schema[name] != pl.String), None)):
        raise TableError(
            "value_type",
            f"The column {other!r} holds {values.describe(schema[other])}, not text: cast it to text first.",
            place,
        )
    return [name for name in columns if schema[name] == pl.String]


def _renaming(
    transform: job.Rename, present: Sequence[str], known: Mapping[str, str], place: str
) -> dict[str, str]:
    resolved = {names.resolve(old, present, known, place): new for old, new in transform.columns.items()}
    after = [resolved.get(name, name) for name in present]
    if twin := next((name for name in after if after.count(name) > 1), None):
        raise TableError("column_twice", f"Two columns would be called {twin!r}.", place)
    return resolved


def _rename(resolved: dict[str, str]) -> Step:
    def step(chunk: Chunk) -> None:
        chunk.data = chunk.data.rename(resolved)

    return step


def _drop(columns: Sequence[str]) -> Step:
    def step(chunk: Chunk) -> None:
        chunk.data = chunk.data.drop(columns)

    return step


def _fill(
    transform: job.Fill, schema: Mapping[str, pl.DataType], known: Mapping[str, str], place: str
) -> Step:
    columns = _columns(transform.columns, schema, known, place)
    literals = {
        name: pl.lit(values.of_column(transform.value, schema[name], name, place), dtype=schema[name])
        for name in columns
    }

    def step(chunk: Chunk) -> None:
        chunk.data = chunk.data.with_columns(
            pl.col(name).fill_null(value) for name, value in literals.items()
        )

    return step


def _deduplicate(columns: Sequence[str]) -> Step:
    seen = Seen()

    def step(chunk: Chunk) -> None:
        chunk.keep(seen.first_time(chunk.data.select(columns)), "duplicate")

    return step


def _trim(columns: Sequence[str]) -> Step:
    def step(chunk: Chunk) -> None:
        chunk.data = chunk.data.with_columns(pl.col(name).str.replace_all(r"\s+", " ") for name in columns)

    return step


def _redact(columns: Sequence[str], kinds: Sequence[job.PiiKind]) -> Step:
    def step(chunk: Chunk) -> None:
        chunk.data = chunk.data.with_columns(pii.redact_series(chunk.data[name], kinds) for name in columns)

    return step


def _filter(
    transform: job.Filter, schema: Mapping[str, pl.DataType], known: Mapping[str, str], place: str
) -> Step:
    name = names.resolve(transform.column, list(schema), known, place)
    condition = _condition(transform, name, schema[name], place)

    def step(chunk: Chunk) -> None:
        mask = chunk.data.select(condition.alias(ROW)).to_series()
        chunk.keep(mask, "filtered", name)

    return step


def _condition(transform: job.Filter, name: str, dtype: pl.DataType, place: str) -> pl.Expr:
    column, value, operator = pl.col(name), transform.value, transform.operator
    if operator in ("is_null", "not_null"):
        return column.is_null() if operator == "is_null" else column.is_not_null()
    if value is None:
        raise TableError("value_missing", f"The operator {operator!r} needs a value.", place)
    if operator in ("in", "not_in"):
        if not isinstance(value, list):
            raise TableError("value_type", f"The operator {operator!r} needs a list of values.", place)
        listed = pl.Series([values.of_column(one, dtype, name, place) for one in value], dtype=dtype)
        inside = column.is_in(listed.implode())
        return inside if operator == "in" else ~inside
    if isinstance(value, list):
        raise TableError("value_type", f"The operator {operator!r} needs one value, not a list.", place)
    if operator == "contains":
        if dtype != pl.String or not isinstance(value, str):
            raise TableError(
                "value_type", "The operator 'contains' needs a column of text and a text.", place
            )
        return column.str.contains(value, literal=True)
    literal = pl.lit(values.of_column(value, dtype, name, place), dtype=dtype)
    return {
        "==": column == literal,
        "!=": column != literal,
        "<": column < literal,
        "<=": column <= literal,
        ">": column > literal,
        ">=": column >= literal,
    }[operator]
