"""Whatever dies between two acts of a run is put right, once."""

import asyncio
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from agora import Agent
from agora_contracts.billing import PlaceHold
from agora_contracts.envelope import utc_now
from agora_contracts.platform import ListDeadLetters
from agora_contracts.runs import (
    CancelRun,
    GetRun,
    ListRunEvents,
    RunCharged,
    RunError,
    RunFinished,
    StepRecorded,
)
from agora_contracts.usage import UsageRecorded
from agora_execution import agents
from agora_execution.runs import store
from agora_execution.runs.model import Ending, NewRun, StepResult, UsageItem, step_id, usage_id

from .asking import ACCOUNT, TENANT, new_id
from .conftest import Workers
from .driving import Platform


def accepted(run: str, **changes: Any) -> NewRun:
    """An accepted run of the echo agent, as admission writes it."""
    values: dict[str, Any] = {
        "id": run, "tenant": TENANT, "account": ACCOUNT, "fingerprint": "f1", "requested_by": "key_one",
        "input": {"text": "hello"}, "package": "echo", "version": agents.get("echo").manifest.version, "price_version": "price",
        "basis": "task", "quoted": 10_000, "currency": "USD", "hold_epoch": 1, "timeout_seconds": 300,
        "model_cost": 0, "accepted_at": utc_now(),
    }  # fmt: skip
    return NewRun(**(values | changes))


def step_result(run: str, visit: int = 1, attempt: int = 1, update: bytes = b"{}") -> StepResult:
    """What an attempt at a step of the echo agent brought."""
    step = step_id(run, "echo", visit, "")
    now: datetime = utc_now()
    return StepResult(
        run=run, step=step, node="echo", title="Echo the text", visit=visit, branch="", attempt=attempt,
        started_at=now, finished_at=now, update=update,
        usage=[UsageItem(id=usage_id(step, 0, "echoes"), meter="echoes", quantity=Decimal(1))],
    )  # fmt: skip


async def test_an_accepted_run_without_a_workflow_is_started(platform: Platform) -> None:
    """
    A service that died between accepting a run and starting it: the sweep starts it, as its row says.
    """
    run = new_id("run")
    await platform.recorder.accept(accepted(run, input={"text": "found again"}))
    assert "accepted" == (await platform.get(run)).status

    await platform.sweep()
    ended = await platform.ended(run)

    assert ("succeeded", "found again") == (ended.status, ended.output["text"])


async def test_a_run_cancelled_before_it_has_a_workflow_never_starts(platform: Platform) -> None:
    """
    A cancellation that comes while nothing runs yet is not lost: the run ends as cancelled, with no step.
    """
    run = new_id("run")
    await platform.recorder.accept(accepted(run))
    await platform.ask(CancelRun(run=run, tenant=TENANT))
    await platform.sweep()
    ended = await platform.ended(run)

    assert ("cancelled", 0) == (ended.status, ended.steps)
    assert 1 == len(await platform.events(RunFinished, entity=run))


async def test_a_workflow_terminated_by_an_operator_ends_its_run_once(platform: Platform) -> None:
    """
    Temporal's Terminate gives the workflow no chance to write an end; sweeps do, and only one of them.
    """
    run = await platform.start({"text": "hello", "steps": 50, "delay_ms": 200})
    await platform.until_running(run.id, steps=1)
    await platform.workflow(run.id).terminate("an operator said so")
    await asyncio.gather(*(platform.sweep() for _ in range(3)))
    await platform.sweep()
    ended = await platform.ended(run.id)

    assert ("failed", "terminated", "empty") == (ended.status, ended.error.code, ended.deliverable)
    [finished] = await platform.events(RunFinished, entity=run.id)
    assert finished.data.usage_count == len(await platform.events(UsageRecorded, entity=run.id))


async def test_a_cancellation_that_did_not_arrive_is_sent_again(platform: Platform) -> None:
    """
    A cancellation that was noted and never reached Temporal is delivered by the sweep.
    """
    run = await platform.start({"text": "hello", "steps": 1, "delay_ms": 20_000})
    await platform.until_running(run.id)
    statement = "UPDATE runs SET cancel_requested_at = now() WHERE id = :run"
    await platform.execute(statement, run=run.id)
    await platform.sweep()

    assert "cancelled" == (await platform.ended(run.id)).status


async def test_a_sweep_leaves_healthy_runs_alone(platform: Platform) -> None:
    """
    A run that works is looked at and nothing more.
    """
    run = await platform.start({"text": "hello", "steps": 5, "delay_ms": 100})
    await platform.until_running(run.id)
    assert 1 == await platform.sweep()

    ended = await platform.ended(run.id)
    assert ("succeeded", 5) == (ended.status, ended.steps)
    assert 0 == await platform.sweep()


async def test_a_step_that_comes_after_the_end_is_platform_cost(echo_listed: Platform) -> None:
    """
    What a late attempt used is kept, never billed, and the run's end stays as it was.
    """
    run = new_id("run")
    recorder = echo_listed.recorder
    await recorder.accept(accepted(run))
    await recorder.end(Ending(run=run, outcome="cancelled", at=utc_now()))
    answer = await recorder.record(step_result(run))

    assert "ended" == answer.state
    assert not await echo_listed.events(UsageRecorded, StepRecorded, entity=run)
    [cost] = await echo_listed.rows(
        "SELECT reason, meter, quantity FROM platform_costs WHERE run_id = :r", r=run
    )
    assert ("late", "echoes", "1") == tuple(cost)


async def test_a_step_recorded_twice_counts_once(echo_listed: Platform) -> None:
    """
    The attempt that comes second gets the first one's result back, and what it used is platform cost.
    """
    run = new_id("run")
    recorder = echo_listed.recorder
    await recorder.accept(accepted(run))
    first = await recorder.record(step_result(run, update=b'{"visits":1}'))
    second = await recorder.record(step_result(run, attempt=2, update=b'{"visits":2}'))

    assert ("recorded", "known", b'{"visits":1}') == (first.state, second.state, second.update)
    assert 1 == len(await echo_listed.events(UsageRecorded, entity=run))
    assert ["repeated"] == [row.reason for row in await echo_listed.rows("SELECT reason FROM platform_costs")]


async def test_the_recorded_attempt_itself_comes_again(echo_listed: Platform) -> None:
    """
    Where the answer to a COMMIT was lost, the same attempt is recorded again: what it used is billed, and no
    platform cost as well.
    """
    run = new_id("run")
    recorder = echo_listed.recorder
    await recorder.accept(accepted(run))
    result = step_result(run)
    first, again = await recorder.record(result), await recorder.record(result)

    assert ("recorded", "known") == (first.state, again.state)
    assert 1 == len(await echo_listed.events(UsageRecorded, entity=run))
    assert [] == await echo_listed.rows("SELECT reason FROM platform_costs")


async def test_a_cancellation_does_not_touch_a_run_that_has_ended(echo_listed: Platform) -> None:
    """
    The end won the race: a cancellation that was on its way leaves no mark on the run.
    """
    run = new_id("run")
    await echo_listed.recorder.accept(accepted(run))
    await echo_listed.recorder.end(Ending(run=run, outcome="succeeded", at=utc_now()))
    async with echo_listed.database.system() as connection:
        await store.request_cancel(connection, [run])

    [row] = await echo_listed.rows("SELECT status, cancel_requested_at FROM runs WHERE id = :r", r=run)
    assert ("succeeded", None) == tuple(row)


async def test_attempts_in_one_batch_are_told_apart(echo_listed: Platform) -> None:
    """
    Steps of several runs, some of them twice, in one group commit: each logical step counts once.
    """
    runs = [new_id("run") for _ in range(5)]
    recorder = echo_listed.recorder
    await asyncio.gather(*(recorder.accept(accepted(run)) for run in runs))
    results = [step_result(run, visit, attempt) for run in runs for visit in (1, 2, 3) for attempt in (1, 2)]
    answers = await asyncio.gather(*map(recorder.record, results))

    assert {"recorded": 15, "known": 15} == {
        state: sum(answer.state == state for answer in answers) for state in ("recorded", "known")
    }
    for run in runs:
        rows = await echo_listed.rows(
            "SELECT steps, usage_count, next_seq FROM runs WHERE id = :run", run=run
        )
        assert [(3, 3, 5)] == [tuple(row) for row in rows]
    sequences = await echo_listed.rows(
        "SELECT run_id, seq FROM run_events WHERE seq > 1 ORDER BY run_id, seq"
    )
    assert [(run, seq) for run in sorted(runs) for seq in (2, 3, 4)] == [tuple(row) for row in sequences]


async def test_two_ends_at_once_are_one(echo_listed: Platform) -> None:
    """
    A workflow and a sweep that end the same run: the first one's outcome stands.
    """
    run = new_id("run")
    recorder = echo_listed.recorder
    await recorder.accept(accepted(run))
    error = RunError(code="terminated", detail="an operator terminated the run")
    ended = await asyncio.gather(
        recorder.end(
            Ending(run=run, outcome="succeeded", at=utc_now(), deliverable="full", output={"text": "x"})
        ),
        recorder.end(Ending(run=run, outcome="failed", at=utc_now(), error=error)),
    )

    assert (True, False) == tuple(ended)
    assert "succeeded" == (await echo_listed.get(run)).status
    assert 1 == len(await echo_listed.events(RunFinished, entity=run))


async def test_a_worker_that_dies_in_a_step_costs_the_customer_nothing(
    echo_listed: Platform, workers: Workers
) -> None:
    """
    The steps before stay as they are, the one at hand is done again elsewhere, and each is billed once.
    """
    await workers.start()
    run = await echo_listed.start({"text": "hello", "steps": 6, "delay_ms": 300})
    await echo_listed.until_running(run.id, steps=2)
    await workers.stop()
    await workers.start()
    ended = await echo_listed.ended(run.id)

    assert ("succeeded", 6) == (ended.status, ended.steps)
    events = await echo_listed.events(UsageRecorded, entity=run.id)
    assert 7 == len(events) == len({event.id for event in events})
    assert {"echoes": 6, "tasks": 1} == {one.meter: one.quantity for one in ended.usage}


async def test_runs_go_on_at_a_worker_that_forgets_them(
    probe: Agent, service_alone: Platform, workers: Workers
) -> None:
    """
    A worker that keeps no workflow in memory replays a run at its next turn, and takes the same way.
    """
    await service_alone.list_package("probe")
    await workers.start(worker_cached_runs=0)
    run = await service_alone.run({"text": "hello", "long": True}, package="probe")

    assert ("succeeded", 4) == (run.status, run.steps)
    assert 3 == len(await service_alone.events(UsageRecorded))


# --- charges -------------------------------------------------------------------------------------


@pytest.mark.emits.with_args(RunCharged)
async def test_a_settled_charge_becomes_the_runs_cost(platform: Platform) -> None:
    """
    The charge is journalled after the run's end, told as an event, and shown as the run's cost.
    """
    run = await platform.run({"text": "hello"})
    assert run.cost is None
    await platform.charge(run.id, 10_000)
    charged = await platform.ask(GetRun(run=run.id, tenant=TENANT, wait_seconds=20))

    assert 10_000 == charged.cost.amount
    [event] = await platform.events(RunCharged, entity=run.id)
    assert (5, 1, 10_000) == (event.data.seq, event.data.revision, event.data.amount.amount)
    entries = (await platform.ask(ListRunEvents(run=run.id, tenant=TENANT, after=4))).items
    assert [(5, "run.charged")] == [(entry.seq, entry.type) for entry in entries]


async def test_charges_that_come_twice_or_late_leave_the_newest_standing(platform: Platform) -> None:
    """
    A later revision stands, whatever order the charges come in; the same one again changes nothing.
    """
    run = await platform.run({"text": "hello"})
    for amount, revision in ((30_000, 3), (10_000, 1), (30_000, 3), (20_000, 2), (40_000, 4)):
        await platform.charge(run.id, amount, revision)

    async def newest() -> bool:
        cost = (await platform.get(run.id)).cost
        return cost is not None and cost.amount == 40_000

    await platform.until(newest)
    revisions = [event.data.revision for event in await platform.events(RunCharged, entity=run.id)]
    assert sorted(revisions) == revisions and 4 == revisions[-1] and len(set(revisions)) == len(revisions)
    rows = await platform.rows("SELECT seq FROM run_events WHERE run_id = :run ORDER BY seq", run=run.id)
    assert list(range(1, len(rows) + 1)) == [row.seq for row in rows]


async def test_a_refund_lowers_the_runs_cost(platform: Platform) -> None:
    """
    Refunds come off the newest charge, whichever comes first, twice or late; the journal tells of each.
    """
    run = await platform.run({"text": "hello"})

    async def costs(amount: int) -> None:
        async def so() -> bool:
            cost = (await platform.get(run.id)).cost
            return cost is not None and cost.amount == amount

        await platform.until(so)

    await platform.refund(run.id, 1_000)
    await platform.until(
        lambda: platform.rows("SELECT 1 FROM runs WHERE id = :run AND refund_number = 1", run=run.id)
    )
    await platform.charge(run.id, 10_000)
    await costs(9_000)
    await platform.refund(run.id, 4_000, number=3)
    await costs(6_000)
    for number, refunded in ((2, 2_000), (3, 4_000), (1, 1_000)):
        await platform.refund(run.id, refunded, number)
    await platform.charge(run.id, 12_000, revision=2)
    await costs(8_000)

    told = [event.data for event in await platform.events(RunCharged, entity=run.id)]
    assert [(1, 9_000, 1_000), (1, 6_000, 4_000), (2, 8_000, 4_000)] == [
        (fact.revision, fact.amount.amount, fact.refunded.amount) for fact in told
    ]
    assert [1, 0, 1] == [len(fact.lines) for fact in told]
    rows = await platform.rows("SELECT seq FROM run_events WHERE run_id = :run ORDER BY seq", run=run.id)
    assert list(range(1, len(rows) + 1)) == [row.seq for row in rows]


async def test_a_charge_for_an_unknown_run_is_put_aside(echo_listed: Platform) -> None:
    """
    A charge that fits no run becomes a dead letter with its reason, and those behind it go through.
    """
    await echo_listed.charge(new_id("run"), 10_000)

    async def letters() -> Any:
        page = await echo_listed.asker.ask_shared(ListDeadLetters(), "execution")
        return page.items

    [letter] = await echo_listed.until(letters)
    assert "unknown run" in letter.reason


async def test_waiting_for_a_run_ends_with_its_charge(platform: Platform) -> None:
    """
    Many may wait for one run; all are answered once it is charged, and a wait that is too short is answered as is.
    """
    run = await platform.start({"text": "hello", "delay_ms": 300})
    early = await platform.ask(GetRun(run=run.id, tenant=TENANT, wait_seconds=0))
    waiting = [
        asyncio.create_task(platform.ask(GetRun(run=run.id, tenant=TENANT, wait_seconds=30)))
        for _ in range(5)
    ]
    await platform.ended(run.id)
    await platform.charge(run.id, 10_000)
    answers = await asyncio.gather(*waiting)

    assert early.cost is None
    assert [("succeeded", 10_000)] * 5 == [(one.status, one.cost.amount) for one in answers]


async def test_the_hold_of_a_run_is_asked_for_with_what_it_is_for(echo_listed: Platform) -> None:
    """
    Billing gets the run's id, fingerprint, pinned price and estimates: all it needs to answer a retry alike.
    """
    run = await echo_listed.start({"text": "hello"})
    [placed] = echo_listed.billing.placed

    expected = PlaceHold(
        run=run.id, fingerprint="f1", tenant=TENANT, account=ACCOUNT, price_version="price_echo_1.1.0",
        basis="task", estimates=placed.estimates, api_key="key_one",
    )  # fmt: skip
    assert expected == placed
    assert [("tasks", Decimal(1))] == [(one.meter, one.quantity) for one in placed.estimates]
