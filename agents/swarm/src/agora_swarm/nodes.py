"""The coordinator's steps. Each plans, lets agents work, and revises the plan by what came of it.

What agents find stands on the blackboard and in their own runs; the state holds the plan alone.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import agora
import msgspec
from agora.blackboard import FINDING_BYTES_MAX, Finding, Posted
from agora.suspension import CallResult

from agora_swarm import goals
from agora_swarm.answers import answer_findings
from agora_swarm.assisted import proposed_sizes, worded
from agora_swarm.calling import work
from agora_swarm.fitting import cut, pieces, size_of
from agora_swarm.money import with_shares
from agora_swarm.plans import Plan, Sizes, Task
from agora_swarm.revising import Came, revised
from agora_swarm.synthesis import synthesise_answers, synthesise_audit, synthesise_map
from agora_swarm.types import Audit, Input, Output, Questions, Result

PLAN_TOPIC = "plan"
OUTPUT_KEPT_MAX = 2_000
"""Larger outputs of a map's agents are left in their runs."""
OUTPUTS_KEPT_MAX = 200_000
RETURN_SECONDS = 1.0
"""How long what an ended agent leaves may take to come back, the first time that somebody waits for it."""


@dataclass(kw_only=True)
class State:
    """The goal, the plan as it stands, and what cannot be read again elsewhere."""

    input: Input
    output: Output | None = None
    plan: Plan = field(default_factory=lambda: Plan(kind="audit", tasks=[]))
    sizes: Sizes | None = None
    results: list[Result] = field(default_factory=list)
    with_findings: list[str] = field(default_factory=list)
    assisted: bool = False


@agora.step(title="Make the plan")
async def plan(state: State, context: agora.Context) -> dict[str, object]:
    """Take the goal apart, or refuse it before anything is spent."""
    sizes = None
    if isinstance(state.input.goal, Audit):
        goals.first_plan(state.input)  # Whether it can be done at all, no model decides.
        sizes = await proposed_sizes(state.input, context)
    made = goals.first_plan(state.input, sizes)
    await _show(made, state, context)
    return {"plan": made, "sizes": sizes, "assisted": sizes is not None}


@agora.step(title="Research: take stock", timeout_seconds=120)
async def research(state: State, context: agora.Context) -> dict[str, object]:
    """Researchers look at the files."""
    made, _ = await _worked(state, context, state.plan.payable("research", "researcher"))
    return await _planned(state, context, made)


@agora.step(title="Research: weigh what was found", timeout_seconds=120)
async def analyse(state: State, context: agora.Context) -> dict[str, object]:
    """The analyst weighs it, and the plan of the engineering is made from that."""
    made, _ = await _worked(state, context, state.plan.payable("research", "analyst"))
    if not made.pending("research"):
        assessed = await _read(context, "assessment", made.runs("analyst"))
        made = goals.after_research(made, state.input, [one.finding for one in assessed], state.sizes)
    return await _planned(state, context, made)


@agora.step(title="Engineering: do the work", timeout_seconds=120)
async def engineer(state: State, context: agora.Context) -> dict[str, object]:
    """Engineers audit, or the agent that the goal names does its part; what failed is planned anew."""
    tasks = state.plan.payable("engineering")
    made, results = await _worked(state, context, tasks)
    update: dict[str, object] = {}
    if not isinstance(state.input.goal, Audit):
        update["results"] = _with_results(state.results, tasks, results)
    if isinstance(state.input.goal, Questions):
        await context.blackboard.post("answer", answer_findings(state.input.goal, tasks, results))
    if not made.pending("engineering"):
        made, found = await _with_findings(state, made, context)
        update["with_findings"] = found
        made = goals.after_engineering(made, state.input, found)
    return update | await _planned(state, context, made)


@agora.step(title="Engineering: try remedies", timeout_seconds=120)
async def remedy(state: State, context: agora.Context) -> dict[str, object]:
    """Executors try remedies on copies; then the review is planned."""
    made, _ = await _worked(state, context, state.plan.payable("engineering"))
    if not made.pending("engineering"):
        made = goals.for_review(made, state.input, state.with_findings)
    return await _planned(state, context, made)


@agora.step(title="Review: vote on the findings", timeout_seconds=120)
async def review(state: State, context: agora.Context) -> dict[str, object]:
    """Reviewers vote."""
    made, _ = await _worked(state, context, state.plan.payable("review", "reviewer"))
    return await _planned(state, context, made)


@agora.step(title="Review: settle disagreements", timeout_seconds=120)
async def judge(state: State, context: agora.Context) -> dict[str, object]:
    """The validator counts the votes and looks for contradictions."""
    made, _ = await _worked(state, context, state.plan.payable("review", "validator"))
    return await _planned(state, context, made)


@agora.step(title="Synthesis: join what stands", timeout_seconds=300)
async def synthesise(state: State, context: agora.Context) -> dict[str, object]:
    """Join the claims that stand, with their provenance, and write the report."""
    made = state.plan
    match made.kind:
        case "audit":
            output = await synthesise_audit(
                state.input,
                made,
                findings=await _read(context, "finding", made.runs("engineer")),
                verdicts=await _read(context, "verdict", made.runs("validator")),
                remedies=await _read(context, "remedy", made.runs("executor")),
                assessed=await _read(context, "assessment", made.runs("analyst")),
                context=context,
            )
        case "questions":
            output = synthesise_answers(
                state.input,
                made,
                answers=await _read(context, "answer", None),
                verdicts=await _read(context, "verdict", made.runs("validator")),
                results=state.results,
            )
        case _:
            output = synthesise_map(state.input, made, state.results)
    output = await worded(output, context)
    if state.assisted and output.mode == "baseline":
        output = msgspec.structs.replace(output, mode="assisted")
    if output.deliverable != "empty":
        context.usage("jobs", 1)
    return {"output": output}


# --- routers -------------------------------------------------------------------------------------


async def after_plan(state: State) -> str:
    """Only an audit is researched: questions and inputs are known as they stand."""
    return "research" if state.plan.pending("research") else "engineer"


async def after_research(state: State) -> str:
    """Again while there is work that was planned anew."""
    return "research" if state.plan.pending("research", "researcher") else "analyse"


async def after_analysis(state: State) -> str:
    """On to the engineering, unless nothing is worth it."""
    if state.plan.pending("research"):
        return "analyse"
    return "engineer" if state.plan.pending("engineering") else "synthesise"


async def after_engineering(state: State) -> str:
    """Again while work was planned anew; remedies of an audit; then the review."""
    if state.plan.pending("engineering", "engineer"):
        return "engineer"
    if state.plan.kind == "audit":
        return "remedy"
    return "engineer" if state.plan.pending("engineering") else "remedy"


async def after_remedy(state: State) -> str:
    """Again while work was planned anew."""
    if state.plan.pending("engineering"):
        return "remedy"
    return "review" if state.plan.pending("review") else "synthesise"


async def after_review(state: State) -> str:
    """Again while votes are missing that were planned anew."""
    return "review" if state.plan.pending("review", "reviewer") else "judge"


async def after_judgement(state: State) -> str:
    """Again if the validator failed and is tried once more."""
    return "judge" if state.plan.pending("review") else "synthesise"


ROUTES = {
    "plan": (after_plan, ["research", "engineer"]),
    "research": (after_research, ["research", "analyse"]),
    "analyse": (after_analysis, ["analyse", "engineer", "synthesise"]),
    "engineer": (after_engineering, ["engineer", "remedy"]),
    "remedy": (after_remedy, ["remedy", "review", "synthesise"]),
    "review": (after_review, ["review", "judge"]),
    "judge": (after_judgement, ["judge", "synthesise"]),
}

# --- what the steps have in common ---------------------------------------------------------------


async def _worked(
    state: State, context: agora.Context, tasks: Sequence[Task]
) -> tuple[Plan, list[CallResult]]:
    """The plan after these tasks have been worked on, and what came of each."""
    came, results = await work(state.plan, tasks, state.input, context)
    room = state.input.agents_max - goals.still_to_come(state.plan, state.input)
    made = revised(state.plan, came, room)
    await _until_money_returns(tasks, came)
    return made, results


async def _until_money_returns(tasks: Sequence[Task], came: Sequence[Came]) -> None:
    """Where an agent's own share was enough and there was too little all the same, others' money is on its way back."""
    waits = [
        task.shortages + 1
        for task, one in zip(tasks, came, strict=True)
        if one.short and (one.quoted is None or one.quoted <= (task.share or 0))
    ]
    if waits:
        await asyncio.sleep(RETURN_SECONDS * max(waits))


async def _planned(state: State, context: agora.Context, made: Plan) -> dict[str, object]:
    """The plan with the money divided anew, shown to whoever watches."""
    made = with_shares(made, state.input)
    await _show(made, state, context)
    return {"plan": made}


async def _show(plan: Plan, state: State, context: agora.Context) -> None:
    """Let whoever watches see the plan as it stands; the newest one counts."""
    tasks = [
        {
            "id": task.id,
            "phase": task.phase,
            "role": task.role,
            "items": len(task.items),
            "status": task.status,
            "run": task.run,
            "why": cut(task.why, 600),
            "lens": task.lens,
        }
        for task in plan.tasks
    ]
    notes = [cut(note, 500) for note in plan.notes[-10:]]
    head = {"kind": plan.kind, "revision": plan.revision, "notes": notes}
    # In pieces, as a finding has a bounded size, which depends on what the reasons are written in.
    findings = [
        Finding(id=f"plan:{number}", claim=f"revision {plan.revision}", data=head | {"tasks": piece})
        for number, piece in enumerate(pieces(tasks, FINDING_BYTES_MAX - size_of(head) - 200))
    ]
    await context.blackboard.post(PLAN_TOPIC, findings)
    done = sum(task.status == "done" for task in plan.tasks)
    context.progress(f"{done} of {len(plan.tasks)} agents are done", done / max(len(plan.tasks), 1))


async def _read(context: agora.Context, topic: str, runs: list[str] | None) -> list[Posted]:
    if runs is not None and not runs:
        return []
    return await context.blackboard.read(topic, runs=runs)


async def _with_findings(state: State, plan: Plan, context: agora.Context) -> tuple[Plan, list[str]]:
    """The items about which there is something to review, in the order of the goal, as far as there is room for it."""
    if not isinstance(state.input.goal, Audit):
        return plan, plan.done_items("executor") if isinstance(state.input.goal, Questions) else []
    counts = Counter(
        str(one.finding.data["item"]) for one in await _read(context, "finding", plan.runs("engineer"))
    )
    return goals.within_board(plan, state.input, counts)


def _with_results(
    kept: Sequence[Result], tasks: Sequence[Task], results: Sequence[CallResult]
) -> list[Result]:
    by_index = {one.index: one for one in kept}
    room = OUTPUTS_KEPT_MAX - sum(len(msgspec.json.encode(one.output)) for one in kept if one.output)
    for task, result in zip(tasks, results, strict=True):
        size = len(msgspec.json.encode(result.output))
        fits = result.output is not None and size <= min(OUTPUT_KEPT_MAX, room)
        room -= size if fits else 0
        by_index[goals.place_of(task.items[0])] = Result(
            index=goals.place_of(task.items[0]),
            run=result.run,
            outcome=result.outcome,
            deliverable=result.deliverable,
            output=result.output if fits else None,
            code=result.code,
            detail=cut(result.detail, 400),
        )
    return [by_index[index] for index in sorted(by_index)]
