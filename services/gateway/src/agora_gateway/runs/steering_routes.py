"""HTTP that steers runs: pause, resume, try again, fork, and the runs that a run called."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from agora_contracts.money import PublicMoney, to_public
from agora_contracts.runs import RunStatus, WaitingFor
from agora_contracts.steering import ChildPage, ListChildren, PauseRun, RerunRun, ResumeRun
from agora_kit.broker import Broker
from litestar import Response, get, post
from litestar.di import NamedDependency
from msgspec import Meta

from agora_gateway.edge.headers import fingerprint, requested_id, wait_seconds
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import (
    Cursor,
    IdempotencyKey,
    Limit,
    Prefer,
    RunId,
    answers,
    body,
    existing,
    header,
)
from agora_gateway.edge.shapes import MoneyBody, read_max_cost
from agora_gateway.runs import shapes
from agora_gateway.runs.service import wait_for
from agora_gateway.runs.shapes import RunShape, run_shape, started


class ChildShape(msgspec.Struct, frozen=True, kw_only=True):
    """A run that another one called; everything about it is to be had under its own id."""

    id: str
    parent: str
    step: str
    title: str
    package: str
    status: RunStatus
    waiting_for: WaitingFor | None
    accepted_at: datetime
    finished_at: datetime | None
    quoted: PublicMoney
    steps: int
    cost: PublicMoney | None


class ChildPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the runs that a run called, oldest first."""

    items: list[ChildShape]
    next_cursor: str | None


class ForkBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to leave the other run: before the step with this id (see its steps), which is taken anew.

    `max_cost` is the new run's own hard budget.
    """

    before: Annotated[str, Meta(min_length=1, max_length=300)]
    max_cost: MoneyBody | None = None


A_FORK = ForkBody(before="run_0190a5b07c3a7d4e8f00112233445566/draft/2")

_RERUN_REFUSED = (
    "not_found",
    "conflict",
    "not_executable",
    "invalid_input",
    "insufficient_credit",
    "budget_exhausted",
    "account_closed",
    "idempotency_conflict",
)

CHILDREN = ChildPageShape(
    items=[
        ChildShape(
            id="run_0190a5b07c3a7d4e8f00112233445577",
            parent="run_0190a5b07c3a7d4e8f00112233445566",
            step="run_0190a5b07c3a7d4e8f00112233445566/research/1",
            title="Find the policy on refunds",
            package="knowledge-base",
            status="succeeded",
            waiting_for=None,
            accepted_at=datetime(2026, 1, 15, 9, 30, tzinfo=UTC),
            finished_at=datetime(2026, 1, 15, 9, 30, 2, tzinfo=UTC),
            quoted=PublicMoney(amount="0.100000"),
            steps=2,
            cost=PublicMoney(amount="0.100000"),
        )
    ],
    next_cursor=None,
)


@post(
    "/{run:str}/pause",
    status_code=200,
    guards=[requires("execute")],
    summary="Pause a run",
    operation_id="pauseRun",
    responses=answers(shapes.A_RUN, "not_found", "run_ended"),
)
async def pause_run(broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], run: RunId) -> RunShape:
    """Let a run, and those that it called, rest after the step at hand. Its time limit stands still meanwhile."""
    command = PauseRun(run=existing("run", run), tenant=tenant.id, requested_by=tenant.key)
    return run_shape(await broker.ask(command))


@post(
    "/{run:str}/resume",
    status_code=200,
    guards=[requires("execute")],
    summary="Resume a run",
    operation_id="resumeRun",
    responses=answers(shapes.A_RUN, "not_found", "run_ended"),
)
async def resume_run(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], run: RunId
) -> RunShape:
    """Let a paused run go on."""
    command = ResumeRun(run=existing("run", run), tenant=tenant.id, requested_by=tenant.key)
    return run_shape(await broker.ask(command))


@get(
    "/{run:str}/children",
    guards=[requires("read")],
    summary="List the runs that a run called",
    operation_id="listChildren",
    responses=answers(CHILDREN, "not_found", "invalid_cursor"),
)
async def list_children(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    run: RunId,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> ChildPageShape:
    """The runs that a run called, each with its state and cost."""
    query = ListChildren(run=existing("run", run), tenant=tenant.id, cursor=cursor, limit=limit)
    return _page_shape(await broker.ask(query))


@post(
    "/{run:str}/retry",
    status_code=202,
    guards=[requires("execute")],
    summary="Try a run again",
    operation_id="retryRun",
    response_headers=[header("Location", "Where the new run is followed.")],
    responses=answers(shapes.A_RUN, *_RERUN_REFUSED, status=(200, 202)),
)
async def retry_run(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    run: RunId,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response[RunShape]:
    """Start a new run that takes over what one that failed, timed out or was cancelled had done, and goes on there."""
    return await _rerun(broker, tenant, run, None, None, idempotency_key, prefer)


@post(
    "/{run:str}/fork",
    status_code=202,
    guards=[requires("execute")],
    summary="Fork a run",
    operation_id="forkRun",
    response_headers=[header("Location", "Where the new run is followed.")],
    responses=answers(shapes.A_RUN, *_RERUN_REFUSED, "malformed_request", status=(200, 202)),
)
async def fork_run(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    run: RunId,
    data: Annotated[ForkBody, body(A_FORK)],
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response[RunShape]:
    """Start a new run that takes over what another one had done before a step, and takes that step anew."""
    return await _rerun(broker, tenant, run, data.before, data, idempotency_key, prefer)


handlers = [pause_run, resume_run, list_children, retry_run, fork_run]


async def _rerun(
    broker: Broker,
    tenant: Tenant,
    origin: str,
    before: str | None,
    data: ForkBody | None,
    idempotency_key: str | None,
    prefer: str | None,
) -> Response[RunShape]:
    limit = data.max_cost if data is not None else None
    command = RerunRun(
        run_id=requested_id("run", tenant.id, idempotency_key),
        origin=existing("run", origin),
        tenant=tenant.id,
        account=tenant.account,
        fingerprint=fingerprint("rerun", origin, data),
        requested_by=tenant.key,
        before=before,
        max_cost=read_max_cost(limit),
    )
    run = await broker.ask(command)
    return started(await wait_for(broker, run, wait_seconds(prefer)))


def _page_shape(page: ChildPage) -> ChildPageShape:
    return ChildPageShape(
        items=[
            ChildShape(
                id=child.id,
                parent=child.parent,
                step=child.step,
                title=child.title,
                package=child.package,
                status=child.status,
                waiting_for=child.waiting_for,
                accepted_at=child.accepted_at,
                finished_at=child.finished_at,
                quoted=to_public(child.quoted),
                steps=child.steps,
                cost=None if child.cost is None else to_public(child.cost),
            )
            for child in page.items
        ],
        next_cursor=page.next_cursor,
    )
