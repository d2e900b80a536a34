"""Runs that call other agents: as runs of their own, within bounds, counted once whatever dies."""

import asyncio
from typing import Any

import pytest
from agora import Agent
from agora_contracts.approvals import ListApprovals
from agora_contracts.catalog import Limits
from agora_contracts.problems import AgoraError
from agora_contracts.runs import CancelRun
from agora_contracts.steering import ListChildren, PauseRun, ResumeRun
from agora_execution.approvals.model import NewApproval
from agora_execution.approvals.service import Approvals
from agora_execution.runs.starting import Starter

from .asking import TENANT, new_id
from .billing_stand_in import UNIT_PRICE
from .conftest import Workers
from .driving import Platform
from .test_approvals import decide, pending, waiting

PRICE = int(UNIT_PRICE * 1_000_000)
"""What a call of the echo agent costs, in micro-units."""


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
    # Both begin at once: which is the first to be accepted is nobody's affair.
    assert [("echo", "failed", "Say two"), ("echo", "succeeded", "Say one")] == sorted(
        (child.package, child.status, child.title) for child in called
    )
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
    Nobody works on for a run that is over: each called run stops after its step at hand, whenever Temporal tells it.
    """
    await probe_platform.list_package("echo")
    calls = [echo(str(number), steps=100, delay_ms=100) for number in range(3)]
    run = await probe_platform.start({"text": "hello", "do": "call", "calls": calls}, package="probe")

    async def called() -> bool:
        return len(await children(probe_platform, run.id)) == 3

    await probe_platform.until(called)
    await probe_platform.ask(CancelRun(run=run.id, tenant=TENANT))
    asked = await probe_platform.rows(
        "SELECT cancel_requested_at IS NOT NULL OR finished_at IS NOT NULL FROM runs WHERE parent_id = :r",
        r=run.id,
    )
    assert [(True,)] * 3 == [tuple(row) for row in asked]
    ended = await probe_platform.ended(run.id)

    async def over() -> bool:
        return all(child.finished_at for child in await children(probe_platform, run.id))

    await probe_platform.until(over)
    assert "cancelled" == ended.status
    assert {"cancelled"} == {child.status for child in await children(probe_platform, run.id)}


async def test_a_cancellation_that_comes_to_the_called_runs_first_is_their_callers(
    probe_platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Temporal's word to the caller is lost: what it called stops, nothing further is called, and it ends as cancelled.
    """

    async def lost(self: Starter, run: str) -> None:
        pass

    monkeypatch.setattr(Starter, "cancel", lost)
    await probe_platform.list_package("echo")
    calls = [echo(str(number), steps=15, delay_ms=50) for number in range(3)]
    run = await probe_platform.start(
        {"text": "hello", "do": "call", "calls": calls, "concurrency": 1}, package="probe"
    )

    async def at_work() -> bool:
        return any(child.steps for child in await children(probe_platform, run.id))

    await probe_platform.until(at_work)
    await probe_platform.ask(CancelRun(run=run.id, tenant=TENANT))
    ended = await probe_platform.ended(run.id)

    assert ("cancelled", "cancelled") == (ended.status, ended.error.code)
    assert ["cancelled"] == [child.status for child in await children(probe_platform, run.id)]


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


async def test_a_paused_run_calls_nobody_further(probe_platform: Platform) -> None:
    """
    What was called before rests or ends; the calls that are left are made when the run is resumed, each once.
    """
    await probe_platform.list_package("echo")
    calls = [echo(str(number), delay_ms=300) for number in range(6)]
    run = await probe_platform.start(
        {"text": "hello", "do": "call", "calls": calls, "concurrency": 2}, package="probe"
    )

    async def called() -> Any:
        return await children(probe_platform, run.id)

    await probe_platform.until(called)
    await probe_platform.ask(PauseRun(run=run.id, tenant=TENANT))
    await waiting(probe_platform, run.id, "pause")

    async def at_rest() -> bool:
        return all(child.finished_at for child in await children(probe_platform, run.id))

    await probe_platform.until(at_rest)
    before = await children(probe_platform, run.id)
    # Long enough for the next two calls, had they been made.
    await asyncio.sleep(1)
    after = await children(probe_platform, run.id)
    await probe_platform.ask(ResumeRun(run=run.id, tenant=TENANT))
    ended = await probe_platform.ended(run.id)

    assert [child.id for child in before] == [child.id for child in after]
    assert len(after) < 6
    assert ", ".join(f"succeeded {number}" for number in range(6)) == ended.output["text"]
    assert 6 == len(await children(probe_platform, run.id))


async def test_a_budget_that_was_refused_is_not_asked_for_again(short_of_room: Platform) -> None:
    """
    Whoever said no to more money for calls has said so for the whole run.
    """
    run = await short_of_room.start(calling("one", "two") | {"do": "call_twice"}, package="probe")
    await waiting(short_of_room, run.id, "budget")
    await decide(short_of_room, (await pending(short_of_room, run.id)).id, approve=False)
    ended = await short_of_room.ended(run.id)

    assert "refused budget_exhausted, refused budget_exhausted" == ended.output["text"]


@pytest.fixture
async def short_of_room(probe: Agent, service_alone: Platform, workers: Workers) -> Platform:
    """Execution with an agent that waits for budgets, in whose hold is room for one call."""
    await service_alone.list_package("echo")
    await service_alone.list_package("probe", limits=Limits(timeout_seconds=60, over_budget="pause"))
    service_alone.billing.calls_room = PRICE
    await workers.start()
    return service_alone


def calling(*texts: str) -> dict[str, Any]:
    """An input whose run calls the echo agent with each of the texts, one after another."""
    return {"text": "hello", "do": "call", "calls": [echo(text) for text in texts], "concurrency": 1}


async def test_calls_without_room_in_the_hold_wait_for_a_budget(short_of_room: Platform) -> None:
    """
    The run waits and says how much its calls need; approved, they are made, and what was called before is kept.
    """
    run = await short_of_room.start(calling("one", "two", "three"), package="probe")
    await waiting(short_of_room, run.id, "budget")
    before = await children(short_of_room, run.id)
    approval = await pending(short_of_room, run.id)
    await decide(short_of_room, approval.id)
    ended = await short_of_room.ended(run.id)

    assert [("succeeded", "Say one")] == [(child.status, child.title) for child in before]
    assert ("budget", "agents.cost", 2 * PRICE) == (
        approval.kind, approval.needed_for, approval.needed.amount,
    )  # fmt: skip
    increase = short_of_room.billing.increased[run.id]
    assert ("agents.cost", approval.needed, approval.needed) == (
        increase.meter, increase.by, increase.raise_limit,
    )  # fmt: skip
    assert "succeeded one, succeeded two, succeeded three" == ended.output["text"]
    assert 3 == len(await children(short_of_room, run.id))


async def test_calls_whose_budget_is_not_raised_are_refused(short_of_room: Platform) -> None:
    """
    Rejected, the refusal is the call's result, and the caller goes on with what it has.
    """
    run = await short_of_room.start(calling("one", "two"), package="probe")
    await waiting(short_of_room, run.id, "budget")
    await decide(short_of_room, (await pending(short_of_room, run.id)).id, approve=False)
    ended = await short_of_room.ended(run.id)

    assert "succeeded one, refused budget_exhausted" == ended.output["text"]
    assert {} == short_of_room.billing.increased


async def test_calls_that_run_out_of_room_again_ask_again(short_of_room: Platform) -> None:
    """
    What was approved may be gone to others meanwhile: then another approval asks, and nobody is called twice.
    """
    run = await short_of_room.start(calling("one", "two"), package="probe")
    await waiting(short_of_room, run.id, "budget")
    first = await pending(short_of_room, run.id)
    short_of_room.billing.others_take = PRICE
    await decide(short_of_room, first.id)

    async def asked_again() -> Any:
        found = await short_of_room.ask(ListApprovals(tenant=TENANT, run=run.id, state="pending"))
        return [one for one in found.items if one.id != first.id]

    [second] = await short_of_room.until(asked_again)
    await decide(short_of_room, second.id)

    assert "succeeded one, succeeded two" == (await short_of_room.ended(run.id)).output["text"]
    assert 2 == len(await children(short_of_room, run.id))


async def test_a_killed_worker_keeps_what_calls_wait_for(short_of_room: Platform, workers: Workers) -> None:
    """
    The wait for a budget survives the worker; the calls go on on another one.
    """
    run = await short_of_room.start(calling("one", "two"), package="probe")
    await waiting(short_of_room, run.id, "budget")
    await workers.stop()
    await decide(short_of_room, (await pending(short_of_room, run.id)).id)
    await workers.start()

    assert "succeeded one, succeeded two" == (await short_of_room.ended(run.id)).output["text"]
    assert 2 == len(await children(short_of_room, run.id))


async def test_an_agent_that_does_not_wait_has_its_calls_refused(probe_platform: Platform) -> None:
    """
    With `over_budget = "baseline"` what billing refuses is the call's result at once.
    """
    await probe_platform.list_package("echo")
    probe_platform.billing.calls_room = PRICE
    ended = await probe_platform.run(calling("one", "two"), package="probe")

    assert "succeeded one, refused budget_exhausted" == ended.output["text"]


async def test_a_refused_call_that_has_no_price_any_more_is_refused_all_the_same(
    short_of_room: Platform,
) -> None:
    """
    Where nobody can say what it would need, the caller is told of the refusal and waits for no budget.
    """
    short_of_room.billing.refuse_quotes = AgoraError("not_found", "no such price")
    ended = await short_of_room.run(calling("one", "two"), package="probe")

    assert "succeeded one, refused budget_exhausted" == ended.output["text"]


async def test_a_budget_of_a_called_run_lets_its_callers_grow(short_of_room: Platform) -> None:
    """
    A called run takes more of its caller; where that has none left, approving it lets the caller's part grow first.
    """
    run = await short_of_room.start(
        {"text": "hello", "do": "call", "calls": [echo("one", steps=3, delay_ms=1000)]}, package="probe"
    )

    async def called() -> Any:
        return await children(short_of_room, run.id)

    [child] = await short_of_room.until(called)
    approvals = Approvals(short_of_room.service.database, short_of_room.service.broker)
    more = NewApproval(
        id=new_id("apr"), run=child.id, step=f"{child.id}/echo/1", kind="budget", action="more",
        timeout_seconds=60, needed=7, needed_for="model.cost",
    )  # fmt: skip
    await approvals.open(more)
    await decide(short_of_room, more.id)

    increased = short_of_room.billing.increased
    assert [(run.id, "agents.cost", 7), (child.id, "model.cost", 7)] == [
        (one.run, one.meter, one.by.amount) for one in increased.values()
    ]
    assert "succeeded one" == (await short_of_room.ended(run.id)).output["text"]
