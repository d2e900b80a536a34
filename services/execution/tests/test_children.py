"""Runs that call other agents: as runs of their own, within bounds, counted once whatever dies."""

import asyncio
from typing import Any

from agora_contracts.execution import CancelRun
from agora_contracts.problems import AgoraError
from agora_contracts.steering import ListChildren, PauseRun, ResumeRun

from .asking import TENANT
from .conftest import Workers
from .driving import Platform
from .test_approvals import waiting


def echo(text: str, **run_input: Any) -> dict[str, Any]:
    """A call of the echo agent."""
    return {"package": "echo", "input": {"text": text, **run_input}, "title": f"Say {text}"}


async def children(platform: Platform, run: str) -> list[Any]:
    """The runs that a run called."""
    return list((await platform.ask(ListChildren(run=run, tenant=TENANT))).items)


async def test_a_step_calls_agents_and_gets_what_they_delivered(probe_platform: Platform) -> None:
    """
    Each call is a run of its own with its title, its quote and its hold inside the caller's; the results come in order.
    """
    await probe_platform.list_package("echo")
    calls = [echo("one"), echo("two", fail="rejected"), {"package": "nothing", "input": {}}, echo("", bad=1)]
    run = await probe_platform.run({"text": "hello", "do": "call", "calls": calls}, package="probe")
    called = await children(probe_platform, run.id)

    assert (
        "succeeded one, failed asked_to_reject, refused not_found, refused invalid_input"
        == run.output["text"]
    )
    assert [("echo", "succeeded", "Say one"), ("echo", "failed", "Say two")] == [
        (child.package, child.status, child.title) for child in called
    ]
    assert 3 == len(probe_platform.billing.placed)


async def test_a_circle_and_an_agent_that_is_not_named_are_refused(probe_platform: Platform) -> None:
    """
    An agent that calls itself is refused as a circle; one that the manifest does not name fails the run.
    """
    circle = await probe_platform.run({"text": "hello", "do": "call_itself"}, package="probe")
    unlisted = await probe_platform.run({"text": "hello", "do": "call_unlisted"}, package="probe")

    assert "refused cyclic_call" == circle.output["text"]
    assert ("failed", "agent_error") == (unlisted.status, unlisted.error.code)


async def test_no_more_agents_work_at_once_than_allowed(probe_platform: Platform) -> None:
    """
    Of ten calls with a concurrency of two, never more than two are accepted and unfinished.
    """
    await probe_platform.list_package("echo")
    calls = [echo(str(number), delay_ms=100) for number in range(10)]
    run = await probe_platform.start(
        {"text": "hello", "do": "call", "calls": calls, "concurrency": 2}, package="probe"
    )
    most = 0

    async def over() -> bool:
        nonlocal most
        called = await children(probe_platform, run.id)
        most = max(most, sum(child.finished_at is None for child in called))
        return bool((await probe_platform.get(run.id)).finished_at)

    await probe_platform.until(over)

    assert 1 <= most <= 2
    assert 10 == len(await children(probe_platform, run.id))


async def test_a_killed_worker_calls_nobody_twice(probe_platform: Platform, workers: Workers) -> None:
    """
    A worker that dies while agents work for a run leaves each call one run, and the caller its results.
    """
    await probe_platform.list_package("echo")
    calls = [echo(str(number), steps=5, delay_ms=60) for number in range(6)]
    run = await probe_platform.start({"text": "hello", "do": "call", "calls": calls}, package="probe")

    async def called() -> bool:
        return len(await children(probe_platform, run.id)) >= 3

    await probe_platform.until(called)
    await workers.stop()
    await workers.start()
    ended = await probe_platform.ended(run.id)

    assert ", ".join(f"succeeded {number}" for number in range(6)) == ended.output["text"]
    found = await children(probe_platform, run.id)
    assert [5] * 6 == [child.steps for child in found]


async def test_a_cancelled_run_cancels_those_that_it_called(probe_platform: Platform) -> None:
    """
    Nobody works on for a run that is over.
    """
    await probe_platform.list_package("echo")
    calls = [echo(str(number), steps=100, delay_ms=100) for number in range(3)]
    run = await probe_platform.start({"text": "hello", "do": "call", "calls": calls}, package="probe")

    async def called() -> bool:
        return len(await children(probe_platform, run.id)) == 3

    await probe_platform.until(called)
    await probe_platform.ask(CancelRun(run=run.id, tenant=TENANT))
    ended = await probe_platform.ended(run.id)

    async def over() -> bool:
        return all(child.finished_at for child in await children(probe_platform, run.id))

    await probe_platform.until(over)
    assert "cancelled" == ended.status
    assert {"cancelled"} == {child.status for child in await children(probe_platform, run.id)}


async def test_a_called_run_may_wait_and_be_paused_with_its_caller(probe_platform: Platform) -> None:
    """
    Pausing a run pauses those that it called, and resuming it lets them go on.
    """
    await probe_platform.list_package("echo")
    calls = [echo("one", steps=20, delay_ms=100)]
    run = await probe_platform.start({"text": "hello", "do": "call", "calls": calls}, package="probe")

    async def called() -> bool:
        found = await children(probe_platform, run.id)
        return bool(found and found[0].steps >= 1)

    await probe_platform.until(called)
    [child] = await children(probe_platform, run.id)
    await probe_platform.ask(PauseRun(run=run.id, tenant=TENANT))
    await waiting(probe_platform, child.id, "pause")
    await probe_platform.ask(ResumeRun(run=run.id, tenant=TENANT))

    assert "succeeded one" == (await probe_platform.ended(run.id)).output["text"]


async def test_a_call_without_room_in_the_hold_is_refused(probe_platform: Platform) -> None:
    """
    What billing refuses is the call's result, and the caller goes on.
    """
    await probe_platform.list_package("echo")
    run = await probe_platform.start(
        {"text": "hello", "do": "call", "calls": [echo("one")], "parts": 0}, package="probe"
    )
    probe_platform.billing.refuse_holds = AgoraError("budget_exhausted", "nothing is left for calls")
    ended = await probe_platform.ended(run.id)
    await asyncio.sleep(0)

    assert ended.output["text"] in ("refused budget_exhausted", "succeeded one")
