"""HTTP of usage: what was metered, filtered and grouped."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, get_args

from agora_contracts.envelope import utc_now
from agora_contracts.metering import GroupBy, QueryUsage, UsageReport, UsageRow
from agora_contracts.meters import DIMENSIONS_MAX
from agora_contracts.problems import AgoraError, FieldError
from agora_kit.broker import Broker
from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import TENANT_SECURITY, Cursor, answers

_DEFAULT_SPAN = timedelta(days=30)
_GROUPS: tuple[str, ...] = get_args(GroupBy)

From = Annotated[
    datetime | None,
    QueryParameter(name="from", description="Start, RFC 3339, cut to its minute; 30 days before `to`."),
]
To = Annotated[
    datetime | None,
    QueryParameter(name="to", description="End, not included, up to its minute; now without it."),
]
Meter = Annotated[str | None, QueryParameter(name="meter", description="Only this meter.")]
Package = Annotated[str | None, QueryParameter(name="package", description="Only this package.")]
Deployment = Annotated[str | None, QueryParameter(name="deployment", description="Only this deployment.")]
Groups = Annotated[
    str,
    QueryParameter(
        name="group_by", description=f"Comma-separated: {', '.join(_GROUPS)}.", pattern="^[a-z,]{1,100}$"
    ),
]
Zone = Annotated[
    str,
    QueryParameter(
        name="time_zone",
        min_length=1,
        max_length=64,
        description="Whose minutes, hours, days and months rows are: an IANA name such as Europe/Berlin.",
    ),
]
Dimensions = Annotated[
    str,
    QueryParameter(
        name="dimensions",
        max_length=600,
        description="Comma-separated dimensions to group by as well; the meters in question declare them.",
    ),
]
Where = Annotated[
    list[str] | None,
    QueryParameter(
        name="where", description="`dimension:value`: only usage with this value. May be given several times."
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
            dimensions={"region": "eu"},
        )
    ]
)


@get(
    "/",
    guards=[requires("account")],
    summary="Query usage",
    operation_id="queryUsage",
    responses=answers(_A_REPORT, "invalid_input", "malformed_request", "invalid_cursor"),
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
    time_zone: Zone = "UTC",
    dimensions: Dimensions = "",
    where: Where = None,
    cursor: Cursor = None,
    limit: Rows = 1000,
) -> UsageReport:
    """Totals of meters over a span of time, filtered and grouped; exact up to the last event that was counted."""
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
        time_zone=time_zone,
        dimensions=_dimensions(dimensions),
        where=_where(where or []),
        cursor=cursor,
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


def _dimensions(text: str) -> list[str]:
    names = text.split(",") if text else []
    if len(names) > DIMENSIONS_MAX or not all(names):
        raise _invalid("dimensions", f"must be at most {DIMENSIONS_MAX} names, separated by commas")
    return names


def _where(conditions: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for condition in conditions:
        name, colon, value = condition.partition(":")
        if not name or not colon or name in found:
            raise _invalid("where", "must be dimension:value, each dimension once")
        found[name] = value
    if len(found) > DIMENSIONS_MAX:
        raise _invalid("where", f"may name at most {DIMENSIONS_MAX} dimensions")
    return found


def _invalid(field: str, detail: str) -> AgoraError:
    errors = [FieldError(field=field, detail=detail)]
    return AgoraError("invalid_input", f"the parameter {field} {detail}", errors=errors)


router = Router("/usage", route_handlers=[query_usage], tags=["Usage"], security=TENANT_SECURITY)
