"""HTTP of the operator: how the platform does, what it refused, and doing things again."""

import asyncio
from typing import Annotated

from agora_contracts.billing import ListOpenHolds
from agora_contracts.catalogue import PROCESSES, SERVICES
from agora_contracts.platform import (
    DeadLetterPage,
    GetHealth,
    Health,
    ListDeadLetters,
    ReplayDeadLetters,
    ReplayReport,
)
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.usage import Replayed, ReplayRunUsage
from agora_kit.broker import Broker
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge.routing import Cursor, Limit, RunId, answers, body, existing
from agora_gateway.operators import shapes
from agora_gateway.operators.shapes import OpenHoldsShape, PlatformHealth, ReplayBody, open_holds_shape

_HEALTH_SECONDS = 3.0
_REPLAY_SECONDS = 60.0

Service = Annotated[str, QueryParameter(name="service", description="The service that refused them.")]


@get(
    "/dead-letters",
    summary="List dead letters",
    operation_id="listDeadLetters",
    responses=answers(shapes.DEAD_LETTERS, "invalid_input", "invalid_cursor"),
)
async def list_dead_letters(
    broker: NamedDependency[Broker], service: Service, cursor: Cursor = None, limit: Limit = 50
) -> DeadLetterPage:
    """Messages that a service refused, newest first, each with the reason."""
    query = ListDeadLetters(cursor=cursor, limit=limit)
    found: DeadLetterPage = await broker.ask_shared(query, _service(service))
    return found


@post(
    "/dead-letters/replay",
    status_code=200,
    summary="Replay dead letters",
    operation_id="replayDeadLetters",
    responses=answers(shapes.A_REPORT, "not_found", "malformed_request", "invalid_input"),
)
async def replay_dead_letters(
    broker: NamedDependency[Broker], data: Annotated[ReplayBody, body(shapes.A_REPLAY)]
) -> ReplayReport:
    """Hand refused messages to their consumer again, after its fault was mended."""
    command = ReplayDeadLetters(ids=data.ids)
    report: ReplayReport = await broker.ask_shared(
        command, _service(data.service), deadline_seconds=_REPLAY_SECONDS
    )
    return report


@post(
    "/runs/{run:str}/replay-usage",
    status_code=200,
    summary="Publish a run's usage again",
    operation_id="replayUsage",
    responses=answers(shapes.REPLAYED, "not_found"),
)
async def replay_usage(broker: NamedDependency[Broker], run: RunId) -> Replayed:
    """Publish a run's usage events and its end again, for a run whose usage did not complete."""
    replayed: Replayed = await broker.ask(ReplayRunUsage(run=existing("run", run)))
    return replayed


@get(
    "/holds",
    summary="List open holds",
    operation_id="listHolds",
    responses=answers(shapes.OPEN_HOLDS, "invalid_input"),
)
async def list_holds(broker: NamedDependency[Broker], limit: Limit = 100) -> OpenHoldsShape:
    """Credit set aside now, oldest first."""
    return open_holds_shape(await broker.ask(ListOpenHolds(limit=limit)))


@get(
    "/health",
    summary="Check every process",
    operation_id="checkPlatform",
    responses=answers(shapes.PLATFORM_HEALTH),
)
async def check_platform(broker: NamedDependency[Broker]) -> PlatformHealth:
    """Ask every process of the platform how it does; one that does not answer is `degraded`."""
    found = await asyncio.gather(*(_health(broker, process) for process in PROCESSES))
    ready = all(health.status == "ready" for health in found)
    return PlatformHealth(status="ready" if ready else "degraded", processes=found)


async def _health(broker: NamedDependency[Broker], process: str) -> Health:
    try:
        health: Health = await broker.ask_shared(GetHealth(), process, deadline_seconds=_HEALTH_SECONDS)
    except AgoraError as error:
        return Health(service=process, status="degraded", checks={"process": error.problem.detail})
    return health


def _service(name: str) -> str:
    if name not in SERVICES:
        detail = f"must be one of {', '.join(SERVICES)}"
        raise AgoraError(
            "invalid_input",
            f"there is no service {name[:80]!r}",
            errors=[FieldError(field="service", detail=detail)],
        )
    return name


handlers = (list_dead_letters, replay_dead_letters, replay_usage, list_holds, check_platform)
