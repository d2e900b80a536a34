"""Whether a package can work now, and what a run tells while it works."""

import asyncio
from decimal import Decimal

import msgspec
import pytest
from agora import Agent
from agora_contracts.catalog import Schemas
from agora_contracts.package_health import CheckPackageHealth
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunProgress
from agora_contracts.subjects import PLATFORM_TENANT, live_subject
from agora_execution import agents

from .asking import TENANT, new_id, published, start_command
from .driving import Platform


async def test_a_package_that_works_is_healthy(probe_platform: Platform) -> None:
    """
    Its tools were exercised on a worker, its schemas are what the catalogue has, and its runs are counted.
    """
    await probe_platform.run({"text": "hello"}, package="probe")
    await probe_platform.run({"text": "hello", "do": "no_output"}, package="probe")
    health = await probe_platform.ask(CheckPackageHealth(package="probe"))

    assert ("healthy", True, {"hammer": True, "saw": True}, False) == (
        health.status, health.schema_ok, health.tools, health.model_reachable,
    )  # fmt: skip
    assert Decimal("0.5") == health.success_rate
    assert health.last_success_at is not None


async def test_a_package_is_asked_once_by_all_who_ask_at_once(probe_platform: Platform) -> None:
    """
    Many who want to know a package's health at the same time start one workflow, and all get its answer.
    """
    answers = await asyncio.gather(
        *(probe_platform.ask(CheckPackageHealth(package="probe")) for _ in range(8))
    )
    started = f'WorkflowType = "CheckPackageHealth" AND TaskQueue = "{probe_platform.queue}"'

    async def listed() -> int:
        return (await probe_platform.client.count_workflows(started)).count

    await probe_platform.until(listed)
    assert {"healthy"} == {answer.status for answer in answers}
    assert 1 == await listed()


async def test_a_package_whose_schemas_differ_is_unhealthy(probe_platform: Platform) -> None:
    """
    A worker with other code than the catalogue lists cannot be trusted with its runs.
    """
    listed = published(agents.get("probe"), version="1.1.0")
    other = Schemas(input={"type": "object"}, output={}, config={})
    await probe_platform.publish(PLATFORM_TENANT, msgspec.structs.replace(listed, schemas=other))
    await probe_platform.until(lambda: probe_platform.rows("SELECT 1 FROM packages WHERE version = '1.1.0'"))
    health = await probe_platform.ask(CheckPackageHealth(package="probe", version="1.1.0"))

    assert ("unhealthy", False) == (health.status, health.schema_ok)


async def test_a_package_that_is_not_listed_has_no_health(service_alone: Platform) -> None:
    """
    An unknown package is not found.
    """
    with pytest.raises(AgoraError) as caught:
        await service_alone.ask(CheckPackageHealth(package="unheard-of"))

    assert "not_found" == caught.value.slug


async def test_a_package_from_elsewhere_is_unhealthy_here(probe: Agent, service_alone: Platform) -> None:
    """
    No worker runs it, so nothing can be said of its tools.
    """
    await service_alone.list_package("probe", first_party=False)
    health = await service_alone.ask(CheckPackageHealth(package="probe"))

    assert ("unhealthy", {"worker": False}) == (health.status, health.tools)


async def test_progress_is_seen_live(platform: Platform) -> None:
    """
    Whoever listens to a run's live subject hears its steps' progress while they work.
    """
    run = new_id("run")
    heard: asyncio.Queue[RunProgress] = asyncio.Queue()

    async def hear(message: object) -> None:
        heard.put_nowait(msgspec.json.decode(message.data, type=RunProgress))  # type: ignore[attr-defined]

    client = platform.asker.client
    subscription = await client.subscribe(live_subject(TENANT, run), cb=hear)
    await client.flush()
    await platform.ask(start_command({"text": "hello", "steps": 2}, run_id=run))
    async with asyncio.timeout(30):
        first, second = await heard.get(), await heard.get()
    await subscription.unsubscribe()

    assert [("visit 1 of 2", 0.5), ("visit 2 of 2", 1.0)] == [
        (one.message, one.fraction) for one in (first, second)
    ]
    assert f"{run}/echo/1" == first.step
