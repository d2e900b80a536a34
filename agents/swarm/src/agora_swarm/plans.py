"""The plan of a swarm: tasks for agents, made from the goal and checked against the limits.

Pure: no file is read, no model asked, nobody called.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from agora_swarm.types import AGENTS_MAX, GivenUp, Phase, Role

ITEMS_PER_WORKER_MAX = 200
NOTE_MAX, NOTES_MAX = 1_000, 20
"""What is kept of what was changed: the newest notes, and their beginnings."""
LENSES: dict[str, tuple[str, ...]] = {
    "audit": ("evidence", "rule", "reproduction"),
    "questions": ("evidence", "completeness", "consistency"),
}
"""What the three reviewers look at, by the kind of goal."""

type Status = Literal["pending", "done", "failed", "given_up", "replanned"]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's work: its items, and its share of the budget. Money is in micro-units of a dollar.

    `share` is the most that it may cost, None before the budget was divided. `quoted` is what it was quoted at or, of
    one that was refused for want of money, what it needs; `paid` what counts as spent once it has ended. `shortages`
    counts how often there was too little money for it.
    """

    id: str
    phase: Phase
    role: Role
    items: list[str]
    lens: str = ""
    share: int | None = None
    quoted: int | None = None
    paid: int = 0
    shortages: int = 0
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

    def payable(self, phase: Phase, *roles: str) -> list[Task]:
        """Those of the waiting tasks that may begin: not the ones for whose money others must end first."""
        return [task for task in self.pending(phase, *roles) if task.share != 0 or not task.quoted]

    def runs(self, role: str, items: Sequence[str] | None = None) -> list[str]:
        """The runs of a role that succeeded; of those that worked on one of the items, if these are given."""
        wanted = None if items is None else set(items)
        return [
            task.run
            for task in self.tasks
            if task.role == role
            and task.status == "done"
            and task.run
            and (wanted is None or wanted & set(task.items))
        ]

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


def agents_of(files: int, sizes: Sizes, roles: Iterable[str]) -> int:
    """How many agents of these roles so many files take, with the analyst and the validator who go with them."""
    count = 0
    for role in roles:
        parts = _parts(files, getattr(sizes, role))
        count += {"researcher": parts + 1, "reviewer": len(LENSES["audit"]) * parts + 1}.get(role, parts)
    return count


def audit_roles(*, remedies: bool) -> list[str]:
    """The roles that an audit's files go through, in their order."""
    return ["researcher", "engineer", *(["executor"] if remedies else []), "reviewer"]


def audit_sizes(files: int, agents_max: int, roles: Sequence[str], wanted: Sizes | None = None) -> Sizes:
    """The sizes with which agents of these roles fit into the limit: as wanted, or larger ones.

    Raises:
        TooLarge: even with the most items for each agent there are not enough.
    """
    sizes = wanted or Sizes()
    while (needed := agents_of(files, sizes, roles)) > agents_max:
        grown = Sizes(
            **{
                name: min(math.ceil(getattr(sizes, name) * 1.5), ITEMS_PER_WORKER_MAX)
                for name in ("researcher", "engineer", "executor", "reviewer")
            }
        )
        if grown == sizes:
            raise TooLarge(needed, agents_max)
        sizes = grown
    return sizes


def agents_at_least(files: int, roles: Sequence[str]) -> int:
    """How many agents of these roles so many files take when each does as much as it can."""
    return agents_of(files, Sizes(**dict.fromkeys(roles, ITEMS_PER_WORKER_MAX)), roles)


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
        notes=[*plan.notes, note[:NOTE_MAX]][-NOTES_MAX:] if changed else plan.notes,
    )
