"""Runs that do not reach their own end: cancelled, or without their hold."""

import asyncio
from typing import Any

import pytest
from agora_contracts.problems import AgoraError
from agora_contracts.runs import CancelRun, RunFinished
from agora_execution.runs.tasks import RunTask
from agora_execution.runs.workflows import AgentRun
from temporalio import workflow

from .asking import TENANT
from .conftest import Workers
from .driving import Platform


async def test_a_run_is_cancelled_in_the_middle_of_a_step(platform: Platform) -> None:
    """
    A cancellation ends the run soon; asking again meanwhile changes nothing, and afterwards conflicts.
    """
    run = await platform.start({"text": "hello", "steps": 50, "delay_ms": 200})
    await platform.until_running(run.id, steps=1)
    await platform.ask(CancelRun(run=run.id, tenant=TENANT))
    await platform.ask(CancelRun(run=run.id, tenant=TENANT))
    ended = await platform.ended(run.id)

    assert ("cancelled", "cancelled", None) == (ended.status, ended.error.code, ended.output)
    assert ended.steps < 50
    with pytest.raises(AgoraError) as caught:
        await platform.ask(CancelRun(run=run.id, tenant=TENANT))
    assert ("run_ended", 409) == (caught.value.slug, caught.value.problem.status)
    assert 1 == len(await platform.events(RunFinished, entity=run.id))


async def test_a_run_is_cancelled_before_a_worker_takes_it_up(
    echo_listed: Platform, workers: Workers
) -> None:
    """
    What was cancelled while it waited for a worker does no step.
    """
    run = await echo_listed.start({"text": "hello"})
    await echo_listed.ask(CancelRun(run=run.id, tenant=TENANT))
    await workers.start()
    ended = await echo_listed.ended(run.id)

    assert ("cancelled", 0) == (ended.status, ended.steps)


async def test_a_cancellation_during_the_end_changes_nothing(platform: Platform) -> None:
    """
    Twenty runs that are cancelled as they end are each over once, as whatever came first.
    """
    runs = [await platform.start({"text": "hello", "delay_ms": 5 * n}) for n in range(20)]

    async def begun(run: str) -> bool:
        return bool((await platform.get(run)).status != "accepted")

    async def cancel(run: str) -> None:
        await platform.until(lambda: begun(run))
        try:
            await platform.ask(CancelRun(run=run, tenant=TENANT))
        except AgoraError as error:
            assert "run_ended" == error.slug

    await asyncio.gather(*(cancel(run.id) for run in runs))
    ended = [await platform.ended(run.id) for run in runs]

    assert {run.status for run in ended} <= {"succeeded", "cancelled"}
    finished = await platform.events(RunFinished)
    assert sorted(run.id for run in runs) == sorted(event.data.run for event in finished)
    assert {run.id: run.status for run in ended} == {e.data.run: e.data.outcome for e in finished}


async def test_a_run_whose_hold_is_lost_ends_before_its_first_step(platform: Platform) -> None:
    """
    A lapsed hold that cannot be placed again ends the run with `hold_lost`, and no step is taken.
    """
    platform.billing.refuse_confirmations = AgoraError("insufficient_credit", "spent meanwhile")
    run = await platform.run({"text": "hello"})

    assert ("failed", "hold_lost", 0) == (run.status, run.error.code, run.steps)


async def test_a_run_waits_for_a_billing_that_is_away(platform: Platform) -> None:
    """
    A confirmation that nobody answers is asked again until somebody does.
    """
    platform.billing.refuse_confirmations = AgoraError("unavailable", "starting")
    run = await platform.start({"text": "hello"})

    async def asked() -> bool:
        return 2 <= len(platform.billing.confirmed)

    await platform.until(asked)
    platform.billing.refuse_confirmations = None

    assert "succeeded" == (await platform.ended(run.id)).status


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_workflow_that_is_garbage_ends_no_run(
    monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    """
    What is left of a stopped worker's workflow is collected between others, or in the midst of one: what comes up then
    is not the run's failure.
    """
    task = RunTask(
        run="run_left", tenant=TENANT, package="echo", version="1.0.0", input={}, timeout_seconds=60
    )
    left, ends = AgentRun.__new__(AgentRun), []

    async def collected(*_: Any) -> None:
        raise RuntimeError("coroutine ignored GeneratorExit")

    async def end(self: AgentRun, ending: Any) -> None:
        ends.append(ending)

    monkeypatch.setattr(workflow, "in_workflow", lambda: elsewhere)
    monkeypatch.setattr(workflow, "instance", lambda: AgentRun.__new__(AgentRun))
    monkeypatch.setattr(AgentRun, "_open", collected)
    monkeypatch.setattr(AgentRun, "_end", end)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        await left.run(task)
    assert [] == ends
