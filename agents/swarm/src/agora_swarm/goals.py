"""The goal as items, and a plan for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import agora
import msgspec
from agora.blackboard import ROOT_MAX, Finding

from agora_swarm import money
from agora_swarm.plans import (
    ITEMS_PER_WORKER_MAX,
    LENSES,
    Plan,
    Sizes,
    TooLarge,
    agents_at_least,
    audit_roles,
    audit_sizes,
    balanced,
    question_agents,
    require_agents,
    split,
    tasks_for,
    with_tasks,
)
from agora_swarm.types import REASON_MAX, Audit, GivenUp, Input, Map, Questions

POSTS_OF_A_REVIEW = len(LENSES["audit"]) + 1
"""What is posted on one finding: a vote through each lens, and the verdict."""

WEIGHT_UNKNOWN = 100
"""What a file counts that no researcher has looked at, in lines."""


def item_ids(goal: Audit | Questions | Map) -> list[str]:
    """The ids of the goal's items: `f1` for the first file, `q1` for a question, `i1` for an input."""
    match goal:
        case Audit():
            return [f"f{number}" for number in range(1, len(goal.files) + 1)]
        case Questions():
            return [f"q{number}" for number in range(1, len(goal.questions) + 1)]
        case Map():
            return [f"i{number}" for number in range(1, len(goal.inputs) + 1)]


def place_of(item: str) -> int:
    """Where in the goal's list an item stands, from 0."""
    return int(item[1:]) - 1


def names_of(goal: Audit | Questions | Map) -> dict[str, str]:
    """What people know the items by, where the goal says it."""
    match goal:
        case Audit():
            names = [source.path or source.file for source in goal.files]
        case Questions():
            names = [question[:200] for question in goal.questions]
        case Map():
            names = [f"input {number}" for number in range(1, len(goal.inputs) + 1)]
    return dict(zip(item_ids(goal), names, strict=True))


def first_plan(given: Input, wanted: Sizes | None = None) -> Plan:
    """The plan that a goal begins with. Of an audit, what engineers do is planned after the research.

    Raises:
        InputRejected: `swarm_too_large`, or a goal that names no agent to do it.
    """
    goal = given.goal
    items = item_ids(goal)
    plan = Plan(kind=_kind(goal), tasks=[])
    try:
        if isinstance(goal, Audit):
            sizes = audit_sizes(len(items), given.agents_max, _roles(given), wanted)
            tasks = tasks_for(plan, "research", "researcher", split(items, sizes.researcher))
            tasks += tasks_for(plan, "research", "analyst", [[]])
            return money.with_shares(with_tasks(plan, tasks), given)
        _require_target(goal)
        unique = (
            list(_first_of_each(goal, items)) if isinstance(goal, Questions) else _heaviest_first(goal, items)
        )
        needed = question_agents(len(unique)) if isinstance(goal, Questions) else len(unique)
        require_agents(needed, given.agents_max)
    except TooLarge as error:
        raise agora.InputRejected(
            "swarm_too_large",
            f"{error}: send fewer items, several swarms, or raise agents_max (at most 200).",
            "$.goal",
        ) from error
    plan = with_tasks(plan, tasks_for(plan, "engineering", "executor", [[item] for item in unique]))
    return money.with_shares(plan, given)


def _roles(given: Input, first: str = "researcher") -> list[str]:
    """The roles that an audit's files go through, from one on."""
    roles = audit_roles(remedies=given.remedies)
    return roles[roles.index(first) :] if first in roles else roles[-1:]


def still_to_come(plan: Plan, given: Input) -> int:
    """How many agents the phases need that are not planned yet, at the least: revisions leave room for them."""
    planned = {task.role for task in plan.tasks}
    if plan.kind == "map" or "reviewer" in planned:
        return 0
    if plan.kind == "questions":
        return question_agents(0)
    missing = [role for role in _roles(given) if role not in planned]
    items = {
        item
        for task in plan.tasks
        if task.role == _FILES_OF.get(missing[0], "engineer")
        for item in task.items
    }
    return agents_at_least(len(items), missing)


_FILES_OF = {"engineer": "researcher"}
"""Whose items a role gets at the most; the engineers', where nothing else is said."""


def _kind(goal: Audit | Questions | Map) -> Any:
    return {Audit: "audit", Questions: "questions", Map: "map"}[type(goal)]


def _require_target(goal: Questions | Map) -> None:
    if (goal.package is None) == (goal.deployment is None):
        raise agora.InputRejected(
            "no_target", "The goal names exactly one of package and deployment to do it.", "$.goal"
        )
    if goal.package == "swarm":
        raise agora.InputRejected(
            "no_target", "A swarm cannot work for itself: name another package.", "$.goal.package"
        )


def _heaviest_first(goal: Map, items: Sequence[str]) -> list[str]:
    if not goal.weights:
        return list(items)
    if len(goal.weights) != len(items):
        raise agora.InputRejected(
            "invalid_weights",
            f"There are {len(items)} inputs and {len(goal.weights)} weights.",
            "$.goal.weights",
        )
    weights = dict(zip(items, goal.weights, strict=True))
    return sorted(items, key=lambda item: -weights[item])


def _first_of_each(goal: Questions, items: Sequence[str]) -> dict[str, str]:
    first: dict[str, str] = {}
    for item, question in zip(items, goal.questions, strict=True):
        first.setdefault(" ".join(question.split()).lower(), item)
    return {item: question for question, item in first.items()}


def same_questions(goal: Questions) -> dict[str, str]:
    """For each question that stands in the list before already, the item that is asked for it."""
    first: dict[str, str] = {}
    same = {}
    for item, question in zip(item_ids(goal), goal.questions, strict=True):
        asked = first.setdefault(" ".join(question.split()).lower(), item)
        if asked != item:
            same[item] = asked
    return same


def after_research(
    plan: Plan,
    given: Input,
    assessed: Sequence[Finding],
    wanted: Sizes | None = None,
) -> Plan:
    """The plan with engineers for what is worth the work: by weight, so that none gets all the large files.

    Of more files than the budget lasts for to the end of the review, those that were looked at first are audited, and
    the rest is given up before anything is paid for it.
    """
    goal = given.goal
    if not isinstance(goal, Audit):
        return plan
    decided = {str(one.data["item"]): one for one in assessed}
    weights = {}
    given_up = list(plan.given_up)
    known = {one.item for one in given_up}
    for item in sorted(item_ids(goal), key=lambda item: item not in decided):
        one = decided.get(item)
        if one is None or one.data["decision"] == "work":
            if item not in known:
                weights[item] = WEIGHT_UNKNOWN if one is None else int(one.data["weight"])
        elif not one.data.get("same_as"):
            given_up.append(GivenUp(item=item, reason=one.claim[:REASON_MAX], code="unread"))
    lasts = money.affordable(plan, given)
    if lasts is not None and lasts < len(weights):
        given_up += [
            GivenUp(item=item, reason=_too_dear(plan, lasts), code="budget_exhausted")
            for item in list(weights)[lasts:]
        ]
        weights = dict(list(weights.items())[:lasts])
    same = sum(bool(one.data.get("same_as")) for one in assessed)
    plan = msgspec.structs.replace(plan, given_up=given_up)
    if not weights:
        return with_tasks(plan, [], note="no file is worth an engineer's work")
    sizes = audit_sizes(len(weights), _room(plan, given), _roles(given, "engineer"), wanted)
    tasks = tasks_for(plan, "engineering", "engineer", balanced(weights, -(-len(weights) // sizes.engineer)))
    note = f"{len(weights)} files for {len(tasks)} engineers; {same} are copies, {len(given_up)} given up"
    return with_tasks(plan, tasks, note=note)


def _too_dear(plan: Plan, files: int) -> str:
    each = money.usd(money.price(plan) or 0)
    return f"the budget lasts for {files} files at {each} USD a file and agent; a larger budget would do it"


def _room(plan: Plan, given: Input) -> int:
    return given.agents_max - len(plan.tasks)


def after_engineering(plan: Plan, given: Input, with_findings: Sequence[str]) -> Plan:
    """The plan with executors who try remedies, for the files in which something was found."""
    if plan.kind != "audit" or not given.remedies or not with_findings:
        return plan
    sizes = audit_sizes(len(with_findings), _room(plan, given), _roles(given, "executor"))
    return with_tasks(plan, tasks_for(plan, "engineering", "executor", split(with_findings, sizes.executor)))


def within_board(
    plan: Plan, given: Input, counts: Mapping[str, int], room: int = ROOT_MAX
) -> tuple[Plan, list[str]]:
    """The items of which so many findings are on the blackboard, as far as their review has room there beside them.

    The others are given up before anything is paid for their review.
    """
    files = item_ids(given.goal)
    # What researchers and the analyst have posted of each file, and the findings; a little for what failed after it.
    left = room * 95 // 100 - 2 * len(files) - sum(counts.values())
    kept = []
    given_up = list(plan.given_up)
    for item in files:
        if not (found := counts.get(item, 0)):
            continue
        needed = found * POSTS_OF_A_REVIEW + given.remedies
        if needed <= left:
            kept.append(item)
            left -= needed
        else:
            reason = (
                f"its {found} findings are more than there is room for on the blackboard with their votes"
            )
            given_up.append(GivenUp(item=item, reason=reason, code="blackboard_full"))
    return msgspec.structs.replace(plan, given_up=given_up), kept


def for_review(plan: Plan, given: Input, with_findings: Sequence[str]) -> Plan:
    """The plan with reviewers, one for each lens and share of the items, and the validator after them."""
    lenses = LENSES.get(plan.kind, ())
    if not with_findings or not lenses:
        return plan
    size = ITEMS_PER_WORKER_MAX
    if plan.kind == "audit":
        size = audit_sizes(len(with_findings), _room(plan, given), _roles(given, "reviewer")).reviewer
    tasks = list(plan.tasks)
    for lens in lenses:
        so_far = msgspec.structs.replace(plan, tasks=tasks)
        tasks += tasks_for(so_far, "review", "reviewer", split(with_findings, size), lens=lens)
    reviewed = msgspec.structs.replace(plan, tasks=tasks)
    return with_tasks(reviewed, tasks_for(reviewed, "review", "validator", [[]]))
