"""What customers send and get, and what a deployment configures."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import agora
import msgspec
from msgspec import Meta

from agora_data_processor.found import Found
from agora_data_processor.job import CheckName, Job, Options, Rule, Transform
from agora_data_processor.plans import Kind

Transforms = Annotated[list[Transform], Meta(max_length=100)]
Rules = Annotated[list[Rule], Meta(max_length=200)]


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file to read. `credential_ref` is for kinds of source that need one; a file does not."""

    uri: Annotated[agora.FileRef, Meta(description="The file: CSV, TSV, Excel or JSON.")]
    kind: Literal["file"] = "file"
    credential_ref: None = None
    sheet: Annotated[str, Meta(max_length=255)] | None = None


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the results go: files of the run, whose names begin with `uri` (without an extension)."""

    kind: Literal["file"] = "file"
    uri: Annotated[str, Meta(pattern=r"^[\w][\w .\-]{0,79}$")] | None = None


class Input(agora.Input):
    """One `file`, or `sources` with the same columns, which become one table."""

    file: Annotated[agora.FileRef, Meta(description="The file to clean.")] | None = None
    sources: Annotated[list[Source], Meta(max_length=50)] = msgspec.field(default_factory=list)
    transforms: Transforms = msgspec.field(default_factory=list)
    rules: Rules = msgspec.field(default_factory=list)
    options: Options | None = None
    destination: Destination = Destination()


class Config(agora.Config):
    """What a deployment does with each job that does not say otherwise."""

    transforms: Transforms = msgspec.field(default_factory=list)
    rules: Rules = msgspec.field(default_factory=list)
    options: Options = Options()


class ColumnSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the result. `semantic` is "percent" (values are fractions) or "currency", with its code."""

    name: str
    type: Kind
    nullable: bool
    source_name: str
    semantic: Literal["percent", "currency"] | None = None
    currency: str | None = None
    time_zone: str | None = None


class FoundDialect(msgspec.Struct, frozen=True, kw_only=True):
    """How the first file is written. `header_row` is its line, from 1; None where there is no header."""

    encoding: str
    delimiter: str | None
    quote: str | None
    header_row: int | None
    format: str
    sheet: str | None = None
    preamble_rows: int = 0


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A row that broke a rule: its line in the file, and the value as text."""

    row: int
    value: str | None


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows broke a rule."""

    field: str
    check: CheckName
    count: int
    examples: list[Example]


class Output(agora.Output):
    """The cleaned table and the account of every row: rows_in = rows_out + rejected.

    `bytes` is the size of the files that were read. `artifact_uri` is the Parquet file.
    """

    rows_in: int
    rows_out: int
    rejected: int
    bytes: int
    quality_score: float
    violations: list[Violation]
    artifact_uri: agora.FileRef
    csv_uri: agora.FileRef
    rejected_uri: agora.FileRef
    report_uri: agora.FileRef
    dialect: FoundDialect
    schema: list[ColumnSchema]
    rejected_by_reason: dict[str, int]
    summary: str


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A source: its reference, how it is written, its size in bytes."""

    ref: str
    found: Found
    size: int


@dataclass(kw_only=True)
class State:
    """What travels between the steps: references and findings, never the table."""

    input: Input
    output: Output | None = None
    opened: list[Opened] = field(default_factory=list)
    facts: str = ""
    draft: Output | None = None


def job_of(run_input: Input, config: Config) -> Job:
    """What the run asks for; what it leaves out, the deployment says."""
    return Job(
        transforms=run_input.transforms or config.transforms,
        rules=run_input.rules or config.rules,
        options=run_input.options or config.options,
    )
