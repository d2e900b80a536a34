"""Classes of packages: each has a queue and places of its own."""

import msgspec
import pytest
from agora import Agent
from agora_contracts.catalog import Limits
from agora_contracts.runs import CancelRun
from agora_execution.queues import class_queue, queue_name
from agora_execution.worker import build_worker
from agora_kit.settings import SettingsError

from .asking import TENANT, new_id
from .conftest import Workers
from .driving import Platform
from .test_recovery import accepted

HEAVY = Limits(timeout_seconds=3600, package_class="heavy")


async def test_heavy_runs_take_no_places_of_others(
    probe: Agent, service_alone: Platform, workers: Workers
) -> None:
    """
    Where heavy runs fill their places and more of them wait, a standard run is worked on at once.
    """
    await service_alone.list_package("echo", limits=HEAVY)
    await service_alone.list_package("probe")
    await workers.start(worker_slots=2, worker_heavy_slots=2)
    long = {"text": "heavy", "steps": 100, "delay_ms": 30_000}
    heavy = [await service_alone.start(long) for _ in range(3)]
    for _ in range(3):
        run = await service_alone.run({"text": "light"}, package="probe")
        assert "succeeded" == run.status

    states = {(await service_alone.get(run.id)).status for run in heavy}
    assert {"accepted", "running"} == states
    for run in heavy:
        await service_alone.ask(CancelRun(run=run.id, tenant=TENANT))


async def test_a_worker_serves_the_classes_that_it_has_places_for(
    service_alone: Platform, workers: Workers
) -> None:
    """
    A heavy run waits for a worker that serves heavy packages, and ends once there is one.
    """
    await service_alone.list_package("echo", limits=HEAVY)
    await workers.start(worker_heavy_slots=0)
    run = await service_alone.start({"text": "hello"})
    queues = service_alone.settings.task_queues
    description = await service_alone.workflow(run.id).describe()
    assert queue_name(queues, "heavy") == description.task_queue
    await workers.start(worker_slots=0)

    assert "succeeded" == (await service_alone.ended(run.id)).status


async def test_a_heavy_run_that_was_never_started_waits_in_its_own_queue(service_alone: Platform) -> None:
    """
    What the sweep starts goes where admission would have sent it.
    """
    await service_alone.list_package("echo", limits=HEAVY)
    run = new_id("run")
    await service_alone.recorder.accept(accepted(run))
    await service_alone.sweep()
    description = await service_alone.workflow(run).describe()

    assert queue_name(service_alone.settings.task_queues, "heavy") == description.task_queue


async def test_a_worker_without_any_place_says_so(service_alone: Platform) -> None:
    """
    A worker that would serve nothing does not start, and says what to set.
    """
    nothing = msgspec.structs.replace(service_alone.settings, worker_slots=0, worker_heavy_slots=0)
    with pytest.raises(SettingsError, match="AGORA_WORKER_SLOTS"):
        build_worker(service_alone.client, service_alone.service, nothing)


def test_a_called_package_waits_in_the_queue_of_its_class() -> None:
    """
    Whatever the queues are called, and whatever class calls.
    """
    assert "agora-heavy" == class_queue("agora-standard", "heavy")
    assert "queue-of-a-test-standard" == class_queue(queue_name("queue-of-a-test", "heavy"), "standard")
