"""The budget divided: what was spent counts as it was, what waits gets its share, and later phases find theirs. Pure.

Shares bound single agents. What bounds all of them together is the swarm's hold, which has a part for calls as large as
the budget.
"""

import math
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction

import msgspec

from agora_swarm.plans import LENSES, Plan, Task, with_tasks
from agora_swarm.revising import loses_items
from agora_swarm.types import GivenUp, Input

BUDGET_DEFAULT = "5"
"""What agents may cost where the input says nothing: the manifest's `calls_cost_max`, in USD."""

_STAGE = {"analyst": "researcher"}
"""Whose items are on their way while a role without items works."""


def budget_of(given: Input) -> int:
    """The budget in micro-units."""
    budget = Decimal(BUDGET_DEFAULT if given.budget is None else given.budget)
    return int((budget * 1_000_000).to_integral_value(ROUND_DOWN))


def spent(plan: Plan) -> int:
    """What the tasks that have ended count as having cost."""
    return sum(task.paid for task in plan.tasks)


def ahead(plan: Plan, role: str, remedies: bool) -> Fraction:
    """How much work on an item follows after a role, beside that of the role itself."""
    if plan.kind == "questions":
        # Answers cost more than their review, by how much nobody knows before: a fifth of all is kept.
        return Fraction(1, 4) if role == "executor" else Fraction(0)
    if plan.kind == "map":
        return Fraction(0)
    lenses = len(LENSES["audit"])
    steps = {"researcher": 1 + remedies + lenses, "engineer": remedies + lenses, "executor": lenses}
    return Fraction(steps.get(role, 0))


def price(plan: Plan) -> int | None:
    """What an item costs with one worker, by the dearest quote so far; None before there is one."""
    quotes = [
        math.ceil(Fraction(task.quoted, len(task.items)))
        for task in plan.tasks
        if task.items and task.quoted is not None
    ]
    return max(quotes, default=None)


def affordable(plan: Plan, given: Input) -> int | None:
    """For how many files of an audit the money lasts from the engineering to the end of the review; None: unknown."""
    each = price(plan)
    if not each:
        return None
    return max(budget_of(given) - spent(plan), 0) // int(each * (1 + ahead(plan, "engineer", given.remedies)))


def with_shares(plan: Plan, given: Input) -> Plan:
    """The plan with what is left of the budget divided among the tasks that wait.

    Tasks of which it is known what they need get that, in their order, where it leaves enough for what follows on their
    items; those that must wait for others' money get nothing for now, and those for which all that is left is too
    little are given up. The rest is divided by items, with the later phases counted in.
    """
    return _Division(plan, given).divided()


class _Division:
    def __init__(self, plan: Plan, given: Input) -> None:
        self._plan = plan
        self._remedies = given.remedies
        self._left = max(budget_of(given) - spent(plan), 0)
        self._waiting = [task for task in plan.tasks if task.status == "pending"]
        roles = {_STAGE.get(task.role, task.role) for task in self._waiting}
        # Items that are through this stage have the next ones still before them.
        self._through = sum(
            (
                len(task.items) * ahead(plan, task.role, self._remedies)
                for task in plan.tasks
                if task.role in roles and task.status == "done"
            ),
            start=Fraction(0),
        )

    def divided(self) -> Plan:
        """The plan with shares."""
        known = [task for task in self._waiting if task.quoted is not None]
        unknown = [task for task in self._waiting if task.quoted is None]
        shares, lost = self._by_need(known)
        shares |= self._by_items(unknown, kept=not known)
        given_up = list(self._plan.given_up)
        notes = []
        tasks = []
        for task in self._plan.tasks:
            if task.id in lost:
                task = msgspec.structs.replace(task, status="given_up", why=lost[task.id])
                notes.append(f"{task.id} is given up: {task.why}")
                if loses_items(self._plan, task):
                    given_up += self._lost(task, given_up)
            elif task.id in shares:
                task = msgspec.structs.replace(task, share=shares[task.id])
            tasks.append(task)
        made = msgspec.structs.replace(self._plan, tasks=tasks, given_up=given_up)
        return with_tasks(made, [], note="; ".join(notes))

    def _lost(self, task: Task, given_up: list[GivenUp]) -> list[GivenUp]:
        known = {one.item for one in given_up}
        return [
            GivenUp(item=item, reason=task.why, code="budget_exhausted")
            for item in task.items
            if item not in known
        ]

    def _by_need(self, tasks: list[Task]) -> tuple[dict[str, int], dict[str, str]]:
        """The shares of tasks of which it is known what they need, and why some are given up."""
        prices = [Fraction(task.quoted or 0, max(len(task.items), 1)) for task in tasks]
        if tasks:
            self._left = max(self._left - math.ceil(max(prices) * self._through), 0)
        whole = self._left
        shares: dict[str, int] = {}
        lost: dict[str, str] = {}
        for task in tasks:
            needed = task.quoted or 0
            follows = math.ceil(needed * ahead(self._plan, task.role, self._remedies))
            if needed + follows > whole:
                lost[task.id] = _too_little(needed, follows, whole)
            elif needed + follows > self._left:
                shares[task.id] = 0
            else:
                shares[task.id] = needed
                self._left -= needed + follows
        return shares, lost

    def _by_items(self, tasks: list[Task], *, kept: bool) -> dict[str, int]:
        """What is left, divided by items. With `kept` the later phases of what is through are to be kept for."""
        units = {task.id: self._units(task) for task in tasks}
        if not any(units.values()):
            units = {task.id: Fraction(1) for task in tasks}
        total = sum(units.values(), start=Fraction(0)) + (self._through if kept else 0)
        return {
            task.id: int(
                self._left * units[task.id] / total / (1 + ahead(self._plan, task.role, self._remedies))
            )
            for task in tasks
        }

    def _units(self, task: Task) -> Fraction:
        return len(task.items) * (1 + ahead(self._plan, task.role, self._remedies))


def _too_little(needed: int, follows: int, left: int) -> str:
    after = f" and what follows on its items {usd(follows)}" if follows else ""
    return (
        f"budget_exhausted: it needs {usd(needed)} USD{after}, and {usd(left)} of the budget are left; "
        "a larger budget would do it"
    )


def usd(micros: int) -> str:
    """Micro-units as dollars."""
    return f"{Decimal(micros) / 1_000_000:f}"
