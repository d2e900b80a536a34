"""HTTP of schedules: make, read, change, pause, resume, trigger, delete, and what came of their times."""

from typing import Annotated

from agora_contracts.ids import derived
from agora_contracts.schedules import (
    CreateSchedule,
    DeleteSchedule,
    GetSchedule,
    ListFires,
    ListSchedules,
    PauseSchedule,
    ResumeSchedule,
    ScheduleState,
    TriggerSchedule,
)
from agora_kit.broker import Broker
from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge.headers import fingerprint, requested_id
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import (
    TENANT_SECURITY,
    Cursor,
    IdempotencyKey,
    Limit,
    ScheduleId,
    answers,
    body,
    existing,
)
from agora_gateway.edge.shapes import read_max_cost
from agora_gateway.schedules import shapes
from agora_gateway.schedules.shapes import (
    FirePageShape,
    FireShape,
    PauseBody,
    ScheduleBody,
    ScheduleChangeBody,
    SchedulePageShape,
    ScheduleShape,
    TriggerBody,
    fire_shape,
    schedule_shape,
)

State = Annotated[
    ScheduleState | None, QueryParameter(name="state", description="Only schedules in this state.")
]

_REFUSED = ("not_found", "not_executable", "malformed_request", "invalid_input", "schedule_never_fires")


@post(
    "/",
    guards=[requires("execute")],
    summary="Make a schedule",
    operation_id="createSchedule",
    responses=answers(
        shapes.A_SCHEDULE,
        *_REFUSED,
        "idempotency_conflict",
        "payload_too_large",
        "quota_exceeded",
        status=201,
    ),
)
async def create_schedule(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    data: Annotated[ScheduleBody, body(shapes.A_BODY)],
    idempotency_key: IdempotencyKey = None,
) -> ScheduleShape:
    """Start runs at the times of a cron expression, or once. Each is quoted and covered when its time comes."""
    command = CreateSchedule(
        schedule=requested_id("sch", tenant.id, idempotency_key),
        tenant=tenant.id,
        account=tenant.account,
        fingerprint=fingerprint("schedule", "", data),
        input=data.input,
        package=data.package,
        version=data.version,
        deployment=data.deployment,
        cron=data.cron,
        at=data.at,
        time_zone=data.time_zone,
        overlap=data.overlap,
        failures_max=data.failures_max,
        max_cost=read_max_cost(data.max_cost),
        name=data.name,
        requested_by=tenant.key,
        key_expires_at=tenant.key_expires_at,
    )
    return schedule_shape(await broker.ask(command))


@get(
    "/",
    guards=[requires("read")],
    summary="List schedules",
    operation_id="listSchedules",
    responses=answers(shapes.A_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_schedules(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    in_state: State = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> SchedulePageShape:
    """The tenant's schedules, newest first."""
    page = await broker.ask(ListSchedules(tenant=tenant.id, state=in_state, cursor=cursor, limit=limit))
    return SchedulePageShape(items=[schedule_shape(one) for one in page.items], next_cursor=page.next_cursor)


@get(
    "/{schedule:str}",
    guards=[requires("read")],
    summary="Read a schedule",
    operation_id="getSchedule",
    responses=answers(shapes.A_SCHEDULE, "not_found"),
)
async def get_schedule(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], schedule: ScheduleId
) -> ScheduleShape:
    """One schedule with its next times."""
    query = GetSchedule(schedule=existing("sch", schedule), tenant=tenant.id)
    return schedule_shape(await broker.ask(query))


@patch(
    "/{schedule:str}",
    guards=[requires("execute")],
    summary="Change a schedule",
    operation_id="changeSchedule",
    responses=answers(shapes.A_SCHEDULE, *_REFUSED, "conflict", "payload_too_large"),
)
async def change_schedule(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    schedule: ScheduleId,
    data: Annotated[ScheduleChangeBody, body(shapes.A_CHANGE_BODY)],
) -> ScheduleShape:
    """Change a schedule from now on; runs that go on are left alone."""
    command = shapes.change(existing("sch", schedule), tenant.id, data)
    return schedule_shape(await broker.ask(command))


@delete(
    "/{schedule:str}",
    status_code=200,
    guards=[requires("execute")],
    summary="Delete a schedule",
    operation_id="deleteSchedule",
    responses=answers(shapes.A_SCHEDULE, "not_found"),
)
async def delete_schedule(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], schedule: ScheduleId
) -> ScheduleShape:
    """Delete a schedule and what came of its times; the runs that it has started stay, and go on."""
    command = DeleteSchedule(schedule=existing("sch", schedule), tenant=tenant.id)
    return schedule_shape(await broker.ask(command))


@post(
    "/{schedule:str}/pause",
    status_code=200,
    guards=[requires("execute")],
    summary="Pause a schedule",
    operation_id="pauseSchedule",
    responses=answers(shapes.A_SCHEDULE, "not_found", "conflict", "malformed_request", "invalid_input"),
)
async def pause_schedule(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    schedule: ScheduleId,
    data: Annotated[PauseBody | None, body(shapes.A_PAUSE_BODY)] = None,
) -> ScheduleShape:
    """Let it start nothing until it is resumed. Doing it again changes nothing. No body is needed."""
    reason = "" if data is None else data.reason
    command = PauseSchedule(schedule=existing("sch", schedule), tenant=tenant.id, reason=reason)
    return schedule_shape(await broker.ask(command))


@post(
    "/{schedule:str}/resume",
    status_code=200,
    guards=[requires("execute")],
    summary="Resume a schedule",
    operation_id="resumeSchedule",
    responses=answers(shapes.A_SCHEDULE, *_REFUSED, "conflict"),
)
async def resume_schedule(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], schedule: ScheduleId
) -> ScheduleShape:
    """Let it go on from its next time, with its failures counted anew. What it missed is not made up for.

    Its runs are asked for by your key from now on.
    """
    command = ResumeSchedule(
        schedule=existing("sch", schedule),
        tenant=tenant.id,
        requested_by=tenant.key,
        key_expires_at=tenant.key_expires_at,
    )
    return schedule_shape(await broker.ask(command))


@post(
    "/{schedule:str}/trigger",
    status_code=200,
    guards=[requires("execute")],
    summary="Start a run of a schedule now",
    operation_id="triggerSchedule",
    responses=answers(
        shapes.A_FIRE, "not_found", "idempotency_conflict", "malformed_request", "invalid_input"
    ),
)
async def trigger_schedule(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    schedule: ScheduleId,
    data: Annotated[TriggerBody | None, body(shapes.A_TRIGGER_BODY)] = None,
    idempotency_key: IdempotencyKey = None,
) -> FireShape:
    """Start a run now, whatever its times, its state and its overlap; without credit the fire says so.

    It is asked for by your key, and counts to its budgets.
    """
    known = existing("sch", schedule)
    # The key counts within its schedule, and never meets the id of one of its times.
    asked = derived("fire", "trigger", requested_id("fire", known, idempotency_key))
    command = TriggerSchedule(schedule=known, tenant=tenant.id, trigger=asked, requested_by=tenant.key)
    return fire_shape(await broker.ask(command))


@get(
    "/{schedule:str}/fires",
    guards=[requires("read")],
    summary="List what came of a schedule's times",
    operation_id="listFires",
    responses=answers(shapes.A_FIRE_PAGE, "not_found", "invalid_input", "invalid_cursor"),
)
async def list_fires(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    schedule: ScheduleId,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> FirePageShape:
    """Each time that has come, newest first: the run that was started, or why none was."""
    query = ListFires(schedule=existing("sch", schedule), tenant=tenant.id, cursor=cursor, limit=limit)
    page = await broker.ask(query)
    return FirePageShape(items=[fire_shape(one) for one in page.items], next_cursor=page.next_cursor)


router = Router(
    "/schedules",
    route_handlers=[
        create_schedule,
        list_schedules,
        get_schedule,
        change_schedule,
        delete_schedule,
        pause_schedule,
        resume_schedule,
        trigger_schedule,
        list_fires,
    ],
    tags=["Schedules"],
    security=TENANT_SECURITY,
)
