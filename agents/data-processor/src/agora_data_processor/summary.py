"""A few sentences about the result, from its figures; a model may word them, but not change a number."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_REASONS = {
    "too_few_fields": "too few fields",
    "too_many_fields": "too many fields",
    "unclosed_quote": "a quote that is never closed",
    "total_row": "a row of totals",
    "footer_note": "a note under the table",
    "repeated_header": "the header again",
    "separator_row": "a line of dashes",
    "invalid_json": "invalid JSON",
    "duplicate": "a duplicate",
    "filtered": "filtered out",
}


def baseline(report: Mapping[str, Any]) -> str:
    """The summary without a model."""
    source = report["sources"][0]
    kinds = [column["type"] for column in report["columns"]]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    sentences = [
        f"{report['rows_in']} rows read, {report['rows_out']} kept, {report['rejected']} rejected.",
        f"{len(kinds)} columns: {counted}.",
        f"Quality score {report['quality']['score']}.",
    ]
    if report["rejected_by_reason"]:
        listed = ", ".join(
            f"{count} for {_worded(reason)}" for reason, count in report["rejected_by_reason"].items()
        )
        sentences.insert(1, f"Rejected: {listed}.")
    if source["kind"] == "text":
        sentences.append(f"The file is {source['encoding']}, delimited by {_named(source['delimiter'])}.")
    unclear = [column["name"] for column in report["columns"] if "ambiguous" in column]
    if unclear:
        sentences.append(f"Check the order of day and month or the decimal mark in: {', '.join(unclear)}.")
    return " ".join(sentences)


def _worded(reason: str) -> str:
    if reason.startswith("not_"):
        return f"a cell that is no {reason.removeprefix('not_')}"
    if reason.startswith("rule_"):
        return f"breaking the rule {reason.removeprefix('rule_')}"
    return _REASONS.get(reason, reason.replace("_", " "))


def _named(delimiter: str) -> str:
    return {"": "nothing (one column)", "\t": "tabs", " ": "spaces"}.get(delimiter, f'"{delimiter}"')


def facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a model may speak about: figures and column names, no cell of the file."""
    return {
        "rows_in": report["rows_in"],
        "rows_out": report["rows_out"],
        "rejected": report["rejected"],
        "rejected_by_reason": report["rejected_by_reason"],
        "quality": report["quality"],
        "columns": [
            {"name": str(column["name"])[:60], "type": column["type"], "nulls": column["nulls"]}
            for column in report["columns"][:60]
        ],
    }


def numbers_are_true(text: str, sources: Sequence[str]) -> bool:
    """Whether every number in the text stands in the sources: a model that counts for itself is not used."""
    known = set(re.findall(r"\d+(?:\.\d+)?", " ".join(sources)))
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    return all(number in known for number in re.findall(r"\d+(?:\.\d+)?", plain))
