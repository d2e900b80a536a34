"""HTTP of the operator: usage reported for tenants, what was refused of all, corrections of what runs recorded."""

from typing import Annotated, Any

from agora_contracts.usage_ingest import (
    IngestedEvent,
    ListRefusedUsage,
    RefusedUsagePage,
    ReplayAllRefusedUsage,
    ReplayedUsage,
    UsageCorrection,
)
from agora_kit.broker import Broker
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge.routing import Cursor, Limit, RefusedId, TenantId, answers, body, existing
from agora_gateway.identity.service import Identity
from agora_gateway.usage import report_shapes as shapes
from agora_gateway.usage import reports
from agora_gateway.usage.report_routes import FAULTS, Replayed, Why, correct, replay, take_report
from agora_gateway.usage.report_shapes import (
    CorrectionBody,
    IngestReportShape,
    ReplayAllBody,
    ReplayOperation,
    ReportOperation,
)

_SENDER = "operator"

OfTenant = Annotated[str | None, QueryParameter(description="Only this tenant's.")]


@post(
    "/tenants/{tenant_id:str}/usage/events",
    status_code=200,
    request_max_body_size=reports.BODY_BYTES_MAX,
    summary="Report usage of a tenant",
    operation_id="reportTenantUsage",
    operation_class=ReportOperation,
    responses=answers(shapes.A_REPORT, "not_found", *FAULTS),
)
async def report_usage(
    request: Request[Any, Any, Any],
    broker: NamedDependency[Broker],
    identity: NamedDependency[Identity],
    tenant_id: TenantId,
) -> IngestReportShape:
    """Report usage as CloudEvents for a tenant, which then cannot correct it itself."""
    tenant = await identity.get_tenant(existing("ten", tenant_id))
    return await take_report(request, broker, tenant.id, _SENDER)


@post(
    "/tenants/{tenant_id:str}/usage/corrections",
    status_code=200,
    summary="Correct usage of a tenant",
    operation_id="correctTenantUsage",
    responses=answers(shapes.A_CORRECTION, "not_found", "conflict", "malformed_request", "invalid_input"),
)
async def correct_usage(
    broker: NamedDependency[Broker],
    identity: NamedDependency[Identity],
    tenant_id: TenantId,
    data: Annotated[CorrectionBody, body(shapes.A_CORRECTION_BODY)],
) -> UsageCorrection:
    """Void or amend any counted event, also what a run recorded; the difference is charged or given back."""
    tenant = await identity.get_tenant(existing("ten", tenant_id))
    return await correct(broker, tenant.id, _SENDER, data, own_only=False)


@get(
    "/usage/refused",
    summary="List refused usage of all tenants",
    operation_id="listAllRefusedUsage",
    responses=answers(shapes.ALL_REFUSED, "invalid_input", "invalid_cursor"),
)
async def list_refused(
    broker: NamedDependency[Broker],
    tenant_id: OfTenant = None,
    reason: Why = None,
    replayed: Replayed = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> RefusedUsagePage:
    """Reported events that do not count, newest first."""
    query = ListRefusedUsage(tenant=tenant_id, reason=reason, replayed=replayed, cursor=cursor, limit=limit)
    page: RefusedUsagePage = await broker.ask(query)
    return page


@post(
    "/usage/refused/{refused:str}/replay",
    status_code=200,
    request_max_body_size=reports.BODY_BYTES_MAX,
    summary="Replay one refused event of any tenant",
    operation_id="replayTenantUsage",
    operation_class=ReplayOperation,
    responses=answers(shapes.A_REPLAYED_EVENT, "not_found", "invalid_input", *FAULTS),
)
async def replay_one(
    request: Request[Any, Any, Any], broker: NamedDependency[Broker], refused: RefusedId
) -> IngestedEvent:
    """Try a refused event again, as it came or corrected."""
    return await replay(request, broker, existing("ref", refused), None)


@post(
    "/usage/refused/replay",
    status_code=200,
    summary="Replay refused events of all tenants",
    operation_id="replayAllTenantsUsage",
    responses=answers(
        ReplayedUsage(accepted=3, duplicates=1), "malformed_request", "invalid_input", "invalid_cursor"
    ),
)
async def replay_all(
    broker: NamedDependency[Broker], data: Annotated[ReplayAllBody, body(shapes.A_REPLAY_ALL)]
) -> ReplayedUsage:
    """Try up to 1,000 refused events again, oldest first."""
    done: ReplayedUsage = await broker.ask(ReplayAllRefusedUsage(reason=data.reason, after=data.after))
    return done


handlers = (report_usage, correct_usage, list_refused, replay_one, replay_all)
