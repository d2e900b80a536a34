"""HTTP of usage: what was metered, filtered and grouped."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, get_args

from agora_contracts.envelope import utc_now
from agora_contracts.metering import GroupBy, QueryUsage, UsageReport, UsageRow
from agora_contracts.problems import AgoraError, FieldError
from agora_kit.broker import Broker
from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import TENANT_SECURITY, answers

_DEFAULT_SPAN = timedelta(days=30)
_GROUPS: tuple[str, ...] = get_args(GroupBy)

From = Annotated[
    datetime | None,
    QueryParameter(name="from", description="Start, RFC 3339 UTC, cut to the hour; 30 days before `to`."),
]
To = Annotated[datetime | None, QueryParameter(name="to", description="End, not included; now without it.")]
Meter = Annotated[str | None, QueryParameter(name="meter", description="Only this meter.")]
Package = Annotated[str | None, QueryParameter(name="package", description="Only this package.")]
Deployment = Annotated[str | None, QueryParameter(name="deployment", description="Only this deployment.")]
Groups = Annotated[
    str,
    QueryParameter(
        name="group_by", description=f"Comma-separated: {', '.join(_GROUPS)}.", pattern="^[a-z,]{1,100}$"
    ),
]
Rows = Annotated[int, QueryParameter(name="limit", ge=1, le=10_000, description="The most rows.")]

_A_REPORT = UsageReport(
    items=[
        UsageRow(
            meter="tasks",
            quantity=Decimal(12),
            events=12,
            time=datetime(2026, 1, 5, 9, 0, tzinfo=UTC),
        )
    ]
)


@get(
    "/",
    guards=[requires("account")],
    summary="Query usage",
    operation_id="queryUsage",
    responses=answers(_A_REPORT, "invalid_input"),
)
async def query_usage(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    start: From = None,
    end: To = None,
    meter: Meter = None,
    package: Package = None,
    deployment: Deployment = None,
    group_by: Groups = "meter",
    limit: Rows = 1000,
) -> UsageReport:
    """Sums of metered quantities over a span of time, filtered and grouped."""
    until = _utc("to", end) or utc_now()
    since = _utc("from", start) or _before(until)
    if since >= until:
        raise _invalid("to", "must be later than from")
    query = QueryUsage(
        tenant=tenant.id,
        start=since,
        end=until,
        meter=meter,
        package=package,
        deployment=deployment,
        group_by=_groups(group_by),
        limit=limit,
    )
    found: UsageReport = await broker.ask(query)
    return found


def _utc(name: str, given: datetime | None) -> datetime | None:
    if given is None:
        return None
    if given.tzinfo is None:
        raise _invalid(name, "must have a time zone, such as 2026-01-05T09:00:00Z")
    try:
        return given.astimezone(UTC)
    except OverflowError as error:
        raise _invalid(name, "must lie in the years 1 to 9999 in UTC") from error


def _before(until: datetime) -> datetime:
    try:
        return until - _DEFAULT_SPAN
    except OverflowError as error:
        raise _invalid("to", "must not lie in the first days of the year 1 without a from") from error


def _groups(text: str) -> list[GroupBy]:
    found: list[GroupBy] = []
    for name in text.split(","):
        if name not in _GROUPS:
            raise _invalid("group_by", f"{name!r} is none of {', '.join(_GROUPS)}")
        found.append(name)  # type: ignore[arg-type]  # checked in the line above
    return found


def _invalid(field: str, detail: str) -> AgoraError:
    errors = [FieldError(field=field, detail=detail)]
    return AgoraError("invalid_input", f"the parameter {field} {detail}", errors=errors)


router = Router("/usage", route_handlers=[query_usage], tags=["Usage"], security=TENANT_SECURITY)
