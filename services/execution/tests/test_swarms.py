"""A swarm on the platform while its workers die: every step is taken once, and nothing it found is lost."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from agora_contracts.approvals import ListApprovals
from agora_contracts.runs import CancelRun
from agora_contracts.steering import ListChildren, RerunRun
from agora_contracts.swarms import ListFindings
from sqlalchemy import text

from .asking import ACCOUNT, TENANT, new_id
from .conftest import Workers
from .driving import Platform
from .test_children import PRICE

COMPOSE = "services:\n  web:\n    image: nginx:{number}.0\n    privileged: true\n    mem_limit: 1g\n"


@pytest.fixture
async def swarm_platform(service_alone: Platform) -> Platform:
    """Execution without a worker, which knows the swarm, its workers and the echo agent."""
    for package in ("swarm", "swarm-worker", "echo"):
        await service_alone.list_package(package)
    return service_alone


async def audit_goal(platform: Platform, files: int) -> dict[str, Any]:
    """An audit of so many files, each with one critical finding."""
    listed = []
    for number in range(1, files + 1):
        name = f"{number}.yaml"
        uploaded = await platform.upload(COMPOSE.format(number=number).encode(), name=name)
        listed.append({"file": uploaded, "path": name})
    return {"kind": "audit", "files": listed}


async def children(platform: Platform, run: str) -> list[Any]:
    """The agents of a swarm."""
    found: list[Any] = (await platform.ask(ListChildren(run=run, tenant=TENANT, limit=200))).items
    return found


async def recorded(platform: Platform) -> tuple[Counter[str], int]:
    """How often each step was recorded, and how many usage events there are for each item of work."""
    steps = await platform.rows("SELECT run_id || '/' || node || '/' || visit AS step FROM steps")
    return Counter(row.step for row in steps), len(steps)


async def test_a_killed_worker_at_any_moment_costs_no_step_twice(
    swarm_platform: Platform, workers: Workers
) -> None:
    """
    Workers are cut off again and again while a swarm works: it ends, each step of it and of its agents is recorded
    once, and it claims what it would have claimed undisturbed.
    """
    goal = await audit_goal(swarm_platform, 12)
    await workers.start()
    draw = random.Random(7)
    started = await swarm_platform.start({"goal": goal, "concurrency": 4}, package="swarm")
    ending = asyncio.create_task(swarm_platform.ended(started.id))
    while not ending.done():
        await asyncio.wait([ending], timeout=draw.uniform(0.3, 1.2))
        if not ending.done():
            await workers.start()
            await workers.stop()
    run = await ending
    agents = await children(swarm_platform, run.id)
    steps, _ = await recorded(swarm_platform)

    assert ("succeeded", "full") == (run.status, run.deliverable), run.error
    assert 12 == run.output["claims_in_all"]
    assert {"succeeded"} == {agent.status for agent in agents}
    assert {1} == set(steps.values())
    # One usage event for each of its steps that has usage: none was counted twice.
    assert len(agents) == run.output["agents"]
    page = await swarm_platform.ask(ListFindings(run=run.id, tenant=TENANT, topic="finding"))
    assert 12 == page.total


async def test_what_agents_find_is_not_in_the_histories(swarm_platform: Platform, workers: Workers) -> None:
    """
    The coordinator's history holds plans and counts; findings stand in rows.
    """
    await workers.start()
    run = await swarm_platform.run({"goal": await audit_goal(swarm_platform, 10)}, package="swarm")
    history = await swarm_platform.client.get_workflow_handle(run.id).fetch_history()
    size = sum(event.ByteSize() for event in history.events)

    assert "succeeded" == run.status, run.error
    assert "privileged: true" not in history.to_json()
    assert size < 200_000


async def test_cancelling_a_swarm_ends_its_agents(swarm_platform: Platform, workers: Workers) -> None:
    """
    Agents that are at work are cancelled with it, and those that wait for their turn never begin.
    """
    await workers.start()
    inputs = [{"text": str(number), "delay_ms": 20_000} for number in range(6)]
    goal = {"kind": "map", "package": "echo", "inputs": inputs}
    started = await swarm_platform.start({"goal": goal, "concurrency": 3}, package="swarm")

    async def three_at_work() -> bool:
        agents = await children(swarm_platform, started.id)
        return len([agent for agent in agents if agent.status == "running"]) == 3

    await swarm_platform.until(three_at_work)
    await swarm_platform.ask(CancelRun(run=started.id, tenant=TENANT))
    run = await swarm_platform.ended(started.id)

    async def all_ended() -> Any:
        agents = await children(swarm_platform, started.id)
        return agents if all(agent.finished_at for agent in agents) else None

    agents = await swarm_platform.until(all_ended)

    assert "cancelled" == run.status
    assert [("cancelled")] * 3 == [agent.status for agent in agents]


async def test_a_swarm_begun_again_from_its_failed_step_keeps_what_was_found(
    swarm_platform: Platform, workers: Workers
) -> None:
    """
    Of a swarm whose review is taken again, the engineers' findings are read from the run before.
    """
    await workers.start()
    first = await swarm_platform.run({"goal": await audit_goal(swarm_platform, 3)}, package="swarm")
    steps = await swarm_platform.steps(first.id)
    review = next(step for step in steps if step.node == "review")
    again = await swarm_platform.ask(
        RerunRun(
            run_id=new_id("run"), origin=first.id, tenant=TENANT, account=ACCOUNT, fingerprint="f2",
            requested_by="key_one", before=review.id,
        )
    )  # fmt: skip
    run = await swarm_platform.ended(again.id)

    assert "succeeded" == run.status, run.error
    assert first.output["claims_in_all"] == run.output["claims_in_all"] == 3


async def test_rows_of_findings_belong_to_their_tenant(swarm_platform: Platform, workers: Workers) -> None:
    """
    Every finding of a swarm carries the tenant and the root run.
    """
    await workers.start()
    run = await swarm_platform.run({"goal": await audit_goal(swarm_platform, 2)}, package="swarm")
    async with swarm_platform.database.system() as connection:
        rows = (await connection.execute(text("SELECT DISTINCT tenant_id, root_id FROM findings"))).all()

    assert [(TENANT, run.id)] == [tuple(row) for row in rows]


async def test_a_budget_for_two_of_three_inputs_does_two(swarm_platform: Platform, workers: Workers) -> None:
    """
    The one for which the hold has no room is given up with what it would have needed; the swarm waits for nobody.
    """
    swarm_platform.billing.calls_room = 2 * PRICE
    await workers.start()
    goal = {"kind": "map", "package": "echo", "inputs": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}
    run = await swarm_platform.run({"goal": goal, "budget": "0.02", "concurrency": 1}, package="swarm")

    assert ("succeeded", "partial") == (run.status, run.deliverable), run.error
    assert ["a", "b"] == [one["output"]["text"] for one in run.output["results"] if one["output"]]
    [lost] = run.output["given_up"]
    assert ("i3", "budget_exhausted") == (lost["item"], lost["code"])
    assert "it needs 0.01 USD" in lost["reason"]
    assert [] == (await swarm_platform.ask(ListApprovals(tenant=TENANT, run=run.id))).items
