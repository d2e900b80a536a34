"""What an export holds, and which export is which: pure rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agora_contracts.exports import (
    ExportFormat,
    ExportKind,
    ExportState,
    RequestUsageExport,
    UsageExport,
)
from agora_contracts.ids import derived, is_id
from agora_contracts.problems import AgoraError, FieldError

type ColumnKind = Literal["text", "number", "count", "time"]

COLUMNS: dict[ExportKind, Sequence[tuple[str, ColumnKind]]] = {
    "events": (
        ("at", "time"),
        ("source", "text"),
        ("id", "text"),
        ("meter", "text"),
        ("quantity", "number"),
        ("run", "text"),
        ("deployment", "text"),
        ("package", "text"),
        ("dimensions", "text"),
    ),
    "hourly": (
        ("start", "time"),
        ("meter", "text"),
        ("package", "text"),
        ("deployment", "text"),
        ("dimensions", "text"),
        ("quantity", "number"),
        ("events", "count"),
    ),
    "daily": (
        ("start", "time"),
        ("meter", "text"),
        ("package", "text"),
        ("deployment", "text"),
        ("dimensions", "text"),
        ("quantity", "number"),
        ("events", "count"),
    ),
}
"""The columns of each kind of export, in order. `dimensions` is JSON."""

MEDIA_TYPES: dict[ExportFormat, str] = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An export job as it stands. Times are UTC; [start, end)."""

    tenant: str
    id: str
    what: ExportKind
    format: ExportFormat
    start: datetime
    end: datetime
    meter: str | None
    package: str | None
    deployment: str | None
    state: ExportState
    attempts: int
    rows_done: int
    rows_total: int | None
    file: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None

    def file_id(self, attempt: int) -> str:
        """The id of the file that an attempt writes: one that was thought dead overwrites nobody's."""
        return derived("file", self.tenant, self.id, str(attempt))

    @property
    def file_name(self) -> str:
        """What its file is called."""
        return f"usage-{self.what}-{self.start:%Y%m%dT%H%M}-{self.end:%Y%m%dT%H%M}.{self.format}"

    def asks_for(self, command: RequestUsageExport) -> bool:
        """Whether a command asks for this very export."""
        return (
            self.what, self.format, self.start, self.end, self.meter, self.package, self.deployment
        ) == (
            command.what, command.format, command.start, command.end, command.meter, command.package,
            command.deployment,
        )  # fmt: skip

    def shown(self) -> UsageExport:
        """The export as its tenant sees it."""
        return UsageExport(
            id=self.id,
            what=self.what,
            format=self.format,
            start=self.start,
            end=self.end,
            state=self.state,
            created_at=self.created_at,
            rows_done=self.rows_done,
            rows_total=self.rows_total,
            meter=self.meter,
            package=self.package,
            deployment=self.deployment,
            file=self.file,
            error=self.error,
            finished_at=self.finished_at,
            expires_at=self.expires_at,
        )


def check(command: RequestUsageExport) -> None:
    """Raise unless an export can be made of this.

    Raises:
        AgoraError: `invalid_input`, with the fields at fault.
    """
    faults = []
    if not is_id("exp", command.id):
        faults.append(FieldError(field="/id", detail="must be exp_ and 32 hexadecimal digits"))
    for field, moment in (("/start", command.start), ("/end", command.end)):
        if moment.tzinfo is None:
            faults.append(FieldError(field=field, detail="needs a time zone, such as 2026-01-31T00:00:00Z"))
        elif not 1970 <= moment.year <= 9998:
            faults.append(FieldError(field=field, detail="must lie in the years 1970 to 9998"))
    if not faults and command.start >= command.end:
        faults.append(FieldError(field="/end", detail="must be later than start"))
    if any("\0" in (text or "") for text in (command.meter, command.package, command.deployment)):
        faults.append(FieldError(field="/meter", detail="a filter holds the character U+0000; leave it out"))
    if faults:
        raise AgoraError("invalid_input", "the export cannot be made; see errors", errors=faults)
