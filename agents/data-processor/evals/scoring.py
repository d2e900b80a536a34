"""How well a cleaned table agrees with the truth."""

import datetime
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Shares from 0 to 1; `exact` says that rows in, rows out and the rejected lines are all right."""

    types: float
    cells: float
    exact: bool
    wrong: list[str]


def same(found: Any, true: Any) -> bool:
    """Whether two values are equal; decimals to nine digits, moments without their zone."""
    if true is None or found is None:
        return true is None and found is None
    if isinstance(true, bool) or isinstance(found, bool):
        return found is true
    if isinstance(true, int | float) and isinstance(found, int | float):
        return math.isclose(found, true, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(true, datetime.datetime) and isinstance(found, datetime.datetime):
        return found.replace(tzinfo=None) == true.replace(tzinfo=None)
    if isinstance(true, datetime.datetime) and isinstance(found, datetime.date):
        return datetime.datetime.combine(found, datetime.time()) == true
    return bool(found == true)


def score(
    names: list[str], kinds: list[str], rows: list[list[Any]], key: int,
    found_kinds: dict[str, str], found_rows: list[dict[str, Any]], true_rejected: list[int], rejected: list[int] | None,
) -> Score:  # fmt: skip
    """Compare by column name and key. A missing row or column counts all of its cells as wrong."""
    wrong: list[str] = []
    right_types = 0
    for name, kind in zip(names, kinds, strict=True):
        if found_kinds.get(name) == kind:
            right_types += 1
        else:
            wrong.append(f"{name}: {found_kinds.get(name)} instead of {kind}")
    by_key = {str(row.get(names[key])): row for row in found_rows}
    good = total = 0
    for row in rows:
        found = by_key.get(str(row[key]), {})
        for name, true in zip(names, row, strict=True):
            total += 1
            if name in found and same(found[name], true):
                good += 1
            elif len(wrong) < 8:
                wrong.append(f"{name} of {row[key]}: {found.get(name)!r} instead of {true!r}")
    surplus = max(0, len(found_rows) - len(rows)) * len(names)
    exact = len(found_rows) == len(rows) and (rejected is None or sorted(rejected) == sorted(true_rejected))
    if rejected is not None and not exact:
        wrong.append(f"rejected {sorted(rejected)[:10]} instead of {sorted(true_rejected)[:10]}")
    return Score(
        types=right_types / len(names),
        cells=good / (total + surplus) if total else 1.0,
        exact=exact,
        wrong=wrong,
    )
