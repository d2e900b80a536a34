"""A plan for each column of each file, and one type for the same column of all files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import polars as pl

from agora_data_processor import convert, infer, judging, limits, loading, native
from agora_data_processor.conventions import Hints
from agora_data_processor.faults import TableError
from agora_data_processor.job import Job
from agora_data_processor.loading import Loaded
from agora_data_processor.plans import ColumnPlan, Kind, Plans
from agora_data_processor.spool import Spool

_ROUNDS_MAX = 3
_BAD_FRAMES_MAX = 20
_BAD_CELLS_MAX = 500
_COMMA_CODECS = ("cp1250", "cp1251", "koi8", "iso8859-2", "iso8859-15")
_DAY_FIRST_CODECS = ("cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "koi8", "iso8859-2", "iso8859-15")


def _hints(loaded: Loaded, job: Job) -> Hints:
    found, options = loaded.found, job.options
    return Hints(
        comma_decimals=None if options.decimal is None else options.decimal == ",",
        day_first=options.day_first,
        null_tokens=frozenset(token.strip().lower() for token in options.null_tokens),
        comma_weight=(0.5 if found.delimiter == ";" else 0.0)
        + (0.5 if found.codec.startswith(_COMMA_CODECS) else 0.0)
        + (0.5 if _foreign_names(found.source_names) else 0.0),
        day_first_weight=(1.0 if found.codec.startswith(_DAY_FIRST_CODECS) else 0.0)
        + (0.6 if found.delimiter == ";" else 0.0)
        + (1.0 if _foreign_names(found.source_names) else 0.0),
    )


def _foreign_names(source_names: Sequence[str]) -> bool:
    words = {word for name in source_names for word in name.lower().replace("_", " ").split()}
    return bool(words & _FOREIGN_WORDS) or any(0xBF < ord(ch) < 0x500 for name in source_names for ch in name)


_FOREIGN = (
    "datum betrag preis menge nachname vorname ort stadt kunde kundennummer artikel umsatz "
    "geburtsdatum anzahl nom prenom ville montant prix quantite fecha importe precio cantidad ciudad "
    "cliente nombre data prezzo importo quantita cognome citta dato belop beloeb pris antal navn "
    "kwota cena ilosc nazwisko valor preco bedrag prijs"
)
_FOREIGN_WORDS = frozenset(_FOREIGN.split())


def plans(loaded: Loaded, job: Job, fixed: Mapping[str, Kind], folder: Path) -> Plans:
    """Plans from a sample, checked on every row and thought over where they fail too often.

    What the check has converted is kept in `loaded.typed`, as long as no plan had to change after it.
    """
    hints = _hints(loaded, job)
    sample = loaded.sample()
    cells = {name: sample[name] for name in loaded.found.names}
    found = infer.infer(cells, hints, fixed)
    if loaded.spool.rows <= sample.height + len(loaded.totals):
        return found
    for number in range(_ROUNDS_MAX):
        checked = _Check(found)
        typed = Spool(folder, f"typed-{loaded.number}-{number}")
        for frame in loaded.spool:
            typed.add(checked.convert(loading.without_lines(frame, loaded.totals)))
        doubtful = checked.doubtful(last=number == _ROUNDS_MAX - 1)
        if not doubtful:
            loaded.typed = (found, typed)
            return found
        typed.discard()
        for name, bad in doubtful.items():
            cells[name] = pl.concat([cells[name], bad])
        found = found | infer.infer({name: cells[name] for name in doubtful}, hints, fixed)
        if number == _ROUNDS_MAX - 2:
            # Thought over often enough: what still fails too often is text.
            again = _Check(found)
            for frame in loaded.spool:
                again.convert(loading.without_lines(frame, loaded.totals))
            for name in again.doubtful(last=True):
                found[name] = infer.text_plan(cells[name], hints)
    return found


class _Check:
    """Counts, over all rows, the cells that a plan does not fit, and those that speak for another plan."""

    def __init__(self, found: Plans) -> None:
        self._plans = found
        self._failed: dict[str, int] = dict.fromkeys(found, 0)
        self._present: dict[str, int] = dict.fromkeys(found, 0)
        self._other: dict[str, int] = dict.fromkeys(found, 0)
        self._bad: dict[str, list[pl.Series]] = {name: [] for name in found}

    def convert(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows converted, counted on the way."""
        typed = []
        for name, plan in self._plans.items():
            cells = rows[name]
            converted = convert.convert(cells, plan).alias(name)
            typed.append(converted.cast(convert.dtype(plan)))
            if plan.kind != "text" and not plan.forced:
                self._count(name, cells, converted, plan)
        return pl.DataFrame(typed)

    def _count(self, name: str, cells: pl.Series, converted: pl.Series, plan: ColumnPlan) -> None:
        failed = convert.failures(cells, converted, plan)
        other = convert.speaks_for_another_plan(cells, failed, plan)
        self._present[name] += len(cells) - int(convert.is_null(cells, plan).sum())
        self._failed[name] += int(failed.sum())
        self._other[name] += int(other.sum())
        if len(self._bad[name]) < _BAD_FRAMES_MAX and (either := failed | other).any():
            self._bad[name].append(cells.filter(either).head(_BAD_CELLS_MAX))

    def doubtful(self, *, last: bool) -> dict[str, pl.Series]:
        """Columns to think over, with cells that say why; in the last round only those that fail too often."""
        result = {}
        for name, plan in self._plans.items():
            if not self._bad[name]:
                continue
            cells = pl.concat(self._bad[name])
            shown = cells.str.strip_prefix(native.MARK).head(200).to_list()
            count = max(self._failed[name], self._other[name])
            tolerable = judging.tolerable(self._failed[name], self._present[name], shown, name, plan.kind)
            if not tolerable or (self._other[name] and not last):
                # Weighed as they occur, not as a sample of them: enough to change the decision.
                weighed = pl.concat([cells] * max(1, count // len(cells)))
                result[name] = weighed[: limits.TYPE_SAMPLE_ROWS]
        return result


def unify(found: Sequence[Plans], loaded: Sequence[Loaded]) -> None:
    """Make the same column one type in all files.

    Raises:
        TableError: two files hold types in it that do not go together.
    """
    for name in found[0]:
        kinds = {
            one[name].kind for one, source in zip(found, loaded, strict=True) if _has_values(source, name)
        }
        if not kinds:
            continue
        kind = _common(kinds)
        if kind is None:
            stated = ", ".join(
                f"{one[name].kind} in {source.found.name!r}"
                for one, source in zip(found, loaded, strict=True)
            )
            raise TableError(
                "schemas_differ",
                f"The column {name!r} is {stated}. Cast it to one type to put the files together.",
                loaded[-1].found.name,
            )
        zoned = any(one[name].zoned for one in found)
        for one in found:
            one[name] = msgspec.structs.replace(one[name], kind=kind, zoned=zoned and kind == "datetime")


def _has_values(loaded: Loaded, name: str) -> bool:
    return any(frame[name].null_count() < frame.height for frame in loaded.spool)


def _common(kinds: set[Kind]) -> Kind | None:
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds == {"integer", "decimal"}:
        return "decimal"
    return "datetime" if kinds == {"date", "datetime"} else None


def merged(found: Sequence[Plans]) -> Plans:
    """The plans with the currencies of all files together."""
    together = dict(found[0])
    for name in together:
        currencies = sorted({currency for one in found for currency in one[name].currencies})
        together[name] = msgspec.structs.replace(together[name], currencies=currencies)
    return together
