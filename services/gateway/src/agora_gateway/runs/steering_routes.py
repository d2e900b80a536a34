"""HTTP that steers runs under way: pause, resume, and the runs that a run called."""

from datetime import UTC, datetime

import msgspec
from agora_contracts.execution import RunStatus, WaitingFor
from agora_contracts.money import PublicMoney, to_public
from agora_contracts.steering import ChildPage, ListChildren, PauseRun, ResumeRun
from agora_kit.broker import Broker
from litestar import get, post
from litestar.di import NamedDependency

from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import Cursor, Limit, RunId, answers, existing
from agora_gateway.runs import shapes
from agora_gateway.runs.shapes import RunShape, run_shape


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


handlers = [pause_run, resume_run, list_children]


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
