"""Runs that stand still: what of several things they wait for, and how long that may take."""

from datetime import timedelta
from typing import Any

import pytest
from agora.suspension import ApprovalRequest, BudgetRequest
from agora_contracts.envelope import utc_now
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import CancelRun
from agora_contracts.steering import PauseRun, ResumeRun
from agora_execution.approvals.activities import ApprovalActivities
from agora_execution.approvals.service import Approvals
from agora_execution.runs.queries import unfinished
from agora_execution.runs.tasks import AskedPeople
from sqlalchemy import text

from .asking import TENANT, new_id
from .driving import Platform
from .test_approvals import asked, decide, pending, waiting
from .test_recovery import accepted


def people(platform: Platform) -> ApprovalActivities:
    """The activities of a run's waiting, as a worker has them."""
    return ApprovalActivities(platform.database, Approvals(platform.database, platform.service.broker))


async def running(platform: Platform, **changes: Any) -> str:
    """A run that has begun, and has no workflow."""
    run = new_id("run")
    new = accepted(run, **changes)
    await platform.recorder.accept(new)
    await platform.recorder.begin(run, new.tenant)
    return run


async def move(platform: Platform, run: str, **back: timedelta) -> None:
    """Let moments of a run have been earlier."""
    changes = ", ".join(f"{column} = now() - CAST(:{column} AS interval)" for column in back)
    async with platform.database.system() as connection:
        await connection.execute(
            text(f"UPDATE runs SET checked_at = now() - interval '1 day', {changes} WHERE id = :id"),
            {"id": run} | back,
        )


async def is_overdue(platform: Platform, run: str) -> bool:
    """Whether the sweep would end a run."""
    async with platform.database.system() as connection:
        [found] = [one for one in await unfinished(connection, 60, 100) if one.id == run]
    return found.overdue


async def test_the_time_of_called_runs_is_none_of_their_callers(service_alone: Platform) -> None:
    """
    A run of five minutes whose calls took an hour, at once and one after another, is not overdue until its own are over.
    """
    minute = timedelta(minutes=1)
    for own, overdue in ((9, False), (11, True)):
        run = await running(service_alone, timeout_seconds=300)
        for began, ended in ((60, 30), (50, 20), (15, 10)):
            child = await running(service_alone, parent_id=run)
            await move(
                service_alone, child, accepted_at=(began + own) * minute, finished_at=(ended + own) * minute
            )
        # 40 minutes of the first two, which overlap, and 5 of the third: the rest is the run's own.
        await move(service_alone, run, accepted_at=(45 + own) * minute, started_at=(45 + own) * minute)
        assert overdue == await is_overdue(service_alone, run)


async def test_a_run_with_an_open_call_is_not_overdue(service_alone: Platform) -> None:
    """
    However long what it called takes.
    """
    run = await running(service_alone, timeout_seconds=300)
    child = await running(service_alone, parent_id=run)
    for one in (run, child):
        await move(service_alone, one, accepted_at=timedelta(hours=3), started_at=timedelta(hours=3))

    assert not await is_overdue(service_alone, run)


async def test_what_is_still_open_is_waited_for_after_a_pause(probe_platform: Platform) -> None:
    """
    A branch that rests while another one waits for people leaves the run waiting for these, once it is resumed.
    """
    run, approval = await asked(probe_platform, do="approve")
    await probe_platform.ask(PauseRun(run=run, tenant=TENANT))
    assert await people(probe_platform).rest(run)
    await waiting(probe_platform, run, "pause")
    resumed = await probe_platform.ask(ResumeRun(run=run, tenant=TENANT))
    await decide(probe_platform, approval)

    assert ("waiting", "approval") == (resumed.status, resumed.waiting_for)
    assert "succeeded" == (await probe_platform.ended(run)).status


async def test_a_decision_leaves_a_paused_run_paused(probe_platform: Platform) -> None:
    """
    Until somebody resumes it.
    """
    run, approval = await asked(probe_platform, do="approve")
    await probe_platform.ask(PauseRun(run=run, tenant=TENANT))
    assert await people(probe_platform).rest(run)
    await decide(probe_platform, approval)
    found = await probe_platform.get(run)
    await probe_platform.ask(ResumeRun(run=run, tenant=TENANT))

    assert ("waiting", "pause") == (found.status, found.waiting_for)
    assert "succeeded" == (await probe_platform.ended(run)).status


async def test_nothing_is_decided_of_a_run_that_has_ended(service_alone: Platform) -> None:
    """
    Whatever a run asked for is cancelled with its end, also when its row did not say that it waits.
    """
    run = await running(service_alone)
    request = AskedPeople(
        run=run, step=f"{run}/echo/1", number=0, request=ApprovalRequest(action="Send", timeout_seconds=60)
    )
    standing = await people(service_alone).ask_people(request)
    async with service_alone.database.system() as connection:
        await connection.execute(text("UPDATE runs SET status = 'running' WHERE id = :id"), {"id": run})
    await service_alone.ask(CancelRun(run=run, tenant=TENANT))
    await service_alone.sweep()
    with pytest.raises(AgoraError) as caught:
        await decide(service_alone, standing.approval)

    assert "cancelled" == (await service_alone.get(run)).status
    assert "run_ended" == caught.value.slug


async def test_a_run_that_waits_for_money_looks_for_it_by_itself(service_alone: Platform) -> None:
    """
    Word that there is room may be lost: the next look finds it, where nobody has to be asked.
    """
    service_alone.billing.refuse_increases = AgoraError("insufficient_credit", "there is too little credit")
    run = await running(service_alone, max_cost=1_000_000)
    request = AskedPeople(
        run=run, step=f"{run}/echo/1", number=5, request=BudgetRequest(amount=7, reason="a model")
    )
    opened = await people(service_alone).ask_people(request)
    still = await people(service_alone).look_at_approval(opened.approval)
    service_alone.billing.refuse_increases = None
    found = await people(service_alone).look_at_approval(opened.approval)

    assert (None, None) == (opened.answer, still.answer)
    assert found.answer is not None
    assert Money(amount=7) == service_alone.billing.increased[run].by


async def test_what_cannot_be_stored_of_a_question_is_left_out(service_alone: Platform) -> None:
    """
    A reason that quotes a document may have U+0000 in it; people see a sign that something was there.
    """
    run = await running(service_alone)
    request = ApprovalRequest(action="Send\0it", reason="as \0 says", timeout_seconds=60)
    await people(service_alone).ask_people(
        AskedPeople(run=run, step=f"{run}/echo/1", number=0, request=request)
    )
    found = await pending(service_alone, run)

    assert ("Send\N{REPLACEMENT CHARACTER}it", "as \N{REPLACEMENT CHARACTER} says") == (
        found.action,
        found.reason,
    )
    assert found.deadline > utc_now()
