"""What operators read of a run in Temporal, and how they find it."""

from typing import Any

from agora import Agent
from agora_contracts.catalog import MODEL_COST_METER
from agora_contracts.money import Money
from agora_contracts.search_attributes import SEARCH_ATTRIBUTES
from agora_execution import agents, temporal
from agora_execution.runs import describing
from agora_execution.runs.describing import Order
from agora_execution.runs.tasks import RunTask

from tests.support.llm_wire import Wire

from .asking import new_id
from .conftest import Workers
from .driving import Platform

TASK = RunTask(
    run="run_1", tenant="ten_1", package="echo", version="1.0.0", input={}, timeout_seconds=300, deployment="dep_1"
)  # fmt: skip


def test_a_summary_says_what_runs_for_whom() -> None:
    """
    One line: package, version, deployment, customer, and the run that called it.
    """
    assert "echo 1.0.0 on dep_1 for ten_1" == describing.summary(TASK)
    assert "Ask *all*: echo 1.0.0 on dep_1 for ten_1, called by run_0".replace("*", "") == describing.summary(
        TASK, "run_0", "Ask *all*"
    )


def test_details_say_who_what_and_where() -> None:
    """
    Who asked, what was quoted, how long it may take, and where the API shows it.
    """
    told = describing.details(TASK, Order(quoted=Money(amount=500_000), requested_by="key_1", parent="run_0"))

    assert [
        "**echo 1.0.0** as deployment `dep_1`",
        "- customer `ten_1`, asked for by `key_1`",
        "- at most 0.500000 USD and 300 s of its own time",
        "- run `run_1`: `/api/v1/runs/run_1`, its steps `/api/v1/runs/run_1/steps`",
        "- called by run `run_0`: `/api/v1/runs/run_0`",
    ] == told.splitlines()


def test_what_a_customer_wrote_is_no_markup() -> None:
    """
    A word of the customer's cannot make a link, a picture or a line of its own.
    """
    told = describing.details(TASK, Order(requested_by="![x](http://evil)\n# `big`" + "y" * 500))

    assert "- customer `ten_1`, asked for by `!x(http://evil)# big" in told
    assert max(len(line) for line in told.splitlines()) < 200


async def test_a_run_is_found_by_tenant_and_package(service_alone: Platform) -> None:
    """
    From its start a run carries what operators search for, its summary and its details; its id is the workflow's.
    """
    await service_alone.list_package("echo")
    tenant = new_id("ten")
    run = await service_alone.start({"text": "hello"}, tenant=tenant)
    query = f'AgoraTenant = "{tenant}" AND AgoraPackage = "echo" AND AgoraStatus = "running" AND AgoraCostMicros = 0'

    async def found() -> list[str]:
        return [one.id async for one in service_alone.client.list_workflows(query)]

    assert [run.id] == await service_alone.until(found)
    description = await service_alone.workflow(run.id).describe()
    version = agents.get("echo").manifest.version
    assert f"echo {version} for {tenant}" == await description.static_summary()
    assert f"/api/v1/runs/{run.id}" in (await description.static_details() or "")
    assert tenant == description.raw_info.priority.fairness_key


async def test_what_a_run_has_cost_is_shown(
    vendor: Wire, probe: Agent, service_alone: Platform, workers: Workers
) -> None:
    """
    An operator finds ended runs by how they ended and by what their models have cost.
    """
    await service_alone.list_package("probe")
    await workers.start()
    run = await service_alone.run({"text": "hello", "do": "ask"}, package="probe")
    cost = next(one.quantity for one in run.usage if one.meter == MODEL_COST_METER)
    query = (
        f'WorkflowId = "{run.id}" AND AgoraStatus = "succeeded" AND AgoraCostMicros = {int(cost * 1_000_000)}'
    )

    async def found() -> list[str]:
        return [one.id async for one in service_alone.client.list_workflows(query)]

    assert cost > 0
    assert [run.id] == await service_alone.until(found)


async def test_search_attributes_are_registered_once(service_alone: Platform, monkeypatch: Any) -> None:
    """
    A server that knows them all is left alone; one that lacks some is told those.
    """
    assert [] == await temporal.register_search_attributes(service_alone.client)
    name = f"Agora{new_id('x')}"
    monkeypatch.setattr(temporal, "SEARCH_ATTRIBUTES", {**SEARCH_ATTRIBUTES, name: "Keyword"})

    assert [name] == await temporal.register_search_attributes(service_alone.client)
    assert [] == await temporal.register_search_attributes(service_alone.client)
