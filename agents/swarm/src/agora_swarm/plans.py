"""The plan of a swarm: tasks for agents, made from the goal, checked against the limits, revised from what came of it.

Pure: no file is read, no model asked, nobody called.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Literal

import msgspec

from agora_swarm.types import AGENTS_MAX, GivenUp, Phase, Role

ITEMS_PER_WORKER_MAX = 200
LENSES: dict[str, tuple[str, ...]] = {
    "audit": ("evidence", "rule", "reproduction"),
    "questions": ("evidence", "completeness", "consistency"),
}
"""What the three reviewers look at, by the kind of goal."""

ATTEMPTS_MAX = 2
"""How often one item is given to an agent that failed on it alone."""

BUDGET_CODES = frozenset({"insufficient_credit", "budget_exhausted", "quota_exceeded"})
FINAL_CODES = frozenset(
    {
        "not_found", "not_executable", "cyclic_call", "call_too_deep", "invalid_input", "permission_denied",
        "forbidden", "account_closed", "deployment_ended", "item_twice", "file_not_found", "file_gone", "cancelled",
        "currency_mismatch", "call_cycle", "calls_too_deep", "not_callable",
    }
)  # fmt: skip
"""Reasons that another try does not change."""

type Status = Literal["pending", "done", "failed", "given_up", "replanned"]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's work: its items, and its share of the budget (micro-units of a dollar; None: no bound of its own)."""

    id: str
    phase: Phase
    role: Role
    items: list[str]
    lens: str = ""
    share: int | None = None
    attempt: int = 1
    status: Status = "pending"
    run: str = ""
    why: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All tasks so far, in the order in which they were planned, and what was given up. `revision` counts changes."""

    kind: Literal["audit", "questions", "map"]
    tasks: list[Task]
    given_up: list[GivenUp] = []
    revision: int = 0
    notes: list[str] = []

    def pending(self, phase: Phase, *roles: str) -> list[Task]:
        """The tasks of a phase, in these roles or all, that wait to be done."""
        return [
            task
            for task in self.tasks
            if task.phase == phase and task.status == "pending" and (not roles or task.role in roles)
        ]

    def runs(self, role: str) -> list[str]:
        """The runs of a role that succeeded."""
        return [task.run for task in self.tasks if task.role == role and task.status == "done" and task.run]

    def done_items(self, role: str) -> list[str]:
        """The items that agents of a role have been given and did."""
        lost = {one.item for one in self.given_up}
        return [
            item
            for task in self.tasks
            if task.role == role and task.status == "done"
            for item in task.items
            if item not in lost
        ]


class TooLarge(Exception):
    """The goal needs more agents than the swarm may have."""

    def __init__(self, needed: int, agents_max: int) -> None:
        super().__init__(f"The goal needs {needed} agents and this swarm may have {agents_max}")
        self.needed = needed
        self.agents_max = agents_max


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How many items one agent of each role takes."""

    researcher: int = 25
    engineer: int = 5
    executor: int = 50
    reviewer: int = 50


def _parts(count: int, size: int) -> int:
    return math.ceil(count / size)


def audit_agents(files: int, sizes: Sizes, *, remedies: bool) -> int:
    """How many agents an audit of so many files takes."""
    return (
        _parts(files, sizes.researcher)
        + 1
        + _parts(files, sizes.engineer)
        + (_parts(files, sizes.executor) if remedies else 0)
        + len(LENSES["audit"]) * _parts(files, sizes.reviewer)
        + 1
    )


def audit_sizes(files: int, agents_max: int, *, remedies: bool, wanted: Sizes | None = None) -> Sizes:
    """The sizes that fit into the limit: as wanted, or larger ones where there are many files.

    Raises:
        TooLarge: even with the most items for each agent there are not enough.
    """
    sizes = wanted or Sizes()
    while audit_agents(files, sizes, remedies=remedies) > agents_max:
        grown = Sizes(
            **{
                name: min(math.ceil(getattr(sizes, name) * 1.5), ITEMS_PER_WORKER_MAX)
                for name in ("researcher", "engineer", "executor", "reviewer")
            }
        )
        if grown == sizes:
            raise TooLarge(audit_agents(files, sizes, remedies=remedies), agents_max)
        sizes = grown
    return sizes


def question_agents(questions: int) -> int:
    """How many agents answering so many questions takes: one each, three reviewers, a validator."""
    return questions + len(LENSES["questions"]) + 1


def require_agents(needed: int, agents_max: int) -> None:
    """Raises: TooLarge, when a goal needs more agents than there may be."""
    if needed > min(agents_max, AGENTS_MAX):
        raise TooLarge(needed, min(agents_max, AGENTS_MAX))


def split(items: Sequence[str], size: int) -> list[list[str]]:
    """Items in lists of at most `size`, as even as they can be."""
    count = _parts(len(items), size)
    if not count:
        return []
    base, more = divmod(len(items), count)
    lists = []
    at = 0
    for number in range(count):
        length = base + (number < more)
        lists.append(list(items[at : at + length]))
        at += length
    return lists


def balanced(weights: Mapping[str, int], count: int, size_max: int = ITEMS_PER_WORKER_MAX) -> list[list[str]]:
    """Items in `count` lists of about the same weight: the heaviest first, each to the lightest list with room."""
    lists: list[tuple[int, list[str]]] = [(0, []) for _ in range(count)]
    for item in sorted(weights, key=lambda one: (-weights[one], one)):
        place = min(
            (at for at in range(count) if len(lists[at][1]) < size_max),
            key=lambda at: (lists[at][0], at),
        )
        weight, items = lists[place]
        items.append(item)
        lists[place] = (weight + weights[item], items)
    return [sorted(items, key=_number) for _, items in lists if items]


def _number(item: str) -> tuple[int, str]:
    digits = item.lstrip("abcdefghijklmnopqrstuvwxyz")
    return (int(digits) if digits.isdigit() else 0, item)


def tasks_for(
    plan: Plan, phase: Phase, role: Role, lists: Iterable[Sequence[str]], *, lens: str = ""
) -> list[Task]:
    """New tasks of a role, numbered after those it has."""
    first = sum(task.role == role for task in plan.tasks) + 1
    return [
        Task(id=f"{role}-{number}", phase=phase, role=role, items=list(items), lens=lens)
        for number, items in enumerate(lists, first)
    ]


def with_tasks(plan: Plan, tasks: Sequence[Task], *, note: str = "") -> Plan:
    """The plan with more tasks; a note says what was changed and why."""
    changed = bool(note)
    return msgspec.structs.replace(
        plan,
        tasks=[*plan.tasks, *tasks],
        revision=plan.revision + changed,
        notes=[*plan.notes, note] if changed else plan.notes,
    )


def with_shares(plan: Plan, budget: str | None) -> Plan:
    """The plan with the budget divided among the tasks that wait, by their items; no micro-unit is given twice.

    What tasks that are done have been given stays theirs.
    """
    if budget is None:
        return plan
    whole = int((Decimal(budget) * 1_000_000).to_integral_value(ROUND_DOWN))
    taken = sum(task.share or 0 for task in plan.tasks if task.status != "pending")
    waiting = [task for task in plan.tasks if task.status == "pending"]
    weights = {task.id: max(len(task.items), 1) for task in waiting}
    weight = sum(weights.values())
    left = max(whole - taken, 0)
    return msgspec.structs.replace(
        plan,
        tasks=[
            msgspec.structs.replace(task, share=left * weights[task.id] // weight)
            if task.status == "pending"
            else task
            for task in plan.tasks
        ],
    )


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a task: its run, how it ended, and the items that its agent could not do."""

    task: str
    run: str
    outcome: str
    code: str = ""
    detail: str = ""
    unread: dict[str, str] = {}


def revised(plan: Plan, came: Sequence[Came], names: Mapping[str, str], agents_max: int) -> Plan:
    """The plan after tasks have ended: what failed is split, tried once more or given up with the reason.

    A failed task of several items becomes two of half of them, since one of them may be what it failed on; one of a
    single item is tried `ATTEMPTS_MAX` times. Where the reason is one that another try does not change, where the
    money has ended, or where there are no agents left, its items are given up.
    """
    by_task = {one.task: one for one in came}
    tasks: list[Task] = []
    new: list[Task] = []
    given_up = list(plan.given_up)
    used = len(plan.tasks)
    notes: list[str] = []
    numbers = {
        role: sum(task.role == role for task in plan.tasks) for role in {task.role for task in plan.tasks}
    }

    def again(task: Task, items: list[str], attempt: int, parts: int) -> None:
        numbers[task.role] += 1
        new.append(
            Task(
                id=f"{task.role}-{numbers[task.role]}",
                phase=task.phase,
                role=task.role,
                items=items,
                lens=task.lens,
                # What it failed at has cost nothing by default: those in its place get its share.
                share=None if task.share is None else task.share // parts,
                attempt=attempt,
            )
        )

    for task in plan.tasks:
        one = by_task.get(task.id)
        if one is None:
            tasks.append(task)
            continue
        if one.outcome == "succeeded":
            given_up += [
                GivenUp(item=item, name=names.get(item, item), reason=reason, code="unread")
                for item, reason in one.unread.items()
                if task.role in ("engineer", "researcher") and not _is_given_up(given_up, item)
            ]
            tasks.append(msgspec.structs.replace(task, status="done", run=one.run))
            continue
        why = f"{one.code}: {one.detail}" if one.code else one.outcome
        moved = None if task.share is None else 0
        pieces = [task.items[: len(task.items) // 2], task.items[len(task.items) // 2 :]]
        final = one.code in FINAL_CODES or one.code in BUDGET_CODES or one.outcome == "cancelled"
        if not final and len(task.items) > 1 and used + len(new) + 2 <= agents_max:
            for piece in pieces:
                again(task, piece, 1, 2)
            tasks.append(msgspec.structs.replace(task, status="replanned", run=one.run, why=why, share=moved))
            notes.append(f"{task.id} failed ({why}): its {len(task.items)} items are split")
        elif (
            not final
            and len(task.items) <= 1
            and task.attempt < ATTEMPTS_MAX
            and used + len(new) < agents_max
        ):
            again(task, task.items, task.attempt + 1, 1)
            tasks.append(msgspec.structs.replace(task, status="replanned", run=one.run, why=why, share=moved))
            notes.append(f"{task.id} failed ({why}): tried once more")
        else:
            tasks.append(msgspec.structs.replace(task, status="given_up", run=one.run, why=why))
            notes.append(f"{task.id} is given up: {why}")
            # Remedies that are not tried leave the audit whole.
            if task.phase == "engineering" and (task.role == "engineer" or plan.kind != "audit"):
                given_up += _lost(task, why, one.code, names, given_up)
    note = "; ".join(notes)
    return msgspec.structs.replace(
        plan,
        tasks=[*tasks, *new],
        given_up=given_up,
        revision=plan.revision + bool(notes),
        notes=[*plan.notes, note[:2_000]] if notes else plan.notes,
    )


def _lost(
    task: Task, why: str, code: str, names: Mapping[str, str], given_up: list[GivenUp]
) -> list[GivenUp]:
    return [
        GivenUp(item=item, name=names.get(item, item), reason=why[:500], code=code or "failed")
        for item in task.items
        if not _is_given_up(given_up, item)
    ]


def _is_given_up(given_up: Sequence[GivenUp], item: str) -> bool:
    return any(one.item == item for one in given_up)
