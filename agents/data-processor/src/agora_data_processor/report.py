"""The quality report: what was found, mended, rejected, and how good the table is."""

import re
from collections import Counter
from typing import Any

import polars as pl

from agora_data_processor import native
from agora_data_processor.cleaning import Cleaned
from agora_data_processor.loading import Loaded
from agora_data_processor.plans import ColumnPlan, Kind

_ASKED_FOR = frozenset({"filtered", "duplicate"})
_FURNITURE = frozenset({"total_row", "footer_note", "repeated_header", "separator_row", "comment"})
_SHAPES_MAX = 6


def quality_score(cleaned: Cleaned) -> float:
    """0 to 1: half validity (rows that had to be rejected), 0.3 completeness, 0.2 uniqueness.

    Rows that a transform took out on request and rows that are no data (totals, notes) count neither way.
    """
    return round(
        0.5 * validity(cleaned) + 0.3 * cleaned.profile.completeness + 0.2 * cleaned.profile.uniqueness, 4
    )


def validity(cleaned: Cleaned) -> float:
    """The share of data rows that broke neither a type nor a rule."""
    aside = sum(count for reason, count in cleaned.reasons.items() if reason in _ASKED_FOR | _FURNITURE)
    data = cleaned.rows_in - aside
    reported = sum(tally.count for tally in cleaned.tallies if tally.rule.on_fail == "report")
    bad = cleaned.rejected - aside + min(reported, cleaned.rows_out)
    return max(0.0, 1 - bad / data) if data else 0.0


def build(cleaned: Cleaned) -> dict[str, Any]:
    """The report as plain JSON types."""
    return {
        "rows_in": cleaned.rows_in,
        "rows_out": cleaned.rows_out,
        "rejected": cleaned.rejected,
        "rejected_by_reason": cleaned.reasons,
        "quality": {
            "score": quality_score(cleaned),
            "validity": round(validity(cleaned), 4),
            "completeness": round(cleaned.profile.completeness, 4),
            "uniqueness": round(cleaned.profile.uniqueness, 4),
            "duplicate_rows": cleaned.profile.duplicates,
        },
        "sources": [_source(one) for one in cleaned.loaded],
        "columns": [_column(cleaned, name) for name in cleaned.schema],
    }


def kind_of(dtype: pl.DataType) -> Kind:
    """The name of a column's type."""
    if isinstance(dtype, pl.Datetime):
        return "datetime"
    names: dict[Any, Kind] = {
        pl.Int64(): "integer", pl.Float64(): "decimal", pl.Boolean(): "boolean", pl.Date(): "date", pl.Time(): "time"
    }  # fmt: skip
    return names.get(dtype, "text")


def _source(loaded: Loaded) -> dict[str, Any]:
    found = loaded.found
    return {
        "name": found.name,
        "kind": found.kind,
        "encoding": found.encoding,
        "delimiter": found.delimiter,
        "quote": found.quote,
        "escape": found.escape,
        "sheet": found.sheet,
        "other_sheets": found.other_sheets,
        "header_row": found.header_line,
        "header_lines": found.header_lines,
        "preamble_rows": found.preamble_lines,
        "rows": loaded.rows,
        "repairs": {
            "lines_in_another_encoding": loaded.repairs.redecoded_lines,
            "lines_not_decodable": loaded.repairs.undecodable_lines,
            "lines_with_nul_bytes": loaded.repairs.nul_lines,
        },
    }


def _column(cleaned: Cleaned, name: str) -> dict[str, Any]:
    plan = plan_of(cleaned, name)
    described: dict[str, Any] = {
        "name": name,
        "source_name": cleaned.sources.get(name, name),
        "type": kind_of(cleaned.schema[name]),
        **cleaned.profile.columns[name].described(),
    }
    if plan is not None:
        described |= _conventions(plan)
        described["formats_found"] = _formats(cleaned, name)
    return described


def plan_of(cleaned: Cleaned, name: str) -> ColumnPlan | None:
    """The plan of a column by its name in the result."""
    source = cleaned.sources.get(name)
    names = cleaned.loaded[0].found.names
    for original, source_name in zip(names, cleaned.loaded[0].found.source_names, strict=True):
        if original == name or (source_name and source_name == source):
            return cleaned.plans[original]
    return None


def _conventions(plan: ColumnPlan) -> dict[str, Any]:
    stated: dict[str, Any] = {}
    if plan.kind in ("integer", "decimal"):
        stated["decimal_mark"] = plan.decimal_mark
        if plan.percent:
            stated["percent"] = "values are fractions: 12.5 % is 0.125"
        if plan.currencies:
            stated["currencies"] = plan.currencies
    if plan.kind in ("date", "datetime"):
        stated["day_first"] = plan.order == "dmy"
        if plan.zoned:
            stated["time_zone"] = "UTC"
    if plan.ambiguous:
        stated["ambiguous"] = "nothing in the file decides on its order; state it in the options"
    return stated


def _formats(cleaned: Cleaned, name: str) -> list[dict[str, Any]]:
    """The commonest shapes of a column's cells in the file: 9 for a digit, a for letters."""
    source = cleaned.sources.get(name)
    shapes: Counter[str] = Counter()
    for loaded in cleaned.loaded:
        for original, source_name in zip(loaded.found.names, loaded.found.source_names, strict=True):
            if original == name or (source_name and source_name == source):
                shapes.update(map(_shape, loaded.sample()[original].head(2_000).drop_nulls().to_list()))
                break
    return [{"shape": shape, "count": count} for shape, count in shapes.most_common(_SHAPES_MAX)]


def _shape(cell: str) -> str:
    plain = re.sub(r"\d", "9", cell.removeprefix(native.MARK))
    plain = re.sub(r"9{5,}", "9+", re.sub(r"[^\W\d_]+", "a", plain))
    return plain[:40]
