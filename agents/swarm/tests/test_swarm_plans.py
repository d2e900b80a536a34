"""The plan: what it is made of, what it never exceeds, and how it is revised."""

from typing import Any

import agora
import msgspec
import pytest
from agora_swarm import goals
from agora_swarm.plans import Plan, Sizes, TooLarge, audit_roles, audit_sizes, balanced, split
from agora_swarm.revising import Came, revised
from agora_swarm.types import Input
from hypothesis import given, settings
from hypothesis import strategies as st


def audit_of(files: int, **more: Any) -> Input:
    """An audit of so many files."""
    listed = [{"file": f"file_{number}", "path": f"{number}.yaml"} for number in range(files)]
    return msgspec.convert({"goal": {"kind": "audit", "files": listed}, **more}, Input)


def map_of(inputs: int, **more: Any) -> Input:
    """A package on so many inputs."""
    goal = {"kind": "map", "package": "echo", "inputs": [{"text": str(number)} for number in range(inputs)]}
    return msgspec.convert({"goal": goal, **more}, Input)


def ended(plan: Plan, phase: Any, **how: Any) -> list[Came]:
    """Every pending task of a phase has ended in the same way."""
    return [
        Came(task=task.id, run=f"run_{task.id}", **({"outcome": "succeeded"} | how))
        for task in plan.pending(phase)
    ]


@settings(deadline=None, max_examples=60)
@given(files=st.integers(1, 1500), agents_max=st.integers(8, 200), remedies=st.booleans())
def test_a_plan_never_has_more_agents_than_it_may(files: int, agents_max: int, remedies: bool) -> None:
    """
    Whatever the number of files, all phases together stay within the limit, and every file has one engineer; or the
    swarm is refused.
    """
    asked = audit_of(files, agents_max=agents_max, remedies=remedies)
    try:
        plan = goals.first_plan(asked)
    except agora.InputRejected as refused:
        assert "swarm_too_large" == refused.code
        return
    plan = revised(plan, ended(plan, "research"), agents_max)
    plan = goals.after_research(plan, asked, [])
    plan = revised(plan, ended(plan, "engineering"), agents_max)
    items = goals.item_ids(asked.goal)
    plan = goals.after_engineering(plan, asked, items)
    plan = revised(plan, ended(plan, "engineering"), agents_max)
    plan = goals.for_review(plan, asked, items)

    assert len(plan.tasks) <= agents_max
    assert sorted(items) == sorted(plan.done_items("engineer"))
    assert len({task.id for task in plan.tasks}) == len(plan.tasks)


def test_a_goal_too_large_is_refused_before_anything_is_spent() -> None:
    """
    More inputs than agents are refused by the plan, with the number that would be needed.
    """
    with pytest.raises(agora.InputRejected, match="needs 201 agents") as refused:
        goals.first_plan(map_of(201))

    assert "swarm_too_large" == refused.value.code


def test_sizes_grow_with_the_number_of_files() -> None:
    """
    A hundred files get small shares; a thousand get larger ones, within 200 agents; eight agents cannot do that.
    """
    roles = audit_roles(remedies=True)

    assert Sizes() == audit_sizes(100, 200, roles)
    assert audit_sizes(1000, 200, roles).engineer > Sizes().engineer
    with pytest.raises(TooLarge):
        audit_sizes(1500, 8, roles)


def test_the_longest_are_begun_first_where_it_is_known_how_long_they_take() -> None:
    """
    Weights order a map's tasks; as many weights as inputs are needed.
    """
    goal = {"kind": "map", "package": "echo", "inputs": [{}, {}, {}], "weights": [1, 3, 2]}
    plan = goals.first_plan(msgspec.convert({"goal": goal}, Input))

    assert [["i2"], ["i3"], ["i1"]] == [task.items for task in plan.tasks]
    with pytest.raises(agora.InputRejected, match="3 inputs and 1 weights"):
        goals.first_plan(msgspec.convert({"goal": goal | {"weights": [1]}}, Input))


def test_a_question_asked_twice_is_given_to_one_agent() -> None:
    """
    The same words, however written, are one task, and the second place gets the same answer.
    """
    goal = {"kind": "questions", "package": "kb", "questions": ["How long?", "how  LONG?", "Where?"]}
    asked = msgspec.convert({"goal": goal}, Input)

    assert [["q1"], ["q3"]] == [task.items for task in goals.first_plan(asked).tasks]
    assert {"q2": "q1"} == goals.same_questions(asked.goal)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [{}, {"package": "a", "deployment": "dep_1"}, {"package": "swarm"}])
def test_a_goal_names_one_agent_that_does_it(target: dict[str, str]) -> None:
    """
    None, two, or the swarm itself are refused.
    """
    goal = {"kind": "map", "inputs": [{}], **target}
    with pytest.raises(agora.InputRejected) as refused:
        goals.first_plan(msgspec.convert({"goal": goal}, Input))

    assert "no_target" == refused.value.code


def research_done(asked: Input) -> Plan:
    """The plan with engineers."""
    plan = goals.first_plan(asked)
    plan = revised(plan, ended(plan, "research"), 200)
    return goals.after_research(plan, asked, [])


def test_failed_work_is_split_until_the_one_that_fails_is_alone() -> None:
    """
    Of five files one crashes its engineer: the others are done, it is tried twice alone and then given up.
    """
    asked = audit_of(5)
    plan = research_done(asked)
    rounds = 0
    while pending := plan.pending("engineering"):
        rounds += 1
        came = [
            Came(
                task=task.id,
                run="r",
                outcome="failed" if "f3" in task.items else "succeeded",
                code="step_failed",
            )
            for task in pending
        ]
        plan = revised(plan, came, 200)

    assert ["f1", "f2", "f4", "f5"] == sorted(plan.done_items("engineer"))
    assert [("f3", "step_failed")] == [(one.item, one.code) for one in plan.given_up]
    assert rounds <= 5
    assert plan.revision > 1


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("quota_exceeded", "refused"),
        ("not_found", "refused"),
        ("", "cancelled"),
    ],
)
def test_what_another_try_does_not_change_is_given_up_at_once(code: str, outcome: Any) -> None:
    """
    No quota, no such agent, cancelled: nothing is planned anew, and the reason is kept.
    """
    asked = map_of(3)
    plan = goals.first_plan(asked)
    plan = revised(plan, ended(plan, "engineering", outcome=outcome, code=code), 200)

    assert [] == plan.pending("engineering")
    assert ["i1", "i2", "i3"] == [one.item for one in plan.given_up]


def test_without_agents_left_failed_work_is_given_up() -> None:
    """
    Revision never takes more agents than there may be.
    """
    asked = map_of(3, agents_max=3)
    plan = goals.first_plan(asked)
    plan = revised(plan, ended(plan, "engineering", outcome="failed"), 3)

    assert 3 == len(plan.tasks)
    assert 3 == len(plan.given_up)


@settings(deadline=None, max_examples=80)
@given(data=st.data(), files=st.integers(1, 2000), agents_max=st.integers(8, 200), remedies=st.booleans())
def test_no_failures_make_more_agents_than_there_may_be(
    data: st.DataObject, files: int, agents_max: int, remedies: bool
) -> None:
    """
    Whatever fails in whichever phase, and however often: the limit holds, no phase lacks the agents it needs, and every
    file is done or given up.
    """
    asked = audit_of(files, agents_max=agents_max, remedies=remedies)
    try:
        plan = goals.first_plan(asked)
    except agora.InputRejected:
        return
    items = goals.item_ids(asked.goal)

    def worked(plan: Plan, phase: Any) -> Plan:
        while pending := plan.pending(phase):
            failed = data.draw(st.integers(0, min(len(pending), 3)))
            came = [
                Came(task=task.id, run="r", outcome="failed" if number < failed else "succeeded")
                for number, task in enumerate(pending)
            ]
            plan = revised(plan, came, agents_max - goals.still_to_come(plan, asked))
        return plan

    plan = worked(plan, "research")
    plan = worked(goals.after_research(plan, asked, []), "engineering")
    found = plan.done_items("engineer")
    plan = worked(goals.after_engineering(plan, asked, found), "engineering")
    plan = worked(goals.for_review(plan, asked, found), "review")

    assert len(plan.tasks) <= agents_max
    assert sorted(items) == sorted([*found, *(one.item for one in plan.given_up)])
    if found:
        assert set(found) <= {item for task in plan.tasks if task.role == "reviewer" for item in task.items}


def test_failures_leave_the_review_of_questions_its_agents() -> None:
    """
    Of 196 questions four fail: nobody is there to try them again, as the reviewers and the validator need the places.
    """
    goal = {"kind": "questions", "package": "kb", "questions": [f"How {number}?" for number in range(196)]}
    asked = msgspec.convert({"goal": goal}, Input)
    plan = goals.first_plan(asked)
    came = [
        Came(task=task.id, run="r", outcome="failed" if number < 4 else "succeeded")
        for number, task in enumerate(plan.tasks)
    ]
    plan = revised(plan, came, 200 - goals.still_to_come(plan, asked))
    plan = goals.for_review(plan, asked, plan.done_items("executor"))

    assert 200 == len(plan.tasks)
    assert ["q1", "q2", "q3", "q4"] == [one.item for one in plan.given_up]


@given(
    weights=st.dictionaries(st.integers(1, 500).map(lambda n: f"f{n}"), st.integers(1, 5000), max_size=60),
    count=st.integers(1, 12),
)
def test_balanced_lists_hold_each_item_once(weights: dict[str, int], count: int) -> None:
    """
    No item is lost or doubled, and no list is heavier than the lightest by more than one item.
    """
    lists = balanced(weights, count)

    assert sorted(weights) == sorted(item for items in lists for item in items)
    if len(lists) > 1:
        sums = [sum(weights[item] for item in items) for items in lists]
        assert max(sums) - min(sums) <= max(weights.values())


@given(count=st.integers(0, 300), size=st.integers(1, 50))
def test_split_is_even(count: int, size: int) -> None:
    """
    Lists differ by at most one item and none is larger than asked.
    """
    lists = split([str(number) for number in range(count)], size)

    assert count == sum(map(len, lists))
    assert all(len(items) <= size for items in lists)
    assert not lists or max(map(len, lists)) - min(map(len, lists)) <= 1


def test_copies_and_unreadable_files_get_no_engineer() -> None:
    """
    What the analyst advises to skip is skipped: a copy silently (its twin's claims name it), the unreadable with the
    reason.
    """
    from agora.blackboard import Finding

    asked = audit_of(3)
    plan = goals.first_plan(asked)
    plan = revised(plan, ended(plan, "research"), 200)
    assessed = [
        Finding(
            id="f1:assessment", claim="", data={"item": "f1", "decision": "work", "same_as": "", "weight": 30}
        ),
        Finding(
            id="f2:assessment",
            claim="same",
            data={"item": "f2", "decision": "skip", "same_as": "f1", "weight": 30},
        ),
        Finding(
            id="f3:assessment",
            claim="is empty",
            data={"item": "f3", "decision": "skip", "same_as": "", "weight": 20},
        ),
    ]
    plan = goals.after_research(plan, asked, assessed)

    assert [["f1"]] == [task.items for task in plan.pending("engineering")]
    assert [("f3", "is empty")] == [(one.item, one.reason) for one in plan.given_up]
