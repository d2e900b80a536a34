"""Exports: a tenant's usage of a span of time as a file, made in the background."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

ExportKind = Literal["events", "hourly", "daily"]
ExportFormat = Literal["parquet", "csv"]
ExportState = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]


class RequestUsageExport(msgspec.Struct, frozen=True, kw_only=True):
    """Write a tenant's usage over [start, end) into a file. The same id again is the same export; another one conflicts."""

    id: str
    tenant: str
    what: ExportKind
    format: ExportFormat
    start: datetime
    end: datetime
    meter: Annotated[str, Meta(max_length=64)] | None = None
    package: Annotated[str, Meta(max_length=64)] | None = None
    deployment: Annotated[str, Meta(max_length=64)] | None = None


class UsageExport(msgspec.Struct, frozen=True, kw_only=True):
    """An export and how far it is. `file` is set once it succeeded; `rows_total` once it is known.

    `expires_at` is when the file is deleted.
    """

    id: str
    what: ExportKind
    format: ExportFormat
    start: datetime
    end: datetime
    state: ExportState
    created_at: datetime
    rows_done: int = 0
    rows_total: int | None = None
    meter: str | None = None
    package: str | None = None
    deployment: str | None = None
    file: str | None = None
    error: str | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None


class GetUsageExport(msgspec.Struct, frozen=True, kw_only=True):
    """Read one export."""

    id: str
    tenant: str


class ListUsageExports(msgspec.Struct, frozen=True, kw_only=True):
    """List a tenant's exports, newest first."""

    tenant: str
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class UsageExportPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of exports."""

    items: list[UsageExport]
    next_cursor: str | None = None


class CancelUsageExport(msgspec.Struct, frozen=True, kw_only=True):
    """Stop an export that is not done; one that has ended stays as it ended."""

    id: str
    tenant: str
