"""A run's first step and its end are written at once where that was all, and nothing is written twice."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from agora import Agent
from agora_contracts.envelope import utc_now
from agora_contracts.runs import CancelRun, RunFinished, RunStarted, StepRecorded
from agora_contracts.usage import UsageRecorded
from agora_execution import agents
from agora_execution.runs.model import Ending, LockedRun
from agora_execution.runs.opening import fresh_run
from agora_execution.runs.tasks import RunTask

from .asking import TENANT, new_id
from .driving import Platform
from .test_recovery import accepted, step_result


def begun_run(run: str) -> LockedRun:
    """What a worker knows of a run of the echo agent that it has just begun."""
    return fresh_run(
        RunTask(run=run, tenant=TENANT, package="echo", version="1.1.0", input={}, timeout_seconds=300)
    )


def success(run: str) -> Ending:
    """The end of a run that delivered."""
    return Ending(run=run, outcome="succeeded", at=utc_now(), deliverable="full", output={"text": "hello"})


async def begin(platform: Platform) -> str:
    """A run that has begun and nothing else."""
    run = new_id("run")
    await platform.recorder.accept(accepted(run))
    assert "begun" == await platform.recorder.begin(run, TENANT)
    return run


async def told(platform: Platform, run: str) -> list[str]:
    """Ids of what was told of a run's step and end."""
    kinds: tuple[Any, ...] = (RunStarted, StepRecorded, UsageRecorded, RunFinished)
    return [event.id for kind in kinds for event in await platform.events(kind, entity=run)]


async def test_a_run_is_begun_once(echo_listed: Platform) -> None:
    """
    Of all who begin a run at once, one has begun it; to the others, and to whoever comes later, it is known.
    """
    run = new_id("run")
    await echo_listed.recorder.accept(accepted(run))
    answers = await asyncio.gather(*(echo_listed.recorder.begin(run, TENANT) for _ in range(5)))

    assert ["begun", *["known"] * 4] == sorted(answers)
    assert "known" == await echo_listed.recorder.begin(run, TENANT)
    assert [f"{run}.2"] == await told(echo_listed, run)


async def test_the_only_step_and_the_end_are_written_together(echo_listed: Platform) -> None:
    """
    Step, usage and end follow each other without a gap; a second attempt finds them and adds nothing.
    """
    run = await begin(echo_listed)
    first = await echo_listed.recorder.finish(begun_run(run), step_result(run), success(run))
    again = await echo_listed.recorder.finish(
        begun_run(run), step_result(run, attempt=2, update=b'{"visits":9}'), success(run)
    )
    found = await echo_listed.get(run)

    assert ("recorded", "succeeded", b"{}") == (first.state, first.outcome, first.update)
    assert ("known", "succeeded", b"{}") == (again.state, again.outcome, again.update)
    assert ("succeeded", 1, {"text": "hello"}) == (found.status, found.steps, found.output)
    assert [("echoes", Decimal(1))] == [(one.meter, one.quantity) for one in found.usage]
    ids = [f"{run}.2", f"{run}.3", f"{run}/echo/1#0:echoes", f"{run}.4"]
    assert ids == await told(echo_listed, run)
    [finished] = await echo_listed.events(RunFinished, entity=run)
    assert (1, "full") == (finished.data.usage_count, finished.data.deliverable)


async def test_attempts_that_finish_at_once_write_one_step(echo_listed: Platform) -> None:
    """
    Two workers that have both called the node: one is recorded, the other is told of it.
    """
    run = await begin(echo_listed)
    records = await asyncio.gather(
        *(
            echo_listed.recorder.finish(begun_run(run), step_result(run, attempt=n), success(run))
            for n in (1, 2, 3)
        )
    )

    assert ["known", "known", "recorded"] == sorted(record.state for record in records)
    assert ["succeeded"] * 3 == [record.outcome for record in records]
    assert 4 == len(await told(echo_listed, run))


async def test_a_run_cancelled_during_its_only_step_does_not_succeed(echo_listed: Platform) -> None:
    """
    The step counts, as it was taken; the end is left to the workflow, which hears of the cancellation.
    """
    run = await begin(echo_listed)
    await echo_listed.ask(CancelRun(run=run, tenant=TENANT))
    record = await echo_listed.recorder.finish(begun_run(run), step_result(run), success(run))

    assert ("recorded", True, None) == (record.state, record.cancel_requested, record.outcome)
    assert ("running", 1) == ((found := await echo_listed.get(run)).status, found.steps)


async def test_an_only_step_after_the_end_is_platform_cost(echo_listed: Platform) -> None:
    """
    A run that was ended meanwhile (an operator's Terminate) stays as it ended.
    """
    run = await begin(echo_listed)
    await echo_listed.recorder.end(Ending(run=run, outcome="failed", at=utc_now()))
    record = await echo_listed.recorder.finish(begun_run(run), step_result(run), success(run))

    assert ("ended", None) == (record.state, record.outcome)
    assert ("failed", 0) == ((found := await echo_listed.get(run)).status, found.steps)


async def test_a_run_of_one_short_step_is_one_local_activity(platform: Platform) -> None:
    """
    All of it leaves one marker in the workflow's history; each further step, and the end then, one more.
    """

    async def markers(steps: int) -> int:
        run = await platform.run({"text": "hello", "steps": steps})
        await platform.closed(run.id)
        history = await platform.workflow(run.id).fetch_history()
        return len([e for e in history.events if e.HasField("marker_recorded_event_attributes")])

    assert [1, 4] == [await markers(1), await markers(3)]


def test_a_long_node_does_not_open_a_run(probe: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The one short node that an agent begins with opens its runs; a long one must be seen by operators.
    """
    opening_node = agents.opening_node.__wrapped__
    assert ("echo", "plan") == (opening_node("echo"), opening_node("probe"))

    monkeypatch.setitem(probe.nodes, "plan", replace(probe.nodes["plan"], long=True))
    assert opening_node("probe") is None
