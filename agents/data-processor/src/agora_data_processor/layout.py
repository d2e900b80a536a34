# ruff: noqa: RUF001  -- characters that look alike are what this file is about
"""Where the table lies in its file: preamble, header (of one line or several, or none), width."""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agora_data_processor import native

type Row = Sequence[str | None]

_NUMBER = re.compile(
    r"^[-+(]?\s?(?:[$€£¥￥₹]|[A-Z]{3}(?=\s))?\s?(?=[\d.,])[\d.,'’\s\u00a0\u202f]*\d[\d.,]*\s?(?:[%€$£¥)]|[A-Z]{3}|zł|kr|Kč)?$"
)
_DATE = re.compile(
    r"^\d{1,4}[-/.年]\d{1,2}[-/.月]\d{1,4}日?(?:[T\s].*)?$|^\d{1,2}[-\s.][A-Za-zÀ-ž]{3,10}\.?[-\s.,]+\d{2,4}$"
)
_TIME = re.compile(r"^\d{1,2}:\d{2}(?::\d{2})?(?:\s?[AaPp][Mm])?$")
_YEAR = re.compile(r"^(?:(?:19|20)\d\d(?:[-/]\d\d)?|Q[1-4]|[1-4]Q)$")
_BOOLEAN = frozenset({"true", "false", "yes", "no", "y", "n", "t", "f", "ja", "nein", "oui", "non"})
_NULLS = frozenset({"", "na", "n/a", "null", "none", "nan", "-", "--", "?", "#n/a"})
_UNIT = re.compile(
    r"^[(\[].{1,20}[)\]]$|^(?:kg|g|km|m|cm|mm|%|€|\$|£|eur|usd|tsd\.?|mio\.?|°c)$", re.IGNORECASE
)
_HEADER_ROWS_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`header_rows` are indexes into the sampled rows; data begin at row `first_data`.

    `names` are final: unique, never empty. `source_names` are as the file has them. `has_header` is False
    where names are made up. `pad_short` says that short rows are a habit of this file (their last cells are
    empty) and no damage.
    """

    width: int
    header_rows: list[int]
    first_data: int
    names: list[str]
    source_names: list[str]
    has_header: bool
    pad_short: bool


def find(rows: Sequence[Row], *, header: bool | None = None) -> Layout:
    """The layout of a table from the rows of its head. `header` says whether there is one, if known."""
    width = _width(rows)
    start = _table_start(rows, width)
    if header is False:
        first_data: int = start
        header_rows: list[int] = []
    else:
        header_rows, first_data = _header(rows, start, width, forced=bool(header))
    names = _merged_names(rows, header_rows, width)
    if header_rows and _lacks_name_of_row_label(rows, header_rows, first_data, width):
        names = ["", *names][:width]
    return Layout(
        width=width,
        header_rows=header_rows,
        first_data=first_data,
        names=unique_names(names),
        source_names=names,
        has_header=bool(header_rows),
        pad_short=_short_rows_are_usual(rows[first_data:], width),
    )


def unique_names(names: Sequence[str]) -> list[str]:
    """Names without blanks and twins: an empty one becomes column_3, a second `price` price_2."""
    result: list[str] = []
    taken = {name for name in names if name}
    used: set[str] = set()
    for position, name in enumerate(names, start=1):
        base = name or f"column_{position}"
        candidate, number = base, 2
        while candidate in used or (candidate != name and candidate in taken):
            candidate, number = f"{base}_{number}", number + 1
        used.add(candidate)
        result.append(candidate)
    return result


def clean_name(text: str | None) -> str:
    """A header cell on one line, without the marks and spaces around it."""
    plain = unicodedata.normalize("NFC", (text or "").replace(native.MARK, ""))
    plain = "".join(" " if ch.isspace() else ch for ch in plain if ch.isprintable() or ch.isspace())
    return re.sub(r"\s+", " ", plain).strip(" \u200b\"'")


def length(row: Row) -> int:
    """A row's length without its trailing empty cells."""
    end = len(row)
    while end and not (row[end - 1] or "").strip():
        end -= 1
    return end


def _width(rows: Sequence[Row]) -> int:
    if not rows:
        return 0
    lengths = Counter(len(row) for row in rows)
    if len(lengths) == 1:
        # Sheets are rectangular: columns that are empty everywhere are no part of the table.
        return max(1, *(length(row) for row in rows))
    used = Counter(max(1, length(row)) for row in rows)
    modal = max(lengths, key=lambda w: (lengths[w] * (1 if w > 1 else 0.5), w))
    # Trailing delimiters make every row longer than its content; the content counts.
    filled = max((w for w, count in used.items() if w <= modal and count >= 1), default=modal)
    return filled if lengths[modal] >= 0.3 * len(rows) or modal > 1 else max(used)


def _table_start(rows: Sequence[Row], width: int) -> int:
    """The first row of the table: what comes before is shorter (titles, "key: value" notes)."""
    if width == 1:
        return 0
    for index, row in enumerate(rows):
        filled = _filled(row)
        if filled >= max(2, round(width * 0.6)) or (filled >= 2 and width <= 3):
            if width == 2 and _is_note(rows, index):
                continue
            # A row of group titles over the header belongs to the table.
            return _with_group_row(rows, index)
    return 0


def _with_group_row(rows: Sequence[Row], index: int) -> int:
    above = index - 1
    if above < 0:
        return index
    cells = [cell for cell in rows[above] if (cell or "").strip()]
    spans = 2 <= len(cells) and len(rows[above]) == len(rows[index]) and not any(map(_typed_not_year, cells))
    ends_late = length(rows[above]) > 2
    return above if spans and ends_late else index


def _is_note(rows: Sequence[Row], index: int) -> bool:
    """In a table of two columns: a "key: value" line above an empty line or before longer rows."""
    first = (rows[index][0] or "").strip()
    return (
        first.endswith(":")
        and index + 2 < len(rows)
        and not (rows[index + 1][0] or "").strip().endswith("::")
    )


def _header(rows: Sequence[Row], start: int, width: int, *, forced: bool) -> tuple[list[int], int]:
    """The header's rows and the first row of data."""
    body = rows[start + 1 :]
    if not rows[start:]:
        return [], start
    if not forced and not _is_header(rows[start], body, width):
        return [], start
    header_rows = [start]
    following = start + 1
    while len(header_rows) < _HEADER_ROWS_MAX and following < len(rows) - 1:
        if not _continues_header(rows, header_rows, following, width):
            break
        header_rows.append(following)
        following += 1
    return header_rows, following


def _is_header(row: Row, body: Sequence[Row], width: int) -> bool:
    cells = [(cell or "").strip() for cell in row[:width]]
    filled = [cell for cell in cells if cell]
    if not filled:
        return False
    # A header that is repeated further down is no evidence against itself.
    body = [line for line in body[:200] if list(line) != list(row)]
    if not body:
        return not any(map(_typed, filled))
    votes = 0.0
    for index, cell in enumerate(cells):
        column = [(line[index] or "").strip() for line in body if index < len(line)]
        column = [value for value in column if value.lower() not in _NULLS]
        votes += _header_vote(cell, column)
    if len(set(map(str.lower, filled))) < len(filled) * 0.6:
        votes -= 1
    return votes > 0


def _header_vote(cell: str, column: Sequence[str]) -> float:
    """How much one cell speaks for its row being a header, given the column below it."""
    if not cell:
        return 0.0
    if not column:
        return 0.3 if not _typed(cell) or cell.lower() in _BOOLEAN else 0.0
    typed_share = sum(map(_typed, column)) / len(column)
    if _typed(cell) and (cell.lower() not in _BOOLEAN or any(value.lower() in _BOOLEAN for value in column)):
        if _YEAR.match(cell):
            years = sum(1 for value in column if _YEAR.match(value)) / len(column)
            return 0.5 if years < 0.5 and typed_share > 0.5 else -1.0
        return -1.5
    if typed_share > 0.6:
        return 1.0
    if cell in column:
        return -1.0
    lengths = [len(value) for value in column]
    same_length = len(set(lengths)) == 1 and lengths[0] != len(cell) and len(lengths) > 2
    wordlike = bool(re.match(r"^[^\W\d][\w .\-/()#&%€$]*$", cell)) and len(cell) <= 40
    named = (
        bool(re.match(r"^[a-z]+(?:_[a-z0-9]+)+$|^[a-z]+(?:[A-Z][a-z0-9]+)+$", cell)) or cell.lower() in _NAMES
    )
    return (0.6 if named else 0.15 if wordlike else -0.2) + (0.3 if same_length else 0.0)


def _continues_header(rows: Sequence[Row], header_rows: Sequence[int], index: int, width: int) -> bool:
    """Whether a row below a header row still belongs to it: units, or names under group titles."""
    above, row, body = rows[header_rows[-1]], rows[index], rows[index + 1 :]
    cells = [(cell or "").strip() for cell in row[:width]]
    filled = [cell for cell in cells if cell]
    if not filled or not body or any(map(_typed_not_year, filled)):
        return False
    if sum(1 for cell in filled if _UNIT.match(cell)) >= max(1, len(filled) * 0.6):
        return True
    if _filled(above) < min(width, length(row)) and _spans(above, width) and _is_header(row, body, width):
        return True
    votes = sum(
        _header_vote(cell, [v for line in body[:200] if i < len(line) and (v := (line[i] or "").strip())])
        for i, cell in enumerate(cells)
    )
    typed_columns = sum(1 for i in range(width) if _column_typed(body, i))
    under_typed = sum(1 for i, cell in enumerate(cells) if cell and _column_typed(body, i))
    return typed_columns >= 2 and under_typed >= 0.9 * typed_columns and votes > 0 and _nothing_null(cells)


def _nothing_null(cells: Sequence[str]) -> bool:
    return not any(cell.lower() in _NULLS - {""} or cell.lower() in _BOOLEAN for cell in cells)


def _spans(row: Row, width: int) -> bool:
    """Group titles leave the cells empty over which they stretch."""
    cells = [(cell or "").strip() for cell in row[:width]] + [""] * max(0, width - len(row))
    return any(cell and not after for cell, after in itertools.pairwise(cells))


def _column_typed(body: Sequence[Row], index: int) -> bool:
    column = [v for line in body[:50] if index < len(line) and (v := (line[index] or "").strip())]
    column = [value for value in column if value.lower() not in _NULLS]
    return bool(column) and sum(map(_typed, column)) > 0.6 * len(column)


def _merged_names(rows: Sequence[Row], header_rows: Sequence[int], width: int) -> list[str]:
    names = [""] * width
    for depth, index in enumerate(header_rows):
        cells = [clean_name(cell) for cell in rows[index][:width]]
        cells += [""] * (width - len(cells))
        if depth < len(header_rows) - 1 and _spans(rows[index], width):
            cells = _stretched(cells, [clean_name(cell) for cell in rows[header_rows[depth + 1]][:width]])
        names = [f"{name} {cell}".strip() if cell else name for name, cell in zip(names, cells, strict=True)]
    return names


def _stretched(cells: Sequence[str], below: Sequence[str]) -> list[str]:
    """Each group title over the empty cells to its right that have a name below."""
    result, current = [], ""
    for index, cell in enumerate(cells):
        current = cell or current
        result.append(current if cell or (index < len(below) and below[index]) else "")
    return result


def _lacks_name_of_row_label(
    rows: Sequence[Row], header_rows: Sequence[int], first_data: int, width: int
) -> bool:
    """R writes a header that is one cell shorter than the rows, which begin with the row's label."""
    header = len(rows[header_rows[-1]])
    body = rows[first_data : first_data + 50]
    return bool(body) and header == width - 1 and all(len(row) == width for row in body)


def _short_rows_are_usual(body: Sequence[Row], width: int) -> bool:
    sample = [row for row in body if row]
    short = sum(1 for row in sample if 1 < len(row) < width)
    return short >= 3 and short >= 0.3 * len(sample)


def _filled(row: Row) -> int:
    return sum(1 for cell in row if cell and cell.strip())


def _typed(cell: str) -> bool:
    return (
        cell.startswith(native.MARK)
        or bool(_NUMBER.match(cell) or _DATE.match(cell) or _TIME.match(cell))
        or cell.lower() in _BOOLEAN
    )


def _typed_not_year(cell: str | None) -> bool:
    text = (cell or "").strip()
    return _typed(text) and not _YEAR.match(text.removeprefix(native.MARK))


_USUAL_NAMES = (
    "id name date time datetime timestamp year month day type status code value amount price total "
    "quantity qty city country state region address street zip email phone category description "
    "comment notes title first_name last_name firstname lastname gender sex age currency url product "
    "customer order user vorname nachname ort stadt land straße strasse plz datum betrag preis menge "
    "artikel kunde nummer nom prénom prenom ville pays adresse prix montant quantité nombre apellido "
    "ciudad fecha precio cantidad importe nome cognome città data prezzo quantità imię nazwisko "
    "miasto kwota cena"
)
_NAMES = frozenset(_USUAL_NAMES.split())
