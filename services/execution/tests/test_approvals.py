"""Runs that wait for people: asked once, decided once, through restarts, deadlines and second thoughts."""

import asyncio
from typing import Any

import pytest
from agora_contracts.approvals import (
    ApprovalDecided,
    ApprovalRequested,
    DecideApproval,
    GetApproval,
    ListApprovals,
    ListApprovalTrail,
)
from agora_contracts.problems import AgoraError
from agora_contracts.runs import CancelRun
from agora_contracts.steering import PauseRun, ResumeRun, RunResumed, RunWaiting

from .asking import OTHER_TENANT, TENANT
from .conftest import Workers
from .driving import Platform


async def waiting(platform: Platform, run: str, waiting_for: str = "approval") -> None:
    """Wait until a run waits for something."""

    async def waits() -> bool:
        found = await platform.get(run)
        return bool(found.status == "waiting" and found.waiting_for == waiting_for)

    await platform.until(waits)


async def asked(platform: Platform, **run_input: Any) -> tuple[str, str]:
    """Start a run that asks, and wait until it does. The run's id and the approval's."""
    run = await platform.start({"text": "hello", **run_input}, package="probe")
    await waiting(platform, run.id, "input" if run_input.get("do") == "question" else "approval")
    return run.id, (await pending(platform, run.id)).id


async def pending(platform: Platform, run: str) -> Any:
    """The one thing that a run waits for."""
    page = await platform.ask(ListApprovals(tenant=TENANT, run=run, state="pending"))
    [approval] = page.items
    return approval


async def decide(platform: Platform, approval: str, approve: bool = True, **other: Any) -> Any:
    """Decide as the customer."""
    values: dict[str, Any] = {"tenant": TENANT, "decided_by": "key_one"} | other
    return await platform.ask(DecideApproval(approval=approval, approve=approve, **values))


@pytest.mark.emits.with_args(ApprovalRequested)
@pytest.mark.emits.with_args(ApprovalDecided)
@pytest.mark.emits.with_args(RunWaiting)
@pytest.mark.emits.with_args(RunResumed)
async def test_a_run_waits_for_a_decision_and_goes_on_with_it(probe_platform: Platform) -> None:
    """
    The approval says what, with which arguments, why and until when; the decision, its comment and changed arguments
    reach the step; the journal and the trail tell of it; what the step used counts once.
    """
    run, approval = await asked(probe_platform, do="approve")
    shown = await probe_platform.ask(GetApproval(approval=approval, tenant=TENANT))
    await decide(probe_platform, approval, arguments={"to": "some"}, comment="not all")
    ended = await probe_platform.ended(run)

    assert ("Send letter 0", {"to": "all"}, "It cannot be taken back.", "approval") == (
        shown.action, shown.arguments, shown.reason, shown.kind,
    )  # fmt: skip
    assert ("succeeded", "True some not all") == (ended.status, ended.output["text"])
    usage = {one.meter: one.quantity for one in ended.usage}
    assert (1, 1) == (usage["questions"], usage["tasks"])
    events = await probe_platform.events(
        ApprovalRequested, RunWaiting, ApprovalDecided, RunResumed, entity=run
    )
    assert [ApprovalRequested, RunWaiting, ApprovalDecided, RunResumed] == [
        type(event.data) for event in events
    ]
    trail = await probe_platform.ask(ListApprovalTrail(approval=approval, tenant=TENANT))
    assert [("requested", f"{run}/work/1"), ("approved", "key_one")] == [
        (entry.what, entry.who) for entry in trail.items
    ]


async def test_a_rejection_is_an_answer_like_any_other(probe_platform: Platform) -> None:
    """
    A step may ask twice; each question has an answer of its own.
    """
    run, first = await asked(probe_platform, do="approve_twice")
    await decide(probe_platform, first)

    async def second() -> Any:
        page = await probe_platform.ask(ListApprovals(tenant=TENANT, run=run, state="pending"))
        return page.items[0] if page.items else None

    await decide(probe_platform, (await probe_platform.until(second)).id, approve=False, comment="enough")
    ended = await probe_platform.ended(run)

    assert "True all, False all enough" == ended.output["text"]
    assert 2 == {one.meter: one.quantity for one in ended.usage}["questions"]


async def test_the_same_decision_again_is_answered_alike_and_another_one_refused(
    probe_platform: Platform,
) -> None:
    """
    Deciding twice alike changes nothing; deciding otherwise conflicts, stands in the trail, and changes nothing.
    """
    run, approval = await asked(probe_platform, do="approve")
    answers = await asyncio.gather(*(decide(probe_platform, approval) for _ in range(5)))
    with pytest.raises(AgoraError) as caught:
        await decide(probe_platform, approval, approve=False)
    await probe_platform.ended(run)
    trail = await probe_platform.ask(ListApprovalTrail(approval=approval, tenant=TENANT))

    assert {"approved"} == {answer.state for answer in answers}
    assert "approval_decided" == caught.value.slug
    assert ["requested", "approved", "refused"] == [entry.what for entry in trail.items]


async def test_only_who_may_decides(probe_platform: Platform) -> None:
    """
    A customer cannot decide what is the operator's, nor the operator what is the customer's; another tenant sees nothing.
    """
    run, approval = await asked(probe_platform, do="approve", decider="operator")
    _, own = await asked(probe_platform, do="approve")
    slugs = []
    for target, tenant in ((approval, TENANT), (own, None), (approval, OTHER_TENANT)):
        with pytest.raises(AgoraError) as caught:
            await decide(probe_platform, target, tenant=tenant)
        slugs.append(caught.value.slug)
    assert ["forbidden", "forbidden", "not_found"] == slugs

    listed = await probe_platform.ask(ListApprovals(state="pending"))
    assert [approval] == [one.id for one in listed.items]
    await decide(probe_platform, approval, tenant=None, decided_by="operator")
    assert "succeeded" == (await probe_platform.ended(run)).status


@pytest.mark.parametrize(("on_deadline", "said"), [("reject", "False all"), ("approve", "True all")])
async def test_a_deadline_decides(probe_platform: Platform, on_deadline: str, said: str) -> None:
    """
    When nobody has decided in time, the request's own rule does, and it is too late for anybody else.
    """
    run, approval = await asked(probe_platform, do="approve", seconds=1, on_deadline=on_deadline)
    ended = await probe_platform.ended(run)
    with pytest.raises(AgoraError) as caught:
        await decide(probe_platform, approval)

    assert said == ended.output["text"]
    assert "approval_expired" == caught.value.slug


async def test_an_input_is_checked_against_what_was_asked_for(probe_platform: Platform) -> None:
    """
    A value that does not fit is refused with the place, a missing one too; one that fits reaches the step.
    """
    run, approval = await asked(probe_platform, do="question")
    for value in ("many", None):
        with pytest.raises(AgoraError) as caught:
            await decide(probe_platform, approval, value=value)
        assert "invalid_input" == caught.value.slug
    await decide(probe_platform, approval, value=41)

    assert "42" == (await probe_platform.ended(run)).output["text"]


async def test_nobody_answers_a_question(probe_platform: Platform) -> None:
    """
    A run whose question nobody answers in time fails with that reason.
    """
    run, _ = await asked(probe_platform, do="question", seconds=1)
    ended = await probe_platform.ended(run)

    assert ("failed", "input_missing") == (ended.status, ended.error.code)


async def test_somebody_will_not_answer_a_question(probe_platform: Platform) -> None:
    """
    A question that is rejected fails the run at once, with another reason than one that nobody answered.
    """
    run, approval = await asked(probe_platform, do="question")
    await decide(probe_platform, approval, approve=False)
    ended = await probe_platform.ended(run)

    assert ("failed", "input_refused") == (ended.status, ended.error.code)


async def test_arguments_that_the_action_does_not_have_are_refused(probe_platform: Platform) -> None:
    """
    A decider changes the arguments that were asked for and adds none.
    """
    _, approval = await asked(probe_platform, do="approve")
    with pytest.raises(AgoraError) as caught:
        await decide(probe_platform, approval, arguments={"to": "some", "shell": "rm"})

    assert "arguments.shell" == caught.value.problem.errors[0].field


async def test_a_run_that_waits_survives_its_worker(probe_platform: Platform, workers: Workers) -> None:
    """
    Decided while no worker runs, the run goes on with the decision once there is one.
    """
    run, approval = await asked(probe_platform, do="approve")
    await workers.stop()
    await decide(probe_platform, approval, comment="while away")
    await workers.start()

    assert "True all while away" == (await probe_platform.ended(run)).output["text"]


async def test_a_tool_whose_policy_asks_is_used_only_when_approved(probe_platform: Platform) -> None:
    """
    The tool's use is the approval, with its arguments; rejected, the run fails with that reason and costs nothing.
    """
    run, approval = await asked(probe_platform, do="use", text="me")
    shown = await probe_platform.ask(GetApproval(approval=approval, tenant=TENANT))
    await decide(probe_platform, approval)
    other, rejected = await asked(probe_platform, do="use", text="me")
    await decide(probe_platform, rejected, approve=False)

    assert ("Send a letter", {"to": "me"}) == (shown.action, shown.arguments)
    assert "sent to me" == (await probe_platform.ended(run)).output["text"]
    ended = await probe_platform.ended(other)
    assert ("failed", "tool_rejected", "empty") == (ended.status, ended.error.code, ended.deliverable)


@pytest.mark.parametrize("arguments", [{"to": 5}, {"to": None}])
async def test_changed_arguments_must_fit_the_tool(
    arguments: dict[str, Any], probe_platform: Platform
) -> None:
    """
    What the tool does not take is refused when it is decided on, and the approval stays open.
    """
    run, approval = await asked(probe_platform, do="use", text="me")
    with pytest.raises(AgoraError) as refused:
        await decide(probe_platform, approval, arguments=arguments)
    await decide(probe_platform, approval, arguments={"to": "you"})

    assert "invalid_input" == refused.value.slug
    assert [True] == [one.field.startswith("/arguments/") for one in refused.value.problem.errors]
    assert "sent to you" == (await probe_platform.ended(run)).output["text"]


async def test_a_cancelled_run_waits_for_nothing(probe_platform: Platform) -> None:
    """
    What a run waited for is cancelled with it, and can no longer be decided.
    """
    run, approval = await asked(probe_platform, do="approve")
    await probe_platform.ask(CancelRun(run=run, tenant=TENANT))
    ended = await probe_platform.ended(run)
    shown = await probe_platform.ask(GetApproval(approval=approval, tenant=TENANT))
    with pytest.raises(AgoraError) as caught:
        await decide(probe_platform, approval)

    assert ("cancelled", "cancelled") == (ended.status, shown.state)
    assert "run_ended" == caught.value.slug


async def test_the_trail_is_only_added_to(probe_platform: Platform) -> None:
    """
    The database itself refuses to change or delete an entry.
    """
    await asked(probe_platform, do="approve")
    for statement in ("UPDATE approval_trail SET who = 'x'", "DELETE FROM approval_trail"):
        with pytest.raises(Exception, match="only added to"):
            await probe_platform.execute(statement)


async def test_waiting_is_none_of_a_runs_own_time(probe_platform: Platform) -> None:
    """
    A run that waits longer than its time limit still has its time when it goes on.
    """
    from agora_contracts.catalog import Limits

    await probe_platform.list_package("probe", version="1.0.1", limits=Limits(timeout_seconds=2))
    run, approval = await asked(probe_platform, do="approve")
    await asyncio.sleep(2.5)
    await decide(probe_platform, approval)

    assert "succeeded" == (await probe_platform.ended(run)).status


async def test_a_paused_run_rests_until_it_is_resumed(platform: Platform) -> None:
    """
    Paused, a run takes no further step; resumed, it ends as if nothing had been; doing either twice changes nothing.
    """
    run = await platform.start({"text": "hello", "steps": 30, "delay_ms": 50})
    await platform.until_running(run.id, steps=1)
    for _ in range(2):
        await platform.ask(PauseRun(run=run.id, tenant=TENANT))
    await waiting(platform, run.id, "pause")
    rested = await platform.get(run.id)
    await asyncio.sleep(0.5)
    still = await platform.get(run.id)
    for _ in range(2):
        await platform.ask(ResumeRun(run=run.id, tenant=TENANT))
    ended = await platform.ended(run.id)

    assert rested.steps == still.steps < 30
    assert ("succeeded", 30) == (ended.status, ended.steps)
    with pytest.raises(AgoraError) as caught:
        await platform.ask(PauseRun(run=run.id, tenant=TENANT))
    assert "run_ended" == caught.value.slug
