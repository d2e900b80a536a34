"""HTTP of meters: what is counted of reported and recorded usage, and how."""

from typing import Annotated

from agora_contracts.meters import CreateMeter, DeleteMeter, GetMeter, ListMeters, Meter, MeterList
from agora_kit.broker import Broker
from litestar import Router, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import PathParameter

from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import TENANT_SECURITY, answers, body
from agora_gateway.usage.meter_shapes import A_METER, A_NEW_METER, NewMeterBody

MeterId = Annotated[
    str, PathParameter(description="The meter's key.", examples=[Example(value="active-users")])
]


@post(
    "/",
    guards=[requires("account")],
    summary="Define a meter",
    operation_id="createMeter",
    responses=answers(
        A_METER, "malformed_request", "invalid_input", "conflict", "quota_exceeded", status=201
    ),
)
async def create_meter(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    data: Annotated[NewMeterBody, body(A_NEW_METER)],
) -> Meter:
    """Define what is counted and how. What is stored already is counted into it; `progress_percent` says how far."""
    command: CreateMeter = data.command(tenant.id)
    meter: Meter = await broker.ask(command)
    return meter


@get(
    "/",
    guards=[requires("account")],
    summary="List meters",
    operation_id="listMeters",
    responses=answers(MeterList(items=[A_METER])),
)
async def list_meters(broker: NamedDependency[Broker], tenant: NamedDependency[Tenant]) -> MeterList:
    """The tenant's meters and the platform's, by key."""
    found: MeterList = await broker.ask(ListMeters(tenant=tenant.id))
    return found


@get(
    "/{meter_key:str}",
    guards=[requires("account")],
    summary="Show a meter",
    operation_id="getMeter",
    responses=answers(A_METER, "not_found"),
)
async def get_meter(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], meter_key: MeterId
) -> Meter:
    """A meter, and how far its back-fill is."""
    found: Meter = await broker.ask(GetMeter(tenant=tenant.id, key=meter_key))
    return found


@delete(
    "/{meter_key:str}",
    status_code=200,
    guards=[requires("account")],
    summary="Delete a meter",
    operation_id="deleteMeter",
    responses=answers(A_METER, "not_found"),
)
async def delete_meter(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], meter_key: MeterId
) -> Meter:
    """Take a definition away; usage under its key is summed as it was recorded. Stored events stay."""
    gone: Meter = await broker.ask(DeleteMeter(tenant=tenant.id, key=meter_key))
    return gone


router = Router(
    "/usage/meters",
    route_handlers=[create_meter, list_meters, get_meter, delete_meter],
    tags=["Usage"],
    security=TENANT_SECURITY,
)
