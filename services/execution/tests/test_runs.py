"""A run from its acceptance to its charge: states, steps, usage, retries, failures."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from agora import Agent
from agora_contracts.catalog import Limits
from agora_contracts.runs import RunAccepted, RunFinished, RunStarted, StepRecorded
from agora_contracts.usage import ListRunUsage, UsageRecorded

from .asking import TENANT, start_command
from .conftest import Workers
from .driving import Platform


def meters(usage: list[Any]) -> dict[str, Decimal]:
    """Quantities by meter."""
    return {one.meter: one.quantity for one in usage}


async def journal(platform: Platform, run: str) -> list[tuple[int, str]]:
    """The run's journal: sequence numbers and types."""
    rows = await platform.rows("SELECT seq, type FROM run_events WHERE run_id = :run ORDER BY seq", run=run)
    return [(row.seq, row.type) for row in rows]


@pytest.mark.emits.with_args(RunStarted)
@pytest.mark.emits.with_args(StepRecorded)
@pytest.mark.emits.with_args(UsageRecorded)
@pytest.mark.emits.with_args(RunFinished)
async def test_a_run_goes_from_acceptance_to_its_end(platform: Platform) -> None:
    """
    A run of one step delivers its output, and its journal, events and usage tell the same story in order.
    """
    run = await platform.run({"text": "hello"})

    assert ("succeeded", "full", "hello", 1) == (run.status, run.deliverable, run.output["text"], run.steps)
    assert run.accepted_at <= run.started_at <= run.finished_at
    assert {"echoes": 1, "tasks": 1} == meters(run.usage)
    assert [run.id] == platform.billing.confirmed
    assert [
        (1, "run.accepted"), (2, "run.started"), (3, "step.recorded"), (4, "run.finished"),
    ] == await journal(platform, run.id)  # fmt: skip
    facts = await platform.events(RunAccepted, RunStarted, StepRecorded, RunFinished, entity=run.id)
    assert [(n, f"{run.id}.{n}", n) for n in (1, 2, 3, 4)] == [
        (event.sequence, event.id, event.data.seq)
        if event.type != "agora.run.accepted.v1"
        else (1, event.id, 1)
        for event in facts
    ]
    finished = facts[-1].data
    assert ("succeeded", "full", 2, None) == (
        finished.outcome, finished.deliverable, finished.usage_count, finished.error,
    )  # fmt: skip


async def test_usage_events_are_named_after_their_step(platform: Platform) -> None:
    """
    Ids of usage come from step, place and meter; metering can ask for all of them.
    """
    run = await platform.run({"text": "hello", "steps": 2})
    events = await platform.events(UsageRecorded, entity=run.id)

    ids = [f"{run.id}/echo/1#0:echoes", f"{run.id}/echo/2#0:echoes", f"{run.id}/echo/2#1:tasks"]
    assert ids == [event.id for event in events]
    assert ids == (await platform.ask(ListRunUsage(run=run.id, tenant=TENANT))).ids
    assert {(run.id, "echo", TENANT)} == {(e.data.run, e.data.package, e.tenant) for e in events}


async def test_a_loop_makes_one_step_per_visit(platform: Platform) -> None:
    """
    Each visit of a node is a step of its own, numbered, in the journal's order without gaps.
    """
    run = await platform.run({"text": "hello", "steps": 5})
    steps = await platform.steps(run.id)

    assert [(f"{run.id}/echo/{n}", n, 1) for n in range(1, 6)] == [(s.id, s.visit, s.attempt) for s in steps]
    assert list(range(1, 9)) == [seq for seq, _ in await journal(platform, run.id)]
    assert {"echoes": 5, "tasks": 1} == meters(run.usage)


async def test_parallel_steps_have_a_branch_each(probe_platform: Platform) -> None:
    """
    Parts that run at once are steps of the same node and visit, told apart by their branch.
    """
    run = await probe_platform.run({"text": "hello", "parts": 5}, package="probe")
    steps = await probe_platform.steps(run.id)

    assert ("succeeded", [0, 1, 2, 3, 4]) == (run.status, run.output["parts"])
    parts = sorted(step.id for step in steps if step.node == "part")
    assert [f"{run.id}/part/1/{branch}" for branch in range(5)] == parts
    assert Decimal(5) == meters(run.usage)["parts"]
    assert list(range(1, 12)) == [seq for seq, _ in await journal(probe_platform, run.id)]


async def test_a_long_step_is_an_activity_that_operators_see(probe_platform: Platform) -> None:
    """
    A step that says it is long stands in the workflow's history; short ones leave only their results there.
    """
    run = await probe_platform.run({"text": "hello", "long": True}, package="probe")
    history = await probe_platform.workflow(run.id).fetch_history()

    scheduled = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert ("succeeded", ["run_step"]) == (run.status, scheduled)
    assert Decimal("0.5") == meters(run.usage)["digs"]


async def test_a_short_run_starts_no_timer(platform: Platform) -> None:
    """
    The run's time limit costs nothing on Temporal's side where the run is over before it matters.
    """
    run = await platform.run({"text": "hello"})
    await platform.closed(run.id)
    history = await platform.workflow(run.id).fetch_history()

    assert not [e for e in history.events if e.HasField("timer_started_event_attributes")]
    assert len(history.events) <= 8


async def test_a_step_that_fails_once_counts_once(platform: Platform) -> None:
    """
    The attempt that succeeds is the one that is recorded, with its number; usage is counted once.
    """
    run = await platform.run({"text": "hello", "fail": "retry_once"})
    [step] = await platform.steps(run.id)

    assert ("succeeded", 2) == (run.status, step.attempt)
    assert {"echoes": 1, "tasks": 1} == meters(run.usage)
    assert 2 == len(await platform.events(UsageRecorded, entity=run.id))


async def test_a_run_whose_step_crashes_fails_with_the_reason(platform: Platform) -> None:
    """
    After its policy's attempts the run has failed: it says which step, delivers nothing and used nothing.
    """
    run = await platform.run({"text": "hello", "fail": "crash"})

    assert ("failed", "step_failed", "empty", None) == (
        run.status, run.error.code, run.deliverable, run.output,
    )  # fmt: skip
    assert "'Echo the text'" in run.error.detail and "3 times" in run.error.detail
    assert not await platform.events(UsageRecorded, entity=run.id)
    [finished] = await platform.events(RunFinished, entity=run.id)
    assert ("failed", 0, "step_failed") == (
        finished.data.outcome, finished.data.usage_count, finished.data.error.code,
    )  # fmt: skip


async def test_an_input_that_the_agent_rejects_is_not_tried_again(platform: Platform) -> None:
    """
    The agent's own code, sentence and place reach the customer.
    """
    run = await platform.run({"text": "hello", "fail": "rejected"})

    assert ("failed", "asked_to_reject", "$.fail") == (run.status, run.error.code, run.error.place)
    assert "The input asked to be rejected." == run.error.detail


async def test_an_input_that_only_the_agent_can_refuse_fails_with_its_rule(probe_platform: Platform) -> None:
    """
    A rule that a JSON Schema cannot state is the input's fault, and told as such.
    """
    run = await probe_platform.run({"text": " padded "}, package="probe")

    assert ("failed", "invalid_input") == (run.status, run.error.code)
    assert "must not begin or end with a space" in run.error.detail


@pytest.mark.parametrize(
    ("deed", "code", "word"),
    [
        ("hang", "step_failed", "longer than its limit"),
        ("unknown_field", "agent_error", "surprise"),
        ("no_output", "agent_error", "output"),
        ("broken_router", "internal", "our side"),
        ("large_update", "agent_error", "file"),
        ("large_output", "agent_error", "file"),
    ],
)
async def test_an_agent_that_misbehaves_fails_its_run_clearly(
    probe_platform: Platform, deed: str, code: str, word: str
) -> None:
    """
    A step that hangs, breaks the rules or makes too much ends its run with a reason, and not the worker.
    """
    run = await probe_platform.run({"text": "hello", "do": deed}, package="probe")

    assert ("failed", code) == (run.status, run.error.code)
    assert word in run.error.detail
    assert "succeeded" == (await probe_platform.run({"text": "hello"}, package="probe")).status


async def test_an_output_that_cannot_be_stored_as_it_is_still_arrives(probe_platform: Platform) -> None:
    """
    U+0000 in what an agent delivers becomes U+FFFD, as the database has no place for it.
    """
    run = await probe_platform.run({"text": "hello", "do": "null_character"}, package="probe")

    assert ("succeeded", "before\ufffdafter") == (run.status, run.output["text"])


async def test_a_run_that_takes_too_long_times_out(service_alone: Platform, workers: Workers) -> None:
    """
    The manifest's limit ends a run in the middle of a step; the steps before it stay recorded.
    """
    await service_alone.list_package("echo", limits=Limits(timeout_seconds=1))
    await workers.start()
    run = await service_alone.run({"text": "hello", "steps": 100, "delay_ms": 300})

    assert ("timed_out", "timed_out", "empty") == (run.status, run.error.code, run.deliverable)
    assert 1 <= run.steps <= 3


async def test_a_run_whose_time_is_up_between_attempts_times_out(
    service_alone: Platform, workers: Workers
) -> None:
    """
    A failed step is not tried again where the run's time would pass before that.
    """
    await service_alone.list_package("echo", limits=Limits(timeout_seconds=2))
    await workers.start()
    run = await service_alone.run({"text": "hello", "fail": "crash"})

    assert ("timed_out", 0) == (run.status, run.steps)


async def test_a_long_steps_time_is_the_runs(probe: Agent, service_alone: Platform, workers: Workers) -> None:
    """
    An activity with a heartbeat is cut off by the run's limit as well.
    """
    await service_alone.list_package("probe", limits=Limits(timeout_seconds=1))
    await workers.start()
    run = await service_alone.run({"text": "hello", "do": "dig_slowly", "long": True}, package="probe")

    assert ("timed_out", 2) == (run.status, run.steps)


async def test_many_runs_at_once_each_end_once(platform: Platform) -> None:
    """
    Runs that share batches and a worker do not mix their steps, usage or ends.
    """
    commands = [start_command({"text": f"text {n}", "steps": 1 + n % 3}) for n in range(30)]
    await asyncio.gather(*map(platform.ask, commands))
    ended = await asyncio.gather(*(platform.ended(command.run_id) for command in commands))

    assert [(f"text {n}", 1 + n % 3) for n in range(30)] == [(run.output["text"], run.steps) for run in ended]
    assert [{"echoes": 1 + n % 3, "tasks": 1} for n in range(30)] == [meters(run.usage) for run in ended]
    assert 30 == len(await platform.events(RunFinished))
