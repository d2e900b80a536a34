"""HTTP of runs: read, list, follow, cancel."""

import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from agora_contracts.billing import GetReceipt
from agora_contracts.runs import CancelRun, GetRun, ListRuns, ListSteps, RunStatus, StepList
from agora_kit.broker import Broker
from litestar import Request, Router, get, post
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from agora_gateway.edge.gate import credential
from agora_gateway.edge.headers import wait_seconds
from agora_gateway.edge.per_tenant import Place
from agora_gateway.edge.principals import Tenant, check_scope, requires
from agora_gateway.edge.routing import (
    TENANT_SECURITY,
    Cursor,
    Limit,
    Prefer,
    RunId,
    answers,
    content,
    existing,
)
from agora_gateway.identity.key_cache import KeyCache
from agora_gateway.runs import shapes, steering_routes
from agora_gateway.runs.feeds import RunFeeds
from agora_gateway.runs.service import wait_for
from agora_gateway.runs.shapes import ReceiptShape, RunPageShape, RunShape, receipt_shape, run_shape
from agora_gateway.runs.socket_routes import follow_run_socket
from agora_gateway.runs.stream import RunStream, StreamEvent, to_sse

Status = Annotated[RunStatus | None, QueryParameter(name="status", description="Only runs in this state.")]
Package = Annotated[str | None, QueryParameter(name="package", description="Only runs of this package.")]
Deployment = Annotated[
    str | None, QueryParameter(name="deployment", description="Only runs of this deployment.")
]

SEQ_MAX = 2**31 - 1
"""No journal counts further."""

RESPONSE_BYTES_MAX = 2 * 1024 * 1024
"""After so many bytes a stream of events ends, and its reader comes back with `Last-Event-ID`."""

After = Annotated[
    int | None,
    QueryParameter(name="after", ge=0, le=SEQ_MAX, description="Where to resume, as Last-Event-ID."),
]
LastEventId = Annotated[
    int | None,
    HeaderParameter(
        name="Last-Event-ID", ge=0, le=SEQ_MAX, description="The id of the last event that arrived."
    ),
]


@get(
    "/",
    guards=[requires("read")],
    summary="List runs",
    operation_id="listRuns",
    responses=answers(shapes.A_RUN_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_runs(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    status: Status = None,
    package: Package = None,
    deployment: Deployment = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> RunPageShape:
    """The tenant's runs, newest first."""
    query = ListRuns(
        tenant=tenant.id, status=status, package=package, deployment=deployment, cursor=cursor, limit=limit
    )
    page = await broker.ask(query)
    return RunPageShape(items=[run_shape(run) for run in page.items], next_cursor=page.next_cursor)


@get(
    "/{run:str}",
    guards=[requires("read")],
    summary="Read a run",
    operation_id="getRun",
    responses=answers(shapes.A_RUN, "not_found"),
)
async def get_run(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    run: RunId,
    prefer: Prefer = None,
) -> RunShape:
    """A run's state, output, usage and cost. `Prefer: wait=N` waits for its end."""
    found = await broker.ask(GetRun(run=existing("run", run), tenant=tenant.id), deadline_seconds=5)
    return run_shape(await wait_for(broker, found, wait_seconds(prefer)))


@post(
    "/{run:str}/cancel",
    status_code=200,
    guards=[requires("execute")],
    summary="Cancel a run",
    operation_id="cancelRun",
    responses=answers(shapes.A_RUN, "not_found", "run_ended"),
)
async def cancel_run(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], run: RunId
) -> RunShape:
    """Ask a run to stop. What it has used so far of models and storage is charged, at most the quote."""
    command = CancelRun(run=existing("run", run), tenant=tenant.id, requested_by=tenant.key)
    return run_shape(await broker.ask(command))


@get(
    "/{run:str}/steps",
    guards=[requires("read")],
    summary="List a run's steps",
    operation_id="listSteps",
    responses=answers(shapes.STEPS, "not_found", "invalid_input", "invalid_cursor"),
)
async def list_steps(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    run: RunId,
    cursor: Cursor = None,
    limit: Limit = 200,
) -> StepList:
    """The steps a run has taken so far, in order, each with its usage."""
    query = ListSteps(run=existing("run", run), tenant=tenant.id, cursor=cursor, limit=limit)
    found: StepList = await broker.ask(query)
    return found


@get(
    "/{run:str}/receipt",
    guards=[requires("account")],
    summary="Read a run's receipt",
    operation_id="getReceipt",
    responses=answers(shapes.A_RECEIPT, "not_found"),
)
async def get_receipt(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], run: RunId
) -> ReceiptShape:
    """What was quoted, held, charged and released for a run, line by line."""
    return receipt_shape(await broker.ask(GetReceipt(run=existing("run", run), tenant=tenant.id)))


@get(
    "/{run:str}/events",
    guards=[requires("read")],
    summary="Follow a run",
    operation_id="followRun",
    responses=content(
        str,
        "text/event-stream",
        "The run's events.",
        shapes.EVENTS,
        "not_found",
        "invalid_input",
        "too_many_requests",
    ),
)
async def follow_run(
    request: Request[Any, Any, Any],
    broker: NamedDependency[Broker],
    feeds: NamedDependency[RunFeeds],
    keys: NamedDependency[KeyCache],
    tenant: NamedDependency[Tenant],
    run: RunId,
    after: After = None,
    last_event_id: LastEventId = None,
) -> Stream:
    """Server-sent events from the beginning, or from after `Last-Event-ID`, until the run is charged.

    Durable events have ids, which count from 1 without gaps: `run.accepted`, `run.started`, `step.recorded`,
    `run.waiting`, `approval.requested`, `run.finished`, `run.charged` and others. Live ones have none:
    `content_delta` and `content_snapshot` (text as it is written), `tool_use_start`, `tool_use_complete`,
    `progress`, and `lagged` where the reader was too slow. A `problem` ends the stream early, such as when the key
    is revoked. A very long stream ends now and then; come back with `Last-Event-ID`. At most 200 are open at once.
    """
    seen = next((number for number in (last_event_id, after) if number is not None), 0)
    token = credential(request.scope["headers"]) or ""

    async def permit() -> None:
        check_scope(await keys.authenticate(token), "read")

    stream = RunStream(broker, feeds, tenant=tenant.id, run=existing("run", run), after=seen, permit=permit)
    place = feeds.streams.take(tenant.id)
    try:
        first = await stream.begin()
    except BaseException:
        place.release()
        raise
    body = _as_sse(stream.events(first), place)
    # A reader who is gone before the first byte leaves a body behind that was never begun.
    weakref.finalize(body, place.release)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return Stream(body, media_type="text/event-stream", headers=headers)


async def _as_sse(events: AsyncGenerator[StreamEvent], place: Place) -> AsyncIterator[bytes]:
    """The events in bytes, until the reader has been sent as much as may wait for it.

    The server takes what we send whether the reader does or not: what one connection may be sent bounds what a
    reader who takes nothing can cost.
    """
    sent = 0
    with place:
        async with aclosing(events):
            async for event in events:
                encoded = to_sse(event)
                sent += len(encoded)
                yield encoded
                if sent >= RESPONSE_BYTES_MAX:
                    return


router = Router(
    "/runs",
    route_handlers=[
        list_runs,
        get_run,
        cancel_run,
        list_steps,
        get_receipt,
        follow_run,
        follow_run_socket,
        *steering_routes.handlers,
    ],
    tags=["Runs"],
    security=TENANT_SECURITY,
)
