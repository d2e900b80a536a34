"""HTTP of exports: usage of a span of time as a file."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from agora_contracts.exports import (
    CancelUsageExport,
    ExportFormat,
    ExportKind,
    GetUsageExport,
    ListUsageExports,
    RequestUsageExport,
    UsageExport,
    UsageExportPage,
)
from agora_kit.broker import Broker
from litestar import Router, delete, get, post
from litestar.di import NamedDependency
from msgspec import Meta

from agora_gateway.edge.headers import requested_id
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import (
    TENANT_SECURITY,
    Cursor,
    ExportId,
    IdempotencyKey,
    Limit,
    answers,
    body,
    existing,
)

Name = Annotated[str, Meta(min_length=1, max_length=64)]


class ExportBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to export: single events, or totals of the hours or days (UTC) that begin in [start, end)."""

    start: Annotated[datetime, Meta(tz=True)]
    end: Annotated[datetime, Meta(tz=True)]
    what: ExportKind = "events"
    format: ExportFormat = "parquet"
    meter: Name | None = None
    package: Name | None = None
    deployment: Name | None = None


_START, _END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
_AT = datetime(2026, 2, 1, 9, 0, tzinfo=UTC)
_A_BODY = ExportBody(start=_START, end=_END, what="hourly", format="parquet", meter="storage_gb")
_QUEUED = UsageExport(
    id="exp_0190a5b07c3a7d4e8f00112233445566",
    what="hourly",
    format="parquet",
    start=_START,
    end=_END,
    state="queued",
    created_at=_AT,
    meter="storage_gb",
)
_DONE = msgspec.structs.replace(
    _QUEUED,
    state="succeeded",
    rows_done=744,
    rows_total=744,
    file="file_0190a5b07c3a7d4e8f00112233445566",
    finished_at=datetime(2026, 2, 1, 9, 0, 3, tzinfo=UTC),
    expires_at=datetime(2026, 2, 8, 9, 0, 3, tzinfo=UTC),
)
_CANCELLED = msgspec.structs.replace(_QUEUED, state="cancelled", finished_at=_AT)


@post(
    "/",
    status_code=202,
    guards=[requires("account")],
    summary="Export usage",
    operation_id="exportUsage",
    responses=answers(
        _QUEUED,
        "malformed_request",
        "invalid_input",
        "idempotency_conflict",
        "quota_exceeded",
        status=202,
    ),
)
async def export_usage(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    data: Annotated[ExportBody, body(_A_BODY)],
    idempotency_key: IdempotencyKey = None,
) -> UsageExport:
    """Write the tenant's usage into a file. Ask for the export until it has succeeded, then download the file."""
    command = RequestUsageExport(
        id=requested_id("exp", tenant.id, idempotency_key),
        tenant=tenant.id,
        what=data.what,
        format=data.format,
        start=data.start,
        end=data.end,
        meter=data.meter,
        package=data.package,
        deployment=data.deployment,
    )
    queued: UsageExport = await broker.ask(command)
    return queued


@get(
    "/",
    guards=[requires("account")],
    summary="List exports",
    operation_id="listUsageExports",
    responses=answers(UsageExportPage(items=[_DONE]), "invalid_input", "invalid_cursor"),
)
async def list_exports(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> UsageExportPage:
    """The tenant's exports, newest first."""
    page: UsageExportPage = await broker.ask(ListUsageExports(tenant=tenant.id, cursor=cursor, limit=limit))
    return page


@get(
    "/{export:str}",
    guards=[requires("account")],
    summary="Read an export",
    operation_id="getUsageExport",
    responses=answers(_DONE, "not_found"),
)
async def get_export(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], export: ExportId
) -> UsageExport:
    """How far an export is, and its file once it is there."""
    found: UsageExport = await broker.ask(GetUsageExport(id=existing("exp", export), tenant=tenant.id))
    return found


@delete(
    "/{export:str}",
    status_code=200,
    guards=[requires("account")],
    summary="Cancel an export",
    operation_id="cancelUsageExport",
    responses=answers(_CANCELLED, "not_found"),
)
async def cancel_export(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], export: ExportId
) -> UsageExport:
    """Stop an export that is not done; one that has ended stays as it ended, and its file is deleted as any other."""
    found: UsageExport = await broker.ask(CancelUsageExport(id=existing("exp", export), tenant=tenant.id))
    return found


router = Router(
    "/usage/exports",
    route_handlers=[export_usage, list_exports, get_export, cancel_export],
    tags=["Usage"],
    security=TENANT_SECURITY,
)
