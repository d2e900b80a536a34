"""The plan revised by what came of its tasks. Pure."""

from collections.abc import Sequence

import msgspec

from agora_swarm.plans import Plan, Task, with_tasks
from agora_swarm.types import REASON_MAX, GivenUp

ATTEMPTS_MAX = 2
"""How often one item is given to an agent that failed on it alone."""

SHORTAGES_MAX = 4
"""How often a task may find too little money before it is given up: what others leave comes back after their end."""

SHORT_CODES = frozenset({"insufficient_credit", "budget_exhausted"})
FINAL_CODES = frozenset(
    {
        "not_found", "not_executable", "cyclic_call", "call_too_deep", "invalid_input", "permission_denied",
        "forbidden", "account_closed", "deployment_ended", "item_twice", "file_not_found", "file_gone", "cancelled",
        "currency_mismatch", "call_cycle", "calls_too_deep", "not_callable", "quota_exceeded", "nothing_to_do",
    }
)  # fmt: skip
"""Reasons that another try does not change."""


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a task: its run, how it ended, and the items that its agent could not do.

    `quoted` and `cost` are those of the call, in micro-units; None where they are not known.
    """

    task: str
    run: str
    outcome: str
    deliverable: str = "full"
    code: str = ""
    detail: str = ""
    unread: dict[str, str] = {}
    quoted: int | None = None
    cost: int | None = None

    @property
    def short(self) -> bool:
        """Whether there was too little money for it."""
        return self.outcome == "refused" and self.code in SHORT_CODES

    @property
    def why(self) -> str:
        """Why it did not succeed."""
        return (f"{self.code}: {self.detail}" if self.code else self.outcome)[:REASON_MAX]


def revised(plan: Plan, came: Sequence[Came], agents_max: int) -> Plan:
    """The plan after tasks have ended: what failed is split, tried once more or given up with the reason.

    A failed task of several items becomes two of half of them, since one of them may be what it failed on; one of a
    single item is tried `ATTEMPTS_MAX` times. One for which there was too little money waits for what others leave.
    Where the reason is one that another try does not change, where there is no money for too long, or where there are
    no agents left (`agents_max` without those of later phases), its items are given up.
    """
    revision = _Revision(plan, agents_max)
    by_task = {one.task: one for one in came}
    for task in plan.tasks:
        revision.take(task, by_task.get(task.id))
    return revision.plan()


class _Revision:
    def __init__(self, plan: Plan, agents_max: int) -> None:
        self._plan = plan
        self._room = agents_max - len(plan.tasks)
        self._tasks: list[Task] = []
        self._new: list[Task] = []
        self._given_up = list(plan.given_up)
        self._notes: list[str] = []
        self._numbers: dict[str, int] = {}
        for task in plan.tasks:
            self._numbers[task.role] = self._numbers.get(task.role, 0) + 1

    def plan(self) -> Plan:
        """The plan as it is now."""
        made = msgspec.structs.replace(self._plan, tasks=self._tasks, given_up=self._given_up)
        return with_tasks(made, self._new, note="; ".join(self._notes))

    def take(self, task: Task, came: Came | None) -> None:
        """Take a task over, as what came of it says."""
        if came is None:
            self._tasks.append(task)
        elif came.outcome == "succeeded":
            self._done(task, came)
        elif came.short and task.shortages + 1 < SHORTAGES_MAX:
            self._notes.append(f"{task.id} waits for money ({came.why})")
            self._put(task, came, status="pending", shortages=task.shortages + 1, run="")
        elif came.short or came.code in FINAL_CODES or came.outcome == "cancelled":
            self._give_up(task, came)
        elif len(task.items) > 1 and len(self._new) + 2 <= self._room:
            half = len(task.items) // 2
            self._again(task, task.items[:half], 1)
            self._again(task, task.items[half:], 1)
            self._put(task, came, status="replanned")
            self._notes.append(f"{task.id} failed ({came.why}): its {len(task.items)} items are split")
        elif len(task.items) <= 1 and task.attempt < ATTEMPTS_MAX and len(self._new) < self._room:
            self._again(task, task.items, task.attempt + 1)
            self._put(task, came, status="replanned")
            self._notes.append(f"{task.id} failed ({came.why}): tried once more")
        else:
            self._give_up(task, came)

    def _put(self, task: Task, came: Came, **changed: object) -> None:
        more: dict[str, object] = {"run": came.run, "why": came.why, "paid": _paid(task, came)} | changed
        quoted = task.quoted if came.quoted is None else came.quoted
        self._tasks.append(msgspec.structs.replace(task, quoted=quoted, **more))

    def _again(self, task: Task, items: list[str], attempt: int) -> None:
        self._numbers[task.role] += 1
        identity = f"{task.role}-{self._numbers[task.role]}"
        self._new.append(
            Task(id=identity, phase=task.phase, role=task.role, items=items, lens=task.lens, attempt=attempt)
        )

    def _done(self, task: Task, came: Came) -> None:
        self._put(task, came, status="done", why="")
        if task.role in ("engineer", "researcher"):
            for item, reason in came.unread.items():
                self._lose(item, reason, "unread")
        if self._plan.kind == "map" and came.deliverable != "full":
            delivered = "nothing" if came.deliverable == "empty" else "only a part"
            self._lose(task.items[0], f"its run {came.run} delivered {delivered}", came.deliverable)

    def _give_up(self, task: Task, came: Came) -> None:
        self._put(task, came, status="given_up")
        self._notes.append(f"{task.id} is given up: {came.why}")
        if loses_items(self._plan, task):
            for item in task.items:
                self._lose(item, came.why, came.code or "failed")

    def _lose(self, item: str, reason: str, code: str) -> None:
        if all(one.item != item for one in self._given_up):
            self._given_up.append(GivenUp(item=item, reason=reason[:REASON_MAX], code=code))


def loses_items(plan: Plan, task: Task) -> bool:
    """Whether the items of a task that is given up are lost. An audit is whole without remedies and stock-taking;
    what no reviewer has seen, the synthesis tells by the verdicts."""
    return task.phase == "engineering" and (task.role == "engineer" or plan.kind != "audit")


def _paid(task: Task, came: Came) -> int:
    """What a task counts as having cost: as charged, where that is settled, else as quoted, else its share.

    One that failed costs nothing by default. Where it does, the swarm's hold says so: it is what bounds all together.
    """
    if came.cost is not None:
        return came.cost
    if came.outcome == "succeeded":
        return (task.share or 0) if came.quoted is None else came.quoted
    return 0
