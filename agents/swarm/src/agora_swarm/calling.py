"""Tasks as calls of other agents, and what came of them."""

from collections.abc import Sequence
from typing import Any

import agora
import msgspec
from agora.suspension import AgentCall, CallResult

from agora_swarm.goals import place_of
from agora_swarm.plans import Came, Plan, Task
from agora_swarm.types import Audit, Input, Map, Questions

WORKER = "swarm-worker"


async def work(
    plan: Plan, tasks: Sequence[Task], given: Input, context: agora.Context
) -> tuple[list[Came], list[CallResult]]:
    """Let agents do these tasks, as many at once as the input allows. The step is called again with the results."""
    calls = [call_of(task, plan, given) for task in tasks]
    results = await context.call_all(calls, concurrency=given.concurrency)
    return [came_of(task, result) for task, result in zip(tasks, results, strict=True)], results


def call_of(task: Task, plan: Plan, given: Input) -> AgentCall:
    """One task as a call. Questions and inputs go to the agent that the goal names, the rest to workers."""
    goal = given.goal
    title = _title(task)
    max_cost = None if task.share is None else agora.Money(amount=task.share, currency="USD")
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
            worker_input |= {"lens": task.lens, "runs": plan.runs("engineer") if plan.kind == "audit" else []}
        case "executor":
            worker_input["runs"] = plan.runs("engineer")
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
        code=result.code,
        detail=result.detail[:500],
        unread=unread,
    )


def plain_size(value: Any) -> int:
    """How many bytes a value has as JSON."""
    return len(msgspec.json.encode(value))
