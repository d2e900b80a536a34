"""Labelled examples from a configuration: inline, or a file of JSON lines, a JSON list, or CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from agora_ticket_resolver.texts import joined

FILE_BYTES_MAX = 64 * 1024 * 1024
EXAMPLES_MAX = 50_000
PRIORITIES = ("low", "medium", "high", "urgent")

# What help desks' exports call these columns.
_COLUMNS = {
    "text": ("text", "ticket", "message", "content", "utterance", "instruction"),
    "subject": ("subject", "title", "summary", "ticket_subject"),
    "body": ("body", "description", "ticket_description", "details", "question"),
    "category": ("category", "label", "intent", "class", "queue", "type", "topic", "ticket_type"),
    "priority": ("priority", "urgency", "severity", "ticket_priority"),
}
_PRIORITY_NAMES = {
    "low": "low", "minor": "low", "trivial": "low", "p4": "low", "p5": "low", "4": "low", "niedrig": "low",
    "medium": "medium", "normal": "medium", "moderate": "medium", "p3": "medium", "3": "medium", "mittel": "medium",
    "high": "high", "major": "high", "p2": "high", "2": "high", "hoch": "high", "important": "high",
    "urgent": "urgent", "critical": "urgent", "blocker": "urgent", "p1": "urgent", "p0": "urgent", "1": "urgent",
    "very high": "urgent", "highest": "urgent", "emergency": "urgent", "dringend": "urgent",
    "lowest": "low", "very low": "low",
}  # fmt: skip


class LabelledTicket(msgspec.Struct, frozen=True, kw_only=True):
    """One past ticket and what was decided about it; a label that was not given is empty."""

    text: str
    category: str
    priority: str = ""


class BadExamples(Exception):
    """Examples that cannot be used. `place` names the line, row or item."""

    def __init__(self, detail: str, place: str) -> None:
        super().__init__(f"{detail} ({place})")
        self.detail = detail
        self.place = place


def from_records(records: Iterable[Mapping[str, Any]], source: str, unit: str) -> list[LabelledTicket]:
    """Examples from mappings with any of the usual column names.

    Raises:
        BadExamples: a record has no text, no label at all or an unknown priority, or there are too many.
    """
    examples = []
    for number, record in enumerate(records, start=1):
        place = f"{source}, {unit} {number}"
        if number > EXAMPLES_MAX:
            raise BadExamples(f"There are more than {EXAMPLES_MAX} examples; send fewer.", place)
        examples.append(_example({str(name).strip().lower(): value for name, value in record.items()}, place))
    return examples


def from_file(path: Path, name: str) -> list[LabelledTicket]:
    """Examples from a file.

    Raises:
        BadExamples: it is empty, too large, not UTF-8, or a line is malformed; `place` says where.
    """
    size = path.stat().st_size
    if size > FILE_BYTES_MAX:
        raise BadExamples(f"The file has {size} bytes; at most {FILE_BYTES_MAX} are read.", name)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadExamples(
            "The file is not UTF-8; save it as UTF-8.", f"{name}, byte {error.start}"
        ) from error
    start = text.lstrip()[:1]
    if start == "":
        raise BadExamples("The file is empty.", name)
    if start == "[":
        return from_records(_json_list(text, name), name, "item")
    if start == "{":
        return from_records(_json_lines(text, name), name, "line")
    return from_records(_table(text, name), name, "row")


def _example(record: Mapping[str, Any], place: str) -> LabelledTicket:
    subject, body, text = (_value(record, field, place) for field in ("subject", "body", "text"))
    whole = joined(subject, body or text) if subject else joined("", text or body)
    if not whole:
        raise BadExamples('An example needs a "text", or a "subject" and "body".', place)
    category, priority = _value(record, "category", place), _value(record, "priority", place)
    if not category and not priority:
        raise BadExamples('An example needs a "category".', place)
    known = _PRIORITY_NAMES.get(priority.lower(), "") if priority else ""
    if priority and not known:
        raise BadExamples(f"The priority {priority[:40]!r} is none of {', '.join(PRIORITIES)}.", place)
    return LabelledTicket(text=whole, category=category, priority=known)


def _value(record: Mapping[str, Any], field: str, place: str) -> str:
    for name in _COLUMNS[field]:
        value = record.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise BadExamples(f'The field "{name}" must be text.', place)
        if value is not None and str(value).strip():
            return str(value).strip()
    return ""


def _json_lines(text: str, name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise BadExamples(
                    f"This line is not a JSON object: {error}", f"{name}, line {number}"
                ) from error


def _json_list(text: str, name: str) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.DecodeError as error:
        raise BadExamples(f"The file is not a JSON list of objects: {error}", name) from error


def _table(text: str, name: str) -> Iterator[dict[str, Any]]:
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=first.count)
    # A cell may hold a whole mail, never a whole file.
    csv.field_size_limit(1_000_000)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, restval="")
    try:
        yield from reader
    except csv.Error as error:
        raise BadExamples(f"This row is not valid CSV: {error}", f"{name}, line {reader.line_num}") from error
