"""Tasks as calls of other agents, and what came of them."""

from collections.abc import Sequence
from typing import Any

import agora
from agora import Money
from agora.suspension import AgentCall, CallResult

from agora_swarm.fitting import pieces
from agora_swarm.goals import place_of
from agora_swarm.plans import Plan, Task
from agora_swarm.revising import Came
from agora_swarm.types import Audit, Input, Map, Questions

WORKER = "swarm-worker"

ASK_BYTES_MAX = 400_000
"""The calls that a step asks for at once, as JSON: the platform carries 600,000 bytes."""


async def work(
    plan: Plan, tasks: Sequence[Task], given: Input, context: agora.Context
) -> tuple[list[Came], list[CallResult]]:
    """Let agents do these tasks, as many at once as the input allows. The step is called again with the results."""
    calls = {task.id: call_of(task, plan, given) for task in tasks if not _idle(task, plan)}
    results = dict(zip(calls, await _called(list(calls.values()), given, context), strict=True))
    each = [results.get(task.id) or _nothing_to_do(_idle(task, plan)) for task in tasks]
    return [came_of(task, result) for task, result in zip(tasks, each, strict=True)], each


async def _called(calls: Sequence[AgentCall], given: Input, context: agora.Context) -> list[CallResult]:
    """What came of calls, asked for in pieces: what a step asks for at once has a bounded size."""
    results: list[CallResult] = []
    for piece in pieces(calls, ASK_BYTES_MAX):
        results += await context.call_all(piece, concurrency=given.concurrency)
    return results


def _idle(task: Task, plan: Plan) -> str:
    """Why there is nothing for a task to do; empty where there is."""
    waits_for = {"analyst": "researcher", "validator": "reviewer"}.get(task.role)
    return f"no {waits_for} has delivered" if waits_for and not plan.runs(waits_for) else ""


def _nothing_to_do(why: str) -> CallResult:
    return CallResult(run="", package=WORKER, outcome="refused", code="nothing_to_do", detail=why)


def call_of(task: Task, plan: Plan, given: Input) -> AgentCall:
    """One task as a call. Questions and inputs go to the agent that the goal names, the rest to workers."""
    goal = given.goal
    title = _title(task)
    max_cost = None if task.share is None else Money(amount=task.share, currency="USD")
    if task.role == "executor" and isinstance(goal, Questions | Map):
        place = place_of(task.items[0])
        if isinstance(goal, Map):
            call_input = goal.inputs[place]
        else:
            call_input = {**goal.input, goal.question_field: goal.questions[place]}
        return AgentCall(
            package=goal.package,
            deployment=goal.deployment,
            input=call_input,
            max_cost=max_cost,
            title=title,
        )
    worker_input: dict[str, Any] = {
        "role": task.role,
        "items": [_item(item, goal) for item in task.items],
        "deliver": "blackboard",
    }
    match task.role:
        case "analyst":
            worker_input["runs"] = plan.runs("researcher")
        case "reviewer":
            worker_input["lens"] = task.lens
            if plan.kind == "audit":
                worker_input["runs"] = plan.runs("engineer", task.items)
        case "executor":
            worker_input["runs"] = plan.runs("engineer", task.items)
        case "validator":
            worker_input |= {"runs": plan.runs("reviewer"), "agree": given.agree}
    return AgentCall(package=WORKER, input=worker_input, max_cost=max_cost, title=title)


def _item(item: str, goal: Audit | Questions | Map) -> dict[str, Any]:
    if not isinstance(goal, Audit):
        return {"id": item}
    source = goal.files[place_of(item)]
    shown = {"id": item, "file": source.file}
    return shown | {"name": source.path} if source.path else shown


def _title(task: Task) -> str:
    what = f" through the lens {task.lens}" if task.lens else ""
    many = (
        f" on {len(task.items)} items"
        if len(task.items) > 1
        else f" on {task.items[0]}"
        if task.items
        else ""
    )
    return f"{task.id}{many}{what}"


def came_of(task: Task, result: CallResult) -> Came:
    """What the plan needs to know of a call's result."""
    unread: dict[str, str] = {}
    for one in (result.output or {}).get("unread", []) if task.role in ("researcher", "engineer") else []:
        if isinstance(one, dict) and one.get("item") in task.items:
            unread[str(one["item"])] = f"{one.get('code', 'unread')}: {one.get('detail', '')}"[:500]
    return Came(
        task=task.id,
        run=result.run,
        outcome=result.outcome,
        deliverable=result.deliverable,
        code=result.code,
        detail=result.detail[:500],
        unread=unread,
        quoted=_micros(result.quoted),
        cost=_micros(result.cost),
    )


def _micros(amount: Money | None) -> int | None:
    # Budgets are in dollars, as prices are.
    return amount.amount if amount is not None and amount.currency == "USD" else None
