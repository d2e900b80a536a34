"""Workflows that began under older code go on under today's: recorded histories replay without a difference.

`histories/` holds one history per scenario, written by `./dev histories`.
Record again only when a change to a workflow is meant to break running runs, and never to silence this test.
"""

import json
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from agora import Agent
from agora_contracts.approvals import DecideApproval, ListApprovals
from agora_contracts.catalog import Limits
from agora_contracts.deployments import GetDeployment, StartDeployment
from agora_contracts.envelope import utc_now
from agora_contracts.package_health import CheckPackageHealth as CheckPackageHealthQuery
from agora_contracts.runs import CancelRun
from agora_contracts.schedules import CreateSchedule, ListFires
from agora_contracts.steering import PauseRun, ResumeRun
from agora_execution import temporal
from agora_execution.deployments.workflows import prepare_workflow_id
from agora_execution.worker import WORKFLOWS
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from .asking import ACCOUNT, TENANT, new_id
from .driving import Platform

HISTORIES = Path(__file__).parent / "histories"
RECORD = "AGORA_RECORD_HISTORIES"

type Scenario = Callable[[Platform], Awaitable[str]]


async def _run(platform: Platform, run_input: dict[str, Any], status: str) -> str:
    run = await platform.run({"text": "hello", **run_input}, package="probe")
    assert status == run.status
    await platform.closed(run.id)
    return str(run.id)


async def one_way(platform: Platform) -> str:
    """Short steps, one after the other."""
    return await _run(platform, {}, "succeeded")


async def one_step(platform: Platform) -> str:
    """A run that is one short step."""
    await platform.list_package("echo")
    run = await platform.run({"text": "hello"})
    await platform.closed(run.id)
    return str(run.id)


async def parallel(platform: Platform) -> str:
    """Parts that run at once and are joined."""
    return await _run(platform, {"parts": 4}, "succeeded")


async def long_step(platform: Platform) -> str:
    """A step that is an activity of its own."""
    return await _run(platform, {"long": True}, "succeeded")


async def failed(platform: Platform) -> str:
    """A step that breaks the rules."""
    return await _run(platform, {"do": "unknown_field"}, "failed")


async def broken_router(platform: Platform) -> str:
    """A graph that fails between its steps, in the workflow itself."""
    return await _run(platform, {"do": "broken_router"}, "failed")


async def loop(platform: Platform) -> str:
    """A node that is visited again and again."""
    await platform.list_package("echo")
    run = await platform.run({"text": "hello", "steps": 5})
    await platform.closed(run.id)
    return str(run.id)


async def retried(platform: Platform) -> str:
    """A step that fails at first."""
    await platform.list_package("echo")
    run = await platform.run({"text": "hello", "fail": "retry_once"})
    await platform.closed(run.id)
    return str(run.id)


async def timed_out(platform: Platform) -> str:
    """A run whose time is up in the middle of a step."""
    await platform.list_package("echo", limits=Limits(timeout_seconds=1))
    run = await platform.run({"text": "hello", "steps": 50, "delay_ms": 300})
    assert "timed_out" == run.status
    await platform.closed(run.id)
    return str(run.id)


async def cancelled(platform: Platform) -> str:
    """A run that is cancelled between two steps."""
    await platform.list_package("echo")
    run = await platform.start({"text": "hello", "steps": 50, "delay_ms": 100})
    await platform.until_running(run.id, steps=1)
    await platform.ask(CancelRun(run=run.id, tenant=TENANT))
    assert "cancelled" == (await platform.ended(run.id)).status
    await platform.closed(run.id)
    return str(run.id)


async def cancelled_by_temporal(platform: Platform) -> str:
    """A run that an operator cancels on Temporal's side, in the middle of a step."""
    await platform.list_package("echo")
    run = await platform.start({"text": "hello", "delay_ms": 20_000})
    await platform.until_running(run.id)
    await platform.workflow(run.id).cancel()
    assert "cancelled" == (await platform.ended(run.id)).status
    await platform.closed(run.id)
    return str(run.id)


async def approved(platform: Platform) -> str:
    """A step that asks people twice."""
    run = await platform.start({"text": "hello", "do": "approve_twice"}, package="probe")
    for _ in range(2):

        async def pending() -> Any:
            page = await platform.ask(ListApprovals(tenant=TENANT, run=run.id, state="pending"))
            return page.items[0].id if page.items else None

        approval = await platform.until(pending)
        await platform.ask(
            DecideApproval(approval=approval, approve=True, decided_by="key_one", tenant=TENANT)
        )
    assert "succeeded" == (await platform.ended(run.id)).status
    await platform.closed(run.id)
    return str(run.id)


async def paused(platform: Platform) -> str:
    """A run that rests between two steps."""
    await platform.list_package("echo")
    run = await platform.start({"text": "hello", "steps": 20, "delay_ms": 100})
    await platform.until_running(run.id, steps=1)
    await platform.ask(PauseRun(run=run.id, tenant=TENANT))

    async def rests() -> bool:
        return bool((await platform.get(run.id)).waiting_for == "pause")

    await platform.until(rests)
    await platform.ask(ResumeRun(run=run.id, tenant=TENANT))
    assert "succeeded" == (await platform.ended(run.id)).status
    await platform.closed(run.id)
    return str(run.id)


async def called(platform: Platform) -> str:
    """A step that calls other agents."""
    await platform.list_package("echo")
    calls = [{"package": "echo", "input": {"text": str(number)}} for number in range(3)]
    return await _run(platform, {"do": "call", "calls": calls, "concurrency": 2}, "succeeded")


async def prepared(platform: Platform) -> str:
    """A deployment's configuration."""
    deployment = new_id("dep")
    command = StartDeployment(
        deployment_id=deployment, tenant=TENANT, account=ACCOUNT, fingerprint="f1", package="probe",
        basis="task", config={"word": "hello"},
    )  # fmt: skip
    await platform.ask(command)

    async def active() -> bool:
        found = await platform.ask(GetDeployment(deployment=deployment, tenant=TENANT))
        return bool(found.status == "active")

    await platform.until(active)
    workflow = prepare_workflow_id(deployment, 1)
    await platform.closed(workflow)
    return workflow


async def health(platform: Platform) -> str:
    """A package's health."""
    await platform.ask(CheckPackageHealthQuery(package="probe"))

    async def listed() -> str | None:
        query = f'WorkflowType = "CheckPackageHealth" AND TaskQueue = "{platform.queue}"'
        async for found in platform.client.list_workflows(query):
            return found.id
        return None

    workflow: str = await platform.until(listed)
    await platform.closed(workflow)
    return workflow


async def fired(platform: Platform) -> str:
    """A schedule whose moment comes."""
    await platform.list_package("echo")
    schedule = new_id("sch")
    at = utc_now().replace(microsecond=0) + timedelta(seconds=2)
    command = CreateSchedule(
        schedule=schedule, tenant=TENANT, account=ACCOUNT, fingerprint="f1", package="echo", input={"text": "hello"},
        at=at,
    )  # fmt: skip
    await platform.ask(command)
    workflow = f"fire-{schedule}-{at.strftime('%Y-%m-%dT%H:%M:%SZ')}"

    async def begun() -> bool:
        return bool((await platform.ask(ListFires(schedule=schedule, tenant=TENANT))).items)

    await platform.until(begun)
    await platform.closed(workflow)
    return workflow


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        one_step, one_way, loop, parallel, long_step, retried, failed, broken_router, timed_out, cancelled, cancelled_by_temporal,
        approved, paused, called, prepared, health, fired,
    )
}  # fmt: skip


def replayer() -> Replayer:
    """A replayer with what the worker has: its workflows, its runner and its data converter."""
    return Replayer(
        workflows=WORKFLOWS,
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=temporal.data_converter,
    )


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_recorded_history_replays(probe: Agent, name: str) -> None:
    """
    The workflow's code, as it is now, takes the way that the history says it took then.
    """
    recorded = (HISTORIES / f"{name}.json").read_text(encoding="utf-8")
    await replayer().replay_workflow(WorkflowHistory.from_json(name, recorded))


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_history_of_today_replays(probe_platform: Platform, name: str) -> None:
    """
    What the worker does now is deterministic: it replays, and is recorded when that is asked for.
    """
    workflow = await SCENARIOS[name](probe_platform)
    history = await probe_platform.workflow(workflow).fetch_history()
    await replayer().replay_workflow(history)
    if os.environ.get(RECORD):
        document = _without_machine(json.loads(history.to_json()))
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        (HISTORIES / f"{name}.json").write_text(text, encoding="utf-8")


def test_every_workflow_has_a_recorded_history() -> None:
    """
    No workflow of the worker is left unguarded, and no history is left that nothing replays.
    """
    recorded = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in HISTORIES.glob("*.json")}
    types = {
        history["events"][0]["workflowExecutionStartedEventAttributes"]["workflowType"]["name"]
        for history in recorded.values()
    }

    assert {workflow.__name__ for workflow in WORKFLOWS} == types
    assert set(SCENARIOS) == set(recorded)


def _without_machine(value: Any) -> Any:
    # Where a history was recorded is nobody's business: the process, its machine, its folders.
    if isinstance(value, dict):
        if value.get("kind") == "TASK_QUEUE_KIND_STICKY":
            value = value | {"name": "sticky"}
        return {
            name: "recorder" if name == "identity" else _without_machine(item)
            for name, item in value.items()
            if name != "stackTrace"
        }
    return [_without_machine(item) for item in value] if isinstance(value, list) else value
