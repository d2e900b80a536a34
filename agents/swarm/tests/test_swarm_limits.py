"""What a swarm asks, posts and delivers stays within what the platform carries, for the largest goals and any script."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from agora.blackboard import FINDING_BYTES_MAX, ROOT_MAX
from agora.suspension import CallRequest, CallResult, CallsEnded, Request
from agora_swarm import goals
from agora_swarm.answers import answer_findings
from agora_swarm.calling import ASK_BYTES_MAX, call_of
from agora_swarm.fitting import cut, fitting, pieces, size_of
from agora_swarm.plans import Plan, Task
from agora_swarm.revising import revised
from agora_swarm.types import Input, Output, Questions
from hypothesis import given
from hypothesis import strategies as st

from .test_swarm_alone import swarm
from .test_swarm_plans import audit_of, ended

UPDATE_BYTES_MAX = 600_000
"""What the platform carries of a step's request or update."""

LONG = "長" * 2_000


def of_two_thousand_files() -> tuple[Input, Plan]:
    """The largest audit, before its review, in which something was found in each file."""
    listed = [{"file": f"file_{number:032x}", "path": f"deploy/{number:05}.yaml"} for number in range(2_000)]
    asked = msgspec.convert({"goal": {"kind": "audit", "files": listed}, "budget": "100"}, Input)
    plan = goals.first_plan(asked)
    plan = revised(plan, ended(plan, "research"), 200)
    plan = goals.after_research(plan, asked, [])
    plan = revised(plan, ended(plan, "engineering"), 200)
    return asked, goals.for_review(plan, asked, goals.item_ids(asked.goal))


async def test_the_largest_review_is_asked_for_in_pieces() -> None:
    """
    All reviewers of two thousand files together are more than a step may ask for: they are asked for in turn.
    """
    asked, plan = of_two_thousand_files()
    calls = [call_of(task, plan, asked) for task in plan.pending("review", "reviewer")]
    lists = pieces(calls, ASK_BYTES_MAX)

    assert size_of(calls) > ASK_BYTES_MAX
    assert max(size_of(CallRequest(calls=piece)) for piece in lists) < UPDATE_BYTES_MAX
    assert calls == [call for piece in lists for call in piece]


def test_a_reviewer_is_told_of_those_whose_items_it_has() -> None:
    """
    It reads the findings of the engineers that worked on its items, and is not sent the ids of all.
    """
    asked, plan = of_two_thousand_files()
    task = plan.pending("review", "reviewer")[0]
    runs = call_of(task, plan, asked).input["runs"]
    engineers = [one for one in plan.tasks if one.role == "engineer"]

    assert set(task.items) <= {item for one in engineers if one.run in runs for item in one.items}
    assert all(set(task.items) & set(one.items) for one in engineers if one.run in runs)


def test_the_plan_of_the_largest_audit_fits_its_state() -> None:
    """
    Also where all of it was given up with long reasons in any script.
    """
    asked, plan = of_two_thousand_files()
    plan = goals.after_research(
        msgspec.structs.replace(plan, given_up=[]),
        asked,
        [_unread(item) for item in goals.item_ids(asked.goal)],
    )

    assert 2_000 == len(plan.given_up)
    assert size_of(plan) < 2 * UPDATE_BYTES_MAX


def _unread(item: str) -> Any:
    from agora.blackboard import Finding

    data = {"item": item, "decision": "skip", "same_as": "", "weight": 1}
    return Finding(id=f"{item}:assessment", claim="x" * 300, data=data)


def test_a_review_for_which_the_blackboard_has_no_room_is_given_up_before_it_is_paid() -> None:
    """
    Items are reviewed as long as there is room for their votes and verdicts; the others are given up with the reason.
    """
    asked = audit_of(3)
    plan, kept = goals.within_board(
        Plan(kind="audit", tasks=[]), asked, {"f1": 10, "f2": 30, "f3": 5}, room=142
    )

    assert ["f1", "f3"] == kept
    assert [("f2", "blackboard_full")] == [(one.item, one.code) for one in plan.given_up]
    assert "30 findings" in plan.given_up[0].reason


def test_two_thousand_files_with_faults_in_all_have_room() -> None:
    """
    The documented limit holds with as many findings a file as our own configuration files have: 3 to 4, and 5.
    """
    asked = audit_of(2_000)
    counts = dict.fromkeys(goals.item_ids(asked.goal), 5)
    plan, kept = goals.within_board(Plan(kind="audit", tasks=[]), asked, counts)

    assert (2_000, []) == (len(kept), plan.given_up)
    assert 2 * 2_000 + 2_000 + 5 * sum(counts.values()) <= ROOT_MAX


def long_answer(number: int) -> CallResult:
    """An answer at all its limits, in three bytes a character."""
    citation = {"source": "檔" * 500, "locator": "行" * 200, "quote": LONG}
    output = {"answer": LONG * 3, "answered": True, "citations": [citation] * 8}
    return CallResult(
        run=f"run_{number}", package="kb", outcome="succeeded", deliverable="full", output=output
    )


def test_the_longest_answer_fits_a_finding_in_any_script() -> None:
    """
    Question, answer and citations are cut to what a finding may have, and the finding says so.
    """
    goal = Questions(questions=[LONG], package="kb")
    task = Task(id="executor-1", phase="engineering", role="executor", items=["q1"])
    (found,) = answer_findings(goal, [task], [long_answer(1)])

    assert size_of(found) <= FINDING_BYTES_MAX
    assert found.data["cut"]
    assert found.claim
    assert found.evidence[0].quote


async def test_long_answers_do_not_sink_a_swarm(tmp_path: Path) -> None:
    """
    A hundred answers at their limits, in any script, are reviewed and delivered within what a run may deliver.
    """

    def answers(request: Request) -> CallsEnded | None:
        if isinstance(request, CallRequest) and request.calls[0].package == "kb":
            return CallsEnded(results=[long_answer(number) for number in range(len(request.calls))])
        return None

    questions = [f"{number} {LONG[:1900]}" for number in range(100)]
    goal = {"kind": "questions", "package": "kb", "questions": questions}
    output: Output = (await swarm(tmp_path, goal=goal, answers=answers)).output

    assert 100 == len(output.answers)
    assert size_of(output) <= 512 * 1024


async def test_reasons_in_any_script_do_not_sink_a_swarm(tmp_path: Path) -> None:
    """
    Two hundred agents that each fail with a long reason: the plan is shown in pieces that fit, and the output is.
    """

    def answers(request: Request) -> CallsEnded | None:
        if isinstance(request, CallRequest):
            lost = CallResult(run="run_x", package="kb", outcome="failed", code="lost", detail=LONG)
            return CallsEnded(results=[lost] * len(request.calls))
        return None

    goal = {"kind": "map", "package": "kb", "inputs": [{}] * 200}
    output: Output = (await swarm(tmp_path, goal=goal, answers=answers)).output

    assert ("empty", 200, 200) == (output.deliverable, len(output.given_up), output.given_up_in_all)
    assert size_of(output) <= 512 * 1024


@given(text=st.text(max_size=300), bytes_max=st.integers(2, 400))
def test_a_cut_text_is_its_beginning_and_fits(text: str, bytes_max: int) -> None:
    """
    In any script, and whatever has to be escaped.
    """
    found = cut(text, bytes_max)

    assert text.startswith(found)
    assert size_of(found) <= bytes_max
    assert found == text or size_of(text) > bytes_max


@given(items=st.lists(st.text(max_size=40), max_size=40), bytes_max=st.integers(1, 300))
def test_pieces_hold_everything_and_fit(items: list[str], bytes_max: int) -> None:
    """
    Nothing is lost; only a single item may be larger than a piece.
    """
    lists = pieces(items, bytes_max)

    assert Counter(items) == Counter(item for piece in lists for item in piece)
    assert all(len(piece) <= 1 or sum(size_of(item) + 1 for item in piece) <= bytes_max for piece in lists)
    assert sum(size_of(item) + 1 for item in fitting(items, bytes_max)) <= bytes_max
