"""Reading a whole file once: its rows wait in a spool, what is no row is rejected with its reason."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from agora_data_processor import layout, limits, native, tables
from agora_data_processor.faults import TableError
from agora_data_processor.found import Found
from agora_data_processor.job import Options
from agora_data_processor.plans import Plans
from agora_data_processor.records import Repairs
from agora_data_processor.rejects import RejectedRows
from agora_data_processor.spool import Spool
from agora_data_processor.tables import LINE

_TOTAL = (
    r"(?i)^(?:(?:grand|sub|report|overall|net|gross)[\s\-]?)?totals?\b[^a-z0-9]*$|"
    r"^(?:total|sum|average|avg|mean|count)\s*[:=]?$|^total (?:of|for|general|général)\b.*|"
    r"(?i)^(?:summe|gesamt(?:summe|betrag)?|insgesamt|zwischensumme|somme|totaux|sous-total|suma|razem|totale|totaal|"
    r"итого|всего|合計|合计|总计|小計)\s*:?$|(?i)^all (?:rows|records)$"
)
_SEPARATOR = r"^[-=_*~.+#]{2,}$"
_NOTE = re.compile(
    r"(?i)^(?:\*|#|source|note|notes|footnote|quelle|hinweis|stand|exported|generated|printed|end of|---|"
    r"\(c\)|©|copyright|page \d|total rows|rows?:|record count|\d+ (?:rows|records))"
)
_LONG_NOTE_CHARACTERS = 60
_TAIL_ROWS = 15


@dataclass(slots=True, kw_only=True)
class Loaded:
    """A file whose rows are in `spool`, as trimmed strings; `rows` counts these and the rejected ones.

    `typed` holds the same rows (total rows left out) converted by these plans, where that was done already.
    """

    found: Found
    path: Path
    number: int
    spool: Spool
    typed: tuple[Plans, Spool] | None = None
    repairs: Repairs = field(default_factory=Repairs)
    totals: frozenset[int] = frozenset()
    rows: int = 0

    def sample(self) -> pl.DataFrame:
        """Rows that decide on types; total rows are not among them."""
        taken = self.spool.sample(limits.TYPE_SAMPLE_ROWS)
        if taken is None:
            return pl.DataFrame(schema={**dict.fromkeys(self.found.names, pl.String), LINE: pl.UInt32})
        return without_lines(taken, self.totals)


def without_lines(frame: pl.DataFrame, lines: frozenset[int]) -> pl.DataFrame:
    """The frame without the rows on these lines."""
    if not lines:
        return frame
    return frame.filter(~pl.col(LINE).is_in(pl.Series(sorted(lines), dtype=pl.UInt32).implode()))


def load(
    path: Path,
    found: Found,
    options: Options,
    folder: Path,
    number: int,
    rejected: RejectedRows,
    progress: Callable[[int], None],
) -> Loaded:
    """Read a file to its end.

    Raises:
        TableError: it cannot be read.
    """
    loaded = Loaded(found=found, path=path, number=number, spool=Spool(folder, f"source-{number}"))
    before = rejected.count
    waiting: list[tuple[int, str, list[str | None]]] = []
    held: pl.DataFrame | None = None
    try:
        for frame in tables.frames(path, found, options, loaded.repairs):
            for item in frame.broken:
                rejected.add(found.name, item.line, item.reason, item.text)
            strings = _without_furniture(frame.strings, found, rejected)
            if strings.height:
                _reject_ragged(waiting, found, rejected, last_line=int(strings[LINE][-1]))
                waiting = []
                if held is not None:
                    loaded.spool.add(held)
                held = strings
            waiting += frame.ragged
            progress(loaded.spool.rows + strings.height)
    except UnicodeError as error:
        raise TableError(
            "file_damaged",
            f"The file is not {found.encoding} to its end ({error}). State its encoding.",
            found.name,
        ) from error
    last_line = int(held[LINE][-1]) if held is not None else 0
    _reject_ragged(waiting, found, rejected, last_line=last_line)
    if held is not None:
        loaded.spool.add(_without_notes(held, found, rejected))
    loaded.totals = _total_lines(loaded)
    loaded.rows = loaded.spool.rows + rejected.count - before
    return loaded


def reject_totals(loaded: Loaded, rejected: RejectedRows) -> None:
    """Keep the total rows among the rejected."""
    if not loaded.totals:
        return
    for frame in loaded.spool:
        lines = frame[LINE].to_list()
        for index, line in enumerate(lines):
            if line in loaded.totals:
                rejected.add(loaded.found.name, line, "total_row", _record(frame, index))


def _record(frame: pl.DataFrame, index: int) -> list[str | None]:
    return list(frame.drop(LINE).row(index))


def _reject_ragged(
    ragged: list[tuple[int, str, list[str | None]]], found: Found, rejected: RejectedRows, *, last_line: int
) -> None:
    for line, reason, row in ragged:
        first = (row[0] or "").strip() if row else ""
        if first.startswith(("#", "//")) and not found.names[0].startswith("#"):
            reason = "comment"
        elif line > last_line and layout.length(row) == 1 and found.width > 1:
            reason = "footer_note"
        elif re.match(_SEPARATOR, first) and len(set(first)) == 1 and layout.length(row) == 1:
            reason = "separator_row"
        elif re.match(_TOTAL.replace("(?i)", ""), first, re.IGNORECASE):
            reason = "total_row"
        rejected.add(found.name, line, reason, row)


def _without_furniture(strings: pl.DataFrame, found: Found, rejected: RejectedRows) -> pl.DataFrame:
    """The rows without headers that are repeated and rows of dashes."""
    if not strings.height:
        return strings
    first = strings[found.names[0]]
    named = next((index for index, name in enumerate(found.source_names) if name), 0)
    header_like = strings[found.names[named]].str.strip_prefix(native.MARK) == found.source_names[named]
    suspicious = (
        header_like & pl.Series([found.header_line is not None]).new_from_index(0, strings.height)
    ) | (first.str.contains(_SEPARATOR))
    suspects = suspicious.fill_null(False).arg_true().to_list()
    if not suspects:
        return strings
    gone: list[int] = []
    for index in suspects:
        row = _record(strings, index)
        reason = _furniture(row, found)
        if reason:
            rejected.add(found.name, int(strings[LINE][index]), reason, row)
            gone.append(index)
    keep = pl.Series([True]).new_from_index(0, strings.height)
    return strings.filter(keep.scatter(gone, False)) if gone else strings


def _furniture(row: list[str | None], found: Found) -> str | None:
    cells = [cell for cell in row if cell]
    if (
        all(re.match(_SEPARATOR, cell) for cell in cells)
        and found.width > 1
        and len(cells) >= found.width * 0.6
    ):
        return "separator_row"
    pairs = [(cell, name) for cell, name in zip(row, found.source_names, strict=True) if name]
    same = sum(1 for cell, name in pairs if layout.clean_name(cell) == name)
    if pairs and same >= 0.8 * len(pairs) and (same > 1 or found.width == 1):
        return "repeated_header"
    return None


def _without_notes(strings: pl.DataFrame, found: Found, rejected: RejectedRows) -> pl.DataFrame:
    """The last rows without notes that stand under the table: one cell of text in a wide table."""
    if found.width < 3 or not found.by_position:
        return strings
    kept = strings.height
    while kept > 1 and strings.height - kept < _TAIL_ROWS:
        row = _record(strings, kept - 1)
        cells = [cell for cell in row if cell]
        if len(cells) != 1 or cells[0].startswith(native.MARK):
            break
        apart = kept >= 2 and int(strings[LINE][kept - 1]) - int(strings[LINE][kept - 2]) > 1
        if not (_NOTE.match(cells[0]) or apart or len(cells[0]) > _LONG_NOTE_CHARACTERS):
            break
        kept -= 1
    for index in range(kept, strings.height):
        rejected.add(found.name, int(strings[LINE][index]), "footer_note", _record(strings, index))
    return strings.head(kept)


def _total_lines(loaded: Loaded) -> frozenset[int]:
    """Lines of rows that sum up others: labelled so, and either last or without a key that other rows have."""
    names = loaded.found.names
    if len(names) < 2 or loaded.spool.rows < 3:
        return frozenset()
    sample = loaded.spool.sample(5_000)
    if sample is None:
        return frozenset()
    plain = sample.filter(~pl.coalesce(names[:3]).str.contains(_TOTAL).fill_null(False))
    usually_filled = [name for name in names if plain[name].null_count() < 0.2 * plain.height]
    lines: list[int] = []
    labelled = 0
    end = 0
    for frame in loaded.spool:
        end = int(frame[LINE][-1])
        label = pl.coalesce(names[:3]).str.contains(_TOTAL)
        for index in frame.select(label.fill_null(False).alias(LINE)).to_series().arg_true().to_list():
            labelled += 1
            row = frame.row(index, named=True)
            lacking = sum(1 for name in usually_filled if row[name] is None)
            if lacking or int(row[LINE]) >= end - 3:
                lines.append(int(row[LINE]))
    # Where "Total" is a category, most of its rows are complete: then none of them is a sum of the table.
    if labelled > 2 * len(lines) or len(lines) > 0.5 * loaded.spool.rows:
        return frozenset()
    first_of_tail = [line for line in lines if line <= end]
    return frozenset(first_of_tail)
