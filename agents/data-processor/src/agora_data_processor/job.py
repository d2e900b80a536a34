"""What a customer asks for beside the file: options, transforms, rules. Plain types, no SDK."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agora_data_processor.plans import Kind

Name = Annotated[str, Meta(min_length=1, max_length=500)]
Names = Annotated[list[Name], Meta(min_length=1, max_length=1_000)]
Scalar = str | int | float | bool


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown fields are refused, so that a typing error is never ignored."""


class Options(_Strict, frozen=True, kw_only=True):
    """What is known about the file; whatever is left out is detected."""

    encoding: Annotated[str, Meta(max_length=40, description="Such as windows-1252.")] | None = None
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    header: Annotated[bool, Meta(description="Whether the table has a header row.")] | None = None
    sheet: Annotated[str, Meta(max_length=255, description="The sheet of a workbook.")] | None = None
    decimal: Annotated[Literal[".", ","], Meta(description="The decimal mark.")] | None = None
    day_first: Annotated[bool, Meta(description="Whether 03/04/2024 is 3 April.")] | None = None
    null_tokens: Annotated[
        list[Annotated[str, Meta(max_length=100)]],
        Meta(max_length=100, description="Words that mean: no value."),
    ] = []
    ragged: Annotated[
        Literal["auto", "reject", "pad"],
        Meta(
            description="Rows that are too short: rejected, or filled up with nulls; auto decides by habit."
        ),
    ] = "auto"


class Rename(_Strict, frozen=True, kw_only=True, tag_field="op", tag="rename"):
    """Give columns other names."""

    columns: Annotated[dict[str, Name], Meta(min_length=1, max_length=1_000)]


class Drop(_Strict, frozen=True, kw_only=True, tag_field="op", tag="drop"):
    """Leave columns out. Cells of theirs that do not fit a type reject no row."""

    columns: Names


class Fill(_Strict, frozen=True, kw_only=True, tag_field="op", tag="fill"):
    """Put a value where there is none. The value must be of the column's type."""

    columns: Names
    value: Scalar


class Deduplicate(_Strict, frozen=True, kw_only=True, tag_field="op", tag="deduplicate"):
    """Keep the first of rows that agree in these columns (in all, if none is named)."""

    columns: Annotated[list[Name], Meta(max_length=1_000)] = []


class Filter(_Strict, frozen=True, kw_only=True, tag_field="op", tag="filter"):
    """Keep the rows that satisfy a condition; the others count as rejected, with the reason `filtered`."""

    column: Name
    operator: Literal["==", "!=", "<", "<=", ">", ">=", "in", "not_in", "contains", "is_null", "not_null"]
    value: Scalar | list[Scalar] | None = None


class Cast(_Strict, frozen=True, kw_only=True, tag_field="op", tag="cast"):
    """Read columns as this type. Cells that do not fit it reject their rows; codes stay codes as text."""

    columns: Names
    type: Kind


class Trim(_Strict, frozen=True, kw_only=True, tag_field="op", tag="trim"):
    """Make every run of white space inside text one space (its ends are always trimmed)."""

    columns: Annotated[list[Name], Meta(max_length=1_000)] = []


PII_KINDS: tuple["PiiKind", ...] = ("email", "phone", "card", "iban", "ssn", "ip")
PiiKind = Literal["email", "phone", "card", "iban", "ssn", "ip"]


class PiiRedact(_Strict, frozen=True, kw_only=True, tag_field="op", tag="pii_redact"):
    """Replace personal data in text by [EMAIL], [PHONE], [CARD], [IBAN], [SSN], [IP]."""

    columns: Annotated[list[Name], Meta(max_length=1_000)] = []
    kinds: list[PiiKind] = msgspec.field(default_factory=lambda: list(PII_KINDS))


Transform = Rename | Drop | Fill | Deduplicate | Filter | Cast | Trim | PiiRedact

CheckName = Literal["not_null", "unique", "range", "regex", "in_set", "type"]


class Rule(_Strict, frozen=True, kw_only=True):
    """A check of one column (by the name it has after the transforms).

    `range` takes `min` and/or `max` (numbers, or dates as ISO text); `regex` takes `pattern`, which must match
    the whole cell; `in_set` takes `values`; `type` takes `type`. Rows that break it are rejected, or kept and
    only counted with `on_fail: "report"`. All checks but not_null pass over nulls.
    """

    field: Name
    check: CheckName
    min: int | float | str | None = None
    max: int | float | str | None = None
    pattern: Annotated[str, Meta(max_length=1_000)] | None = None
    values: Annotated[list[Scalar], Meta(max_length=10_000)] | None = None
    type: Kind | None = None
    on_fail: Literal["reject", "report"] = "reject"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is asked for."""

    transforms: list[Transform] = []
    rules: list[Rule] = []
    options: Options = Options()
