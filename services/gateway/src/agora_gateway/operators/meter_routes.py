"""HTTP of the operator: meters of the platform, and totals checked against and made from stored events."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated

from agora_contracts.meters import (
    CheckTotals,
    DeleteMeter,
    ListMeters,
    Meter,
    MeterList,
    RebuildMeter,
    TotalDifference,
    TotalsCheck,
)
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.broker import Broker
from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge.routing import answers, body
from agora_gateway.usage.meter_routes import MeterId
from agora_gateway.usage.meter_shapes import A_METER, A_NEW_METER, NewMeterBody

Day = Annotated[date, QueryParameter(name="day", description="The day, in UTC.")]
OfTenant = Annotated[
    str | None, QueryParameter(name="tenant_id", description="Only this tenant's; all without it.")
]
WhoseMeter = Annotated[
    str, QueryParameter(name="tenant_id", description="Whose meter it is; the platform's without it.")
]
Differences = Annotated[
    int, QueryParameter(name="limit", ge=1, le=1000, description="The most differences that are listed.")
]

_A_CHECK = TotalsCheck(
    day=date(2026, 1, 5),
    checked=48,
    differences=[
        TotalDifference(
            tenant="ten_0190a5b07c3a7d4e8f00112233445566",
            meter="tasks",
            package="echo",
            deployment=None,
            start=datetime(2026, 1, 5, 9, 0, tzinfo=UTC),
            grain="hour",
            kept=Decimal(11),
            kept_events=11,
            recomputed=Decimal(12),
            recomputed_events=12,
        )
    ],
)


@post(
    "/meters",
    summary="Define a meter of all tenants",
    operation_id="createPlatformMeter",
    responses=answers(
        A_METER, "malformed_request", "invalid_input", "conflict", "quota_exceeded", status=201
    ),
)
async def create_meter(
    broker: NamedDependency[Broker], data: Annotated[NewMeterBody, body(A_NEW_METER)]
) -> Meter:
    """Define a meter that counts for every tenant, also what is stored already."""
    meter: Meter = await broker.ask(data.command(PLATFORM_TENANT))
    return meter


@get(
    "/meters",
    summary="List the meters of all tenants",
    operation_id="listPlatformMeters",
    responses=answers(MeterList(items=[A_METER])),
)
async def list_meters(broker: NamedDependency[Broker]) -> MeterList:
    """The platform's meters, by key."""
    found: MeterList = await broker.ask(ListMeters(tenant=PLATFORM_TENANT))
    return found


@delete(
    "/meters/{meter_key:str}",
    status_code=200,
    summary="Delete a meter of all tenants",
    operation_id="deletePlatformMeter",
    responses=answers(A_METER, "not_found"),
)
async def delete_meter(broker: NamedDependency[Broker], meter_key: MeterId) -> Meter:
    """Take a definition of the platform's away; usage under its key is summed as it was recorded."""
    gone: Meter = await broker.ask(DeleteMeter(tenant=PLATFORM_TENANT, key=meter_key))
    return gone


@post(
    "/meters/{meter_key:str}/rebuild",
    status_code=200,
    summary="Make a meter's totals anew",
    operation_id="rebuildMeter",
    responses=answers(A_METER, "conflict"),
)
async def rebuild_meter(
    broker: NamedDependency[Broker], meter_key: MeterId, tenant_id: WhoseMeter = PLATFORM_TENANT
) -> Meter:
    """Make the totals under a key anew from the stored events, while usage comes in. It mends what a check found."""
    building: Meter = await broker.ask(RebuildMeter(tenant=tenant_id, key=meter_key))
    return building


@get(
    "/usage/check",
    summary="Check a day's totals",
    operation_id="checkTotals",
    responses=answers(_A_CHECK, "malformed_request", "invalid_input"),
)
async def check_totals(
    broker: NamedDependency[Broker], day: Day, tenant_id: OfTenant = None, limit: Differences = 100
) -> TotalsCheck:
    """Recompute every total of a day from the stored events, and list each one that differs."""
    found: TotalsCheck = await broker.ask(CheckTotals(day=day, tenant=tenant_id, limit=limit))
    return found


handlers = (create_meter, list_meters, delete_meter, rebuild_meter, check_totals)
