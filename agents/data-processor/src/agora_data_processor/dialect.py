"""How a text table is delimited and quoted, told from its first lines.

The idea is that of clevercsv (a dialect is right if rows have the same length and cells look like values),
with weights of our own: see evals/README.md for how the two compare.
"""

import csv
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

DELIMITERS = (",", ";", "\t", "|", ":", "^", "~", "\x1f", "\x01", " ")
_PRIORS = {":": 0.6, "^": 0.9, "~": 0.9, " ": 0.45}
_QUOTES = ('"', "'")
_SCORED_LINES = 400

_VALUE = re.compile(
    r"""^(?:
      [-+(]?\s?[$€£¥]?\s?\d{1,3}(?:[.,'\s]\d{3})*(?:[.,]\d+)?\s?[%€$£)]?     # numbers of any locale
    | [-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?
    | \d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T\s]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?.{0,7})?
    | \d{1,2}:\d{2}(?::\d{2})?(?:\s?[AaPp][Mm])?
    | (?:true|false|yes|no|null|nan|n/?a)
    | [\w.+-]+@[\w-]+\.[\w.]+
    | https?://\S+
    | [^\W_][\w \-./'&()]{0,60}                                             # words
    )$""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Delimiter "" is a table of one column; quote "" means that quotes mean nothing.

    `escape` is a backslash where it escapes quotes, else "".
    """

    delimiter: str
    quote: str
    escape: str = ""

    def reader_options(self) -> dict[str, object]:
        """Keyword arguments for `csv.reader`."""
        return {
            # A character that text does not hold stands for "no delimiter".
            "delimiter": self.delimiter or "\x1e",
            "quotechar": self.quote or None,
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            "escapechar": self.escape or None,
            "doublequote": True,
            "skipinitialspace": self.delimiter != "\t",
            "strict": False,
        }


def detect(lines: Sequence[str], *, delimiter: str | None = None) -> Dialect:
    """The likeliest dialect of a sample of physical lines; `delimiter` fixes that part of it."""
    sample = [line for line in lines if line.strip()][:_SCORED_LINES]
    if sample and (told := re.match(r"^sep=(.)\s*$", sample[0])):
        delimiter, sample = delimiter or told[1], sample[1:]
    text = "".join(sample)
    escape = "\\" if re.search(r'[^\\]\\"[^,;\t|\r\n]', text) else ""
    candidates = (delimiter,) if delimiter is not None else (*DELIMITERS, "")
    best, best_score = Dialect(delimiter="", quote='"'), -1.0
    for candidate in candidates:
        if candidate and candidate not in text:
            continue
        for quote in _quotes(text, candidate):
            dialect = Dialect(delimiter=candidate, quote=quote, escape=escape if quote == '"' else "")
            score = _score(sample, dialect)
            if score > best_score + 1e-9:
                best, best_score = dialect, score
    if delimiter is not None:
        return Dialect(delimiter=delimiter, quote=best.quote, escape=best.escape)
    return best


def is_wrapped(lines: Sequence[str]) -> bool:
    """Whether a program has quoted every line as a whole, so that its fields hide in one."""
    sample = [text for line in lines[:_SCORED_LINES] if (text := line.strip())]
    if len(sample) < 2 or not all(len(text) > 1 and text[0] == text[-1] == '"' for text in sample):
        return False
    inner = detect([unwrapped(line) for line in sample])
    return inner.delimiter in (",", ";", "\t", "|")


def unwrapped(line: str) -> str:
    """A line without the quotes around it; doubled ones inside become single."""
    text = line.strip()
    return text[1:-1].replace('""', '"') + "\n" if len(text) > 1 and text[0] == text[-1] == '"' else line


def _quotes(text: str, delimiter: str) -> list[str]:
    """Double quotes are the rule; single ones only where they stand at both ends of fields."""
    found = ['"']
    edge = re.escape(delimiter) if delimiter else ""
    opening = len(re.findall(rf"(?:^|{edge})\s*'" if edge else r"^'", text, re.MULTILINE))
    closing = len(re.findall(rf"'\s*(?:{edge}|\r?$)" if edge else r"'$", text, re.MULTILINE))
    if '"' not in text and min(opening, closing) >= 2:
        found.append("'")
    return found


def _score(lines: Sequence[str], dialect: Dialect) -> float:
    try:
        rows = list(csv.reader(lines, **dialect.reader_options()))  # type: ignore[arg-type]
    except csv.Error:
        return 0.0
    rows = [row for row in rows if row]
    if not rows:
        return 0.0
    widths = [len(row) for row in rows]
    counts = Counter(widths)
    # Preamble lines are short, so among equally frequent widths the wider is the table's.
    width = max(counts, key=lambda w: (counts[w] * math.sqrt(w), w))
    if width == 1:
        return 0.0 if dialect.delimiter else 0.12 * _value_share(rows, 1)
    if dialect.delimiter == " " and widths[0] not in (width, width - 1):
        return 0.0  # words of a sentence or of a date: a table's header has as many fields as its rows
    first, last = widths.index(width), len(widths) - 1 - widths[::-1].index(width)
    inside = widths[first : last + 1]
    consistent = inside.count(width) / len(inside)
    covered = len(inside) / len(widths)
    if counts[width] == 1 and len(rows) > 2:
        consistent *= 0.3
    pattern = consistent**2 * (0.4 + 0.6 * covered) * (1 - 1 / (1 + width))
    prior = _PRIORS.get(dialect.delimiter, 1.0)
    return pattern * _value_share(rows, width) * prior


def _value_share(rows: Sequence[Sequence[str]], width: int) -> float:
    """The share of cells that look like one value, and not like a piece of one or like several."""
    cells = [cell.strip() for row in rows if len(row) == width for cell in row][:4_000]
    if not cells:
        return 0.1
    good = 0.0
    for cell in cells:
        if not cell:
            good += 0.7
        elif _VALUE.match(cell):
            good += 1.0
        elif not any(mark in cell for mark in ";\t|"):
            good += 0.55
    return 0.1 + 0.9 * good / len(cells)
