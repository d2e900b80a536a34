"""HTTP of reported usage: CloudEvents in, what was refused of them, corrections."""

from typing import Annotated, Any

from agora_contracts.envelope import utc_now
from agora_contracts.usage_ingest import (
    CorrectUsage,
    IngestedEvent,
    IngestReport,
    IngestUsage,
    ListRefusedUsage,
    RefusalReason,
    ReplayAllRefusedUsage,
    ReplayedUsage,
    ReplayRefusedUsage,
    UsageCorrection,
)
from agora_kit.broker import Broker
from litestar import Request, Router, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge import bodies
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import (
    TENANT_SECURITY,
    Cursor,
    Limit,
    RefusedId,
    answers,
    body,
    existing,
)
from agora_gateway.usage import report_shapes as shapes
from agora_gateway.usage import reports
from agora_gateway.usage.report_shapes import (
    CorrectionBody,
    IngestReportShape,
    RefusedPageShape,
    ReplayAllBody,
    ReplayBody,
    ReplayOperation,
    ReportOperation,
    ingest_report,
    refused_page_shape,
)

Why = Annotated[
    RefusalReason | None, QueryParameter(name="reason", description="Only what was refused for this reason.")
]
Replayed = Annotated[
    bool, QueryParameter(name="replayed", description="Also what was replayed since; not by default.")
]
FAULTS = ("malformed_request", "payload_too_large", "unsupported_media_type")


@post(
    "/events",
    status_code=200,
    guards=[requires("usage")],
    request_max_body_size=reports.BODY_BYTES_MAX,
    summary="Report usage",
    operation_id="reportUsage",
    operation_class=ReportOperation,
    responses=answers(shapes.A_REPORT, *FAULTS),
)
async def report_usage(
    request: Request[Any, Any, Any], broker: NamedDependency[Broker], tenant: NamedDependency[Tenant]
) -> IngestReportShape:
    """Report usage as CloudEvents, one or up to 1,000. Each is counted once, or refused with what to change."""
    return await take_report(request, broker, tenant.id, f"key:{tenant.key}")


async def take_report(
    request: Request[Any, Any, Any], broker: Broker, tenant: str, sender: str
) -> IngestReportShape:
    """Count the events of a request for a tenant, under the name that the credential gives its sender.

    Raises:
        AgoraError: as `reports.read`; whatever counting in the middle fails with, and then the same request may be
            sent again whole, since what was counted before counts once.
    """
    events = reports.read(request.content_type[0], request.headers, await request.body())
    received_at = utc_now()
    items: list[IngestedEvent] = []
    for piece in reports.pieces(events):
        command = IngestUsage(tenant=tenant, sender=sender, received_at=received_at, events=piece)
        report: IngestReport = await broker.ask(command)
        items += report.items
    return ingest_report(items)


@get(
    "/refused",
    guards=[requires("usage")],
    summary="List refused usage",
    operation_id="listRefusedUsage",
    responses=answers(shapes.REFUSED_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_refused(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    reason: Why = None,
    replayed: Replayed = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> RefusedPageShape:
    """Events that do not count, newest first, each as it came and with what to change."""
    query = ListRefusedUsage(tenant=tenant.id, reason=reason, replayed=replayed, cursor=cursor, limit=limit)
    return refused_page_shape(await broker.ask(query))


@post(
    "/refused/{refused:str}/replay",
    status_code=200,
    guards=[requires("usage")],
    request_max_body_size=reports.BODY_BYTES_MAX,
    summary="Replay one refused event",
    operation_id="replayRefusedUsage",
    operation_class=ReplayOperation,
    responses=answers(shapes.A_REPLAYED_EVENT, "not_found", "invalid_input", *FAULTS),
)
async def replay_one(
    request: Request[Any, Any, Any],
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    refused: RefusedId,
) -> IngestedEvent:
    """Try a refused event again, as it came or corrected. It counts once, however often it is replayed."""
    return await replay(request, broker, existing("ref", refused), tenant.id)


async def replay(
    request: Request[Any, Any, Any], broker: Broker, refused: str, tenant: str | None
) -> IngestedEvent:
    """Replay one refused event, with the corrected event of the body if there is a body."""
    raw = await request.body()
    corrected = None
    if raw.strip():
        # Not into an object, which would read its numbers as binary floats.
        event = bodies.decode(raw, ReplayBody).event
        reports.check_size(event, "the corrected event")
        corrected = bytes(event).decode()
    answer: IngestedEvent = await broker.ask(
        ReplayRefusedUsage(id=refused, tenant=tenant, corrected=corrected)
    )
    return answer


@post(
    "/refused/replay",
    status_code=200,
    guards=[requires("usage")],
    summary="Replay refused events",
    operation_id="replayAllRefusedUsage",
    responses=answers(
        ReplayedUsage(accepted=3, duplicates=1), "malformed_request", "invalid_input", "invalid_cursor"
    ),
)
async def replay_all(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    data: Annotated[ReplayAllBody, body(shapes.A_REPLAY_ALL)],
) -> ReplayedUsage:
    """Try up to 1,000 refused events again, oldest first, after their cause was mended."""
    command = ReplayAllRefusedUsage(tenant=tenant.id, reason=data.reason, after=data.after)
    done: ReplayedUsage = await broker.ask(command)
    return done


@post(
    "/corrections",
    status_code=200,
    guards=[requires("usage")],
    summary="Correct reported usage",
    operation_id="correctUsage",
    responses=answers(shapes.A_CORRECTION, "not_found", "conflict", "malformed_request", "invalid_input"),
)
async def correct_usage(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    data: Annotated[CorrectionBody, body(shapes.A_CORRECTION_BODY)],
) -> UsageCorrection:
    """Void or amend an event that was reported with one of the tenant's keys. What was counted stays on record."""
    return await correct(broker, tenant.id, f"key:{tenant.key}", data, own_only=True)


async def correct(
    broker: Broker, tenant: str, source: str, data: CorrectionBody, *, own_only: bool
) -> UsageCorrection:
    """Book a correction for a tenant, under the name that the credential gives its sender."""
    command = CorrectUsage(
        tenant=tenant,
        source=source,
        id=data.id,
        corrects_source=data.event.source,
        corrects_id=data.event.id,
        kind=data.kind,
        quantity=data.quantity,
        reason=data.reason,
        own_only=own_only,
    )
    booked: UsageCorrection = await broker.ask(command)
    return booked


router = Router(
    "/usage",
    route_handlers=[report_usage, list_refused, replay_one, replay_all, correct_usage],
    tags=["Usage"],
    security=TENANT_SECURITY,
)
