"""The whole job on files whose layout is known: read, type, transform, check, write, account for every row."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from agora_data_processor import (
    convert,
    layout,
    loading,
    names,
    native,
    numerals,
    planning,
    rules,
    transforms,
)
from agora_data_processor.chunks import ROW, Chunk
from agora_data_processor.faults import TableError
from agora_data_processor.found import Found
from agora_data_processor.job import Job
from agora_data_processor.loading import Loaded
from agora_data_processor.outputs import CleanTable
from agora_data_processor.plans import ColumnPlan, Kind, Plans
from agora_data_processor.profile import TableProfile
from agora_data_processor.rejects import RejectedRows
from agora_data_processor.tables import LINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file and how it is written."""

    path: Path
    found: Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What came out, in `folder`. rows_in = rows_out + rejected holds always."""

    rows_in: int
    rows_out: int
    rejected: int
    reasons: dict[str, int]
    profile: TableProfile
    plans: dict[str, ColumnPlan]
    tallies: list[rules.Tally]
    loaded: list[Loaded]
    sources: dict[str, str]
    schema: dict[str, pl.DataType]
    csv_path: Path
    parquet_path: Path
    rejected_path: Path


class UnevenAccount(Exception):
    """Rows in are not rows out and rejected: a fault of this program, never of the file."""


def clean(
    tables: Sequence[Table], job: Job, folder: Path, progress: Callable[[str, float | None], None]
) -> Cleaned:
    """Do the job. All files are written into `folder`.

    Raises:
        TableError: the files do not fit each other, or the job does not fit them.
        UnevenAccount: never, unless this program is wrong.
    """
    rejected_path = folder / "rejected.csv"
    with RejectedRows(rejected_path) as rejected:
        loaded = [
            loading.load(
                table.path, table.found, job.options, folder, number, rejected,
                lambda rows: progress(f"{rows:,} rows read", None),
            )
            for number, table in enumerate(tables)
        ]  # fmt: skip
        _check_columns(loaded)
        columns = loaded[0].found.names
        sources = dict(zip(columns, loaded[0].found.source_names, strict=True))
        fixed, lenient = transforms.casts(job.transforms, columns, sources)
        fixed = _with_type_rules(fixed, job, columns, sources)
        progress("finding out the type of each column", None)
        plans = [planning.plans(one, job, fixed, folder) for one in loaded]
        planning.unify(plans, loaded)
        typed = _schema(columns, plans)
        steps, schema, known = transforms.compiled(job.transforms, typed, sources)
        tallies = rules.compiled(job.rules, schema, known)
        profile = TableProfile(schema)
        with CleanTable(folder, schema) as table:
            run = _Run(
                rejected=rejected, table=table, steps=steps, tallies=tallies, profile=profile, lenient=lenient,
                extra=[name for name in typed if name not in columns], schema=schema, origin=_origins(job, columns, sources),
            )  # fmt: skip
            rows_in = sum(one.rows for one in loaded)
            for one, its_plans in zip(loaded, plans, strict=True):
                loading.reject_totals(one, rejected)
                run.convert(
                    one, its_plans, lambda: progress("cleaning", _share(table.rows + rejected.count, rows_in))
                )
            table.finish()
        if rows_in != table.rows + rejected.count:
            raise UnevenAccount(f"{rows_in} rows in, {table.rows} out, {rejected.count} rejected")
    return Cleaned(
        rows_in=rows_in,
        rows_out=table.rows,
        rejected=rejected.count,
        reasons=dict(rejected.reasons.most_common()),
        profile=profile,
        plans=planning.merged(plans),
        tallies=tallies,
        loaded=loaded,
        sources=known,
        schema=schema,
        csv_path=table.csv_path,
        parquet_path=table.parquet_path,
        rejected_path=rejected_path,
    )


def _share(done: int, total: int) -> float:
    return done / total if total else 1.0


def _check_columns(loaded: Sequence[Loaded]) -> None:
    first = loaded[0].found
    for other in loaded[1:]:
        if set(other.found.names) != set(first.names):
            missing = sorted(set(first.names) - set(other.found.names))[:10]
            more = sorted(set(other.found.names) - set(first.names))[:10]
            raise TableError(
                "columns_differ",
                f"The files must have the same columns as {first.name!r}: missing {missing}, not expected {more}.",
                other.found.name,
            )


def _with_type_rules(
    fixed: dict[str, Kind], job: Job, columns: Sequence[str], sources: Mapping[str, str]
) -> dict[str, Kind]:
    origin = _origins(job, columns, sources)
    for number, (field, kind) in enumerate(rules.types(job.rules).items()):
        name = names.resolve(
            field, list(origin), {now: sources[old] for now, old in origin.items()}, f"rules[{number}]"
        )
        fixed = {origin[name]: kind, **fixed}
    return fixed


def _origins(job: Job, columns: Sequence[str], sources: Mapping[str, str]) -> dict[str, str]:
    """The file's column behind each name that a column has after the renames."""
    origin = {name: name for name in columns}
    for number, transform in enumerate(job.transforms):
        if transform.__class__.__name__ == "Rename":
            for old, new in transform.columns.items():  # type: ignore[union-attr]
                known = {now: sources[was] for now, was in origin.items()}
                found = names.resolve(old, list(origin), known, f"transforms[{number}]")
                origin = {new if now == found else now: was for now, was in origin.items()}
    return origin


def _schema(columns: Sequence[str], plans: Sequence[Plans]) -> dict[str, pl.DataType]:
    """The typed table's columns; one of several currencies gets a column beside it that names them."""
    wanted: list[tuple[str, pl.DataType]] = []
    merged = planning.merged(plans)
    for name in columns:
        wanted.append((name, convert.dtype(merged[name])))
        if len(merged[name].currencies) > 1:
            wanted.append((_currency_name(name, columns), pl.String()))
    return dict(wanted)


def _currency_name(name: str, columns: Sequence[str]) -> str:
    return layout.unique_names([*columns, f"{name}_currency"])[-1]


@dataclass(slots=True, kw_only=True)
class _Run:
    """The second pass: strings to values, then everything that was asked for, frame by frame."""

    rejected: RejectedRows
    table: CleanTable
    steps: list[transforms.Step]
    tallies: list[rules.Tally]
    profile: TableProfile
    lenient: set[str]
    extra: list[str]
    schema: dict[str, pl.DataType]
    origin: dict[str, str]

    def convert(self, loaded: Loaded, plans: Plans, report: Callable[[], None]) -> None:
        """Bring a file's rows into the table."""
        typed: Iterator[pl.DataFrame | None] = itertools.repeat(None)
        if loaded.typed is not None and loaded.typed[0] == plans:
            typed = iter(loaded.typed[1])
        for frame in loaded.spool:
            strings = loading.without_lines(frame, loaded.totals)
            if strings.height:
                self._frame(strings, next(typed), loaded.found, plans)
            report()

    def _frame(self, strings: pl.DataFrame, ready: pl.DataFrame | None, found: Found, plans: Plans) -> None:
        lines = strings[LINE].to_list()
        cells = strings.drop(LINE)

        def reject(row: int, reason: str, column: str) -> None:
            origin = self.origin.get(column, column)
            value = cells[origin][row] if origin in cells.columns else None
            self.rejected.add(
                found.name, lines[row], reason, list(cells.row(row)), column=column, value=value
            )

        data, misfits = self._typed(cells, ready, plans, lines)
        for row, column in misfits.items():
            reject(row, f"not_{plans[column].kind}", column)
        if misfits:
            data = data.filter(~pl.col(ROW).is_in(pl.Series(sorted(misfits), dtype=pl.UInt32).implode()))
        chunk = Chunk(data=data, reject=reject)
        for step in self.steps:
            step(chunk)
        rules.apply(chunk, self.tallies, lambda row: lines[row])
        out = chunk.data.select(list(self.schema))
        self.profile.add(out)
        self.table.add(out)

    def _typed(
        self, cells: pl.DataFrame, ready: pl.DataFrame | None, plans: Plans, lines: Sequence[int]
    ) -> tuple[pl.DataFrame, dict[int, str]]:
        """Typed columns, and the rows with a cell that does not fit, with the first such column."""
        misfits: dict[int, str] = {}
        typed: list[pl.Series] = []
        for name in plans:
            plan = plans[name]
            if ready is None:
                converted = convert.convert(cells[name], plan).alias(name).cast(convert.dtype(plan))
            else:
                converted = ready[name]
            typed.append(converted)
            currency = _currency_name(name, list(plans))
            if currency in self.extra:
                typed.append(numerals.currencies_of(cells[name]).alias(currency))
            if plan.kind == "text":
                continue
            mask = convert.failures(cells[name], converted, plan)
            if mask.any():
                reporting = self._count_type_rule(name, mask, cells[name], lines)
                if not reporting and name not in self.lenient:
                    for row in mask.arg_true().to_list():
                        misfits.setdefault(row, name)
        rows = pl.Series(ROW, range(cells.height), dtype=pl.UInt32)
        return pl.DataFrame([*typed, rows]), misfits

    def _count_type_rule(self, name: str, mask: pl.Series, cells: pl.Series, lines: Sequence[int]) -> bool:
        """Count misfits under the column's type rule; True if that rule keeps their rows."""
        reporting = False
        for tally in self.tallies:
            if tally.rule.check == "type" and self.origin.get(tally.column) == name:
                tally.count += int(mask.sum())
                for row in mask.arg_true().to_list()[: rules.EXAMPLES_MAX]:
                    if len(tally.examples) < rules.EXAMPLES_MAX:
                        tally.examples.append((lines[row], (cells[row] or "").removeprefix(native.MARK)))
                reporting = reporting or tally.rule.on_fail == "report"
        return reporting
