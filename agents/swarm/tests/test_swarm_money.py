"""The budget of a swarm: divided so that no phase is paid for in vain, and never given twice."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from agora import Money, alone, answering
from agora.answering import RunAgent
from agora.suspension import AgentCall, CallResult
from agora_swarm import agent, goals, nodes
from agora_swarm.money import BUDGET_DEFAULT, spent, with_shares
from agora_swarm.plans import Plan, Task
from agora_swarm.revising import SHORTAGES_MAX, Came, revised
from agora_swarm.types import Input, Output
from hypothesis import given
from hypothesis import strategies as st

from .test_swarm_alone import audit_goal, swarm

EACH = 2_000
"""What a worker costs for each of its items, in micro-units."""

COMPOSE = "services:\n  web:\n    image: nginx:{number}.0\n    privileged: true\n    mem_limit: 1g\n"


class Till:
    """A hold with a part for calls: quotes by item, what does not fit is refused, what ends gives back.

    What failed comes back only after `late` refusals, as it does where it is settled by messages.
    """

    def __init__(self, room: str, late: int = 0) -> None:
        self.left = int(Decimal(room) * 1_000_000)
        self.late = late
        self.paid = 0
        self.refused: list[int] = []
        self.fails: set[str] = set()
        self._returns: list[int] = []

    async def call(self, call: AgentCall, run_agent: RunAgent) -> CallResult:
        """Let an agent work, if it can be paid for."""
        quote = EACH * len(call.input.get("items", [None]))
        if len(self.refused) >= self.late:
            self.left += sum(self._returns)
            self._returns.clear()
        if quote > self.left or (call.max_cost is not None and quote > call.max_cost.amount):
            self.refused.append(quote)
            return CallResult(
                run="", package="", outcome="refused", code="budget_exhausted", detail="no room",
                quoted=Money(amount=quote),
            )  # fmt: skip
        self.left -= quote
        if call.title.partition(" ")[0] in self.fails:
            self._returns.append(quote)
            return CallResult(
                run="run_x", package="", outcome="failed", code="lost", quoted=Money(amount=quote)
            )
        self.paid += quote
        done = await _RESULT(call, run_agent)
        return msgspec.structs.replace(done, quoted=Money(amount=quote), cost=Money(amount=quote))


_RESULT = answering._result


@pytest.fixture
def till(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What makes a till of so much the one that calls are paid at."""

    def made(room: str, **more: Any) -> Till:
        at = Till(room, **more)
        monkeypatch.setattr(answering, "_result", at.call)
        monkeypatch.setattr(nodes, "RETURN_SECONDS", 0)
        return at

    return made


@pytest.fixture
def hundred(tmp_path: Any) -> Any:
    """A folder of a hundred files, in each of which something is found."""
    for number in range(100):
        (tmp_path / f"{number}.yaml").write_text(COMPOSE.format(number=number))
    return tmp_path


@pytest.mark.parametrize("budget", ["2.50", "1.20"])
async def test_an_audit_that_the_budget_covers_is_reviewed_to_the_end(
    hundred: Any, till: Any, budget: str
) -> None:
    """
    A hundred files cost 1.20 with all reviewers: with that or more in the budget nothing is lost.
    """
    at = till(budget)
    output: Output = (await swarm(hundred, goal=audit_goal(hundred), budget=budget)).output

    assert ("full", 100, []) == (output.deliverable, output.claims_in_all, at.refused)
    assert 1_200_000 == at.paid


async def test_a_budget_for_half_audits_half_to_the_end(hundred: Any, till: Any) -> None:
    """
    Nothing is paid for that cannot be reviewed: 0.60 last for fifty files, and the others are given up with the reason.
    """
    at = till("0.60")
    output: Output = (await swarm(hundred, goal=audit_goal(hundred), budget="0.60")).output

    assert ("partial", 50, 50) == (output.deliverable, output.claims_in_all, len(output.given_up))
    assert {"budget_exhausted"} == {one.code for one in output.given_up}
    assert "a larger budget would do it" in output.given_up[0].reason
    assert [] == output.disputed
    assert at.paid <= 600_000


async def test_without_a_budget_what_is_set_aside_by_default_is_divided(hundred: Any, till: Any) -> None:
    """
    The manifest sets 5 USD aside: that is the budget.
    """
    at = till("5")
    output: Output = (await swarm(hundred, goal=audit_goal(hundred))).output

    assert ("full", []) == (output.deliverable, at.refused)
    assert Decimal(BUDGET_DEFAULT) == agent.manifest.limits.calls_cost_max
    assert "baseline" == agent.manifest.limits.over_budget


async def test_money_that_comes_back_late_is_waited_for(hundred: Any, till: Any) -> None:
    """
    An agent failed and its hold is not back yet: the next one finds too little at first, and is called again.
    """
    at = till("1.20", late=2)
    at.fails = {"reviewer-6"}
    output: Output = (await swarm(hundred, goal=audit_goal(hundred), budget="1.20", concurrency=1)).output

    assert "full" == output.deliverable, output.given_up
    assert (1_200_000, [50_000, 50_000]) == (at.paid, at.refused)


async def test_inputs_that_the_budget_covers_are_done_and_the_rest_is_given_up(
    tmp_path: Any, till: Any
) -> None:
    """
    Shares that are too small for everybody are not everybody's end: half of the inputs have what they need.
    """
    at = till("0.006")
    goal = {"kind": "map", "package": "echo", "inputs": [{"text": str(number)} for number in range(6)]}
    output: Output = (await swarm(tmp_path, goal=goal, budget="0.006")).output

    assert ("partial", ["i4", "i5", "i6"]) == (output.deliverable, [one.item for one in output.given_up])
    assert ["0", "1", "2"] == [one.output["text"] for one in output.results if one.output]
    assert 6_000 == at.paid


async def test_no_budget_at_all_delivers_nothing_and_says_why(hundred: Any, till: Any) -> None:
    """
    Nothing is charged for a swarm that could do nothing.
    """
    at = till("0")
    done: alone.AloneResult = await swarm(hundred, goal=audit_goal(hundred), budget="0.000001")

    assert ("empty", 100, 0, []) == (
        done.output.deliverable, len(done.output.given_up), at.paid, done.usage,
    )  # fmt: skip
    assert {"budget_exhausted"} == {one.code for one in done.output.given_up}


def test_what_is_short_of_money_too_often_is_given_up() -> None:
    """
    A refusal that stays, such as of a full budget of the customer's, ends after a few tries.
    """
    goal = {"kind": "map", "package": "echo", "inputs": [{}]}
    asked = msgspec.convert({"goal": goal}, Input)
    plan = goals.first_plan(asked)
    for _ in range(SHORTAGES_MAX):
        (task,) = plan.pending("engineering")
        refused = Came(task=task.id, run="", outcome="refused", code="budget_exhausted", quoted=10)
        plan = with_shares(revised(plan, [refused], 200), asked)

    assert [] == plan.pending("engineering")
    assert ["i1"] == [one.item for one in plan.given_up]


@given(
    budget=st.integers(0, 10_000_000),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    costs=st.data(),
)
def test_shares_never_exceed_the_budget(budget: int, lengths: list[int], costs: st.DataObject) -> None:
    """
    However tasks end, and whatever they cost of their shares, no micro-unit is given twice.
    """
    asked = msgspec.convert(
        {
            "goal": {"kind": "audit", "files": [{"file": "file_1"}]},
            "budget": f"{Decimal(budget) / 1_000_000:f}",
        },
        Input,
    )
    tasks = [
        Task(id=f"engineer-{number}", phase="engineering", role="engineer", items=["f1"] * length)
        for number, length in enumerate(lengths, 1)
    ]
    plan = with_shares(Plan(kind="audit", tasks=tasks), asked)
    for _ in range(4):
        came = []
        for task in plan.payable("engineering"):
            assert task.share is not None
            cost = costs.draw(st.integers(0, task.share))
            how = costs.draw(st.sampled_from(["succeeded", "failed", "short"]))
            if how == "short":
                short = Came(
                    task=task.id, run="", outcome="refused", code="budget_exhausted", quoted=cost + 9
                )
                came.append(short)
            else:
                came.append(Came(task=task.id, run="r", outcome=how, quoted=task.share, cost=cost))
        plan = with_shares(revised(plan, came, 200), asked)

        assert spent(plan) + sum(task.share or 0 for task in plan.pending("engineering")) <= budget
