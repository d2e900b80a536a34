"""`python -m agora_execution.worker`: the Temporal worker that runs agents.

It shares execution's database with the service, which has the outbox relay: what a step emits is published
by the service, woken by the database.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
import uvloop
from agora_kit.objects import FolderObjects
from agora_kit.service import Service
from agora_kit.settings import SettingsError, load_settings
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from agora_execution import agents, temporal, versions
from agora_execution.approvals.activities import ApprovalActivities
from agora_execution.approvals.service import Approvals
from agora_execution.class_workers import ClassWorkers
from agora_execution.deployments.activities import DeploymentActivities
from agora_execution.deployments.artifacts import Artifacts, prune_copies
from agora_execution.deployments.service import Deployments
from agora_execution.deployments.workflows import PrepareDeployment
from agora_execution.files.service import Files
from agora_execution.health.activities import HealthActivities
from agora_execution.health.workflows import CheckPackageHealth
from agora_execution.models.service import ModelCalls
from agora_execution.packages.service import Packages
from agora_execution.provider_keys.sealing import KeyRing
from agora_execution.queues import queue_name
from agora_execution.runs.activities import HEARTBEAT_SECONDS, RunActivities
from agora_execution.runs.admission import Admission
from agora_execution.runs.children import ChildActivities
from agora_execution.runs.ports import StepPorts
from agora_execution.runs.recording import Recorder
from agora_execution.runs.starting import Starter
from agora_execution.runs.turns import FairSteps, Turns
from agora_execution.runs.workflows import AgentRun
from agora_execution.schedules.activities import ScheduleActivities
from agora_execution.schedules.workflows import ScheduledFire
from agora_execution.settings import ExecutionSettings

log = structlog.get_logger()

WORKFLOWS: list[type] = [AgentRun, PrepareDeployment, CheckPackageHealth, ScheduledFire]
_CONNECT_PAUSE_SECONDS = 0.5
_PRUNE_SECONDS = 3600.0
_GRACE_SHARE = 0.8
"""How much of its time to drain a worker leaves to what runs, before it cancels that."""


def activities(service: Service, settings: ExecutionSettings, client: Client) -> list[Any]:
    """Every activity of this worker, on the service's connections."""
    database, broker = service.database, service.broker
    objects = FolderObjects(settings.objects_folder)
    files = Files(
        database,
        objects,
        quota_bytes=settings.file_quota_bytes,
        retention_days=settings.file_retention_days,
    )
    settings.artifacts_folder.mkdir(parents=True, exist_ok=True)
    artifacts = Artifacts(database, settings.artifacts_folder, objects, files, broker)
    model_calls = ModelCalls(database, ring=KeyRing.read(settings.key_encryption_keys))
    ports = StepPorts(database, broker, objects, files, artifacts, model_calls)
    recorder = Recorder(database)
    packages = Packages(database)
    admission = Admission(
        database,
        broker,
        recorder,
        packages,
        Deployments(database, broker, packages, files, client, settings.task_queues),
        files,
        Starter(client, database, settings.task_queues),
        models_configured=lambda: model_calls.configured,
    )
    return [
        *RunActivities(recorder, broker, ports).all,
        *ApprovalActivities(database, Approvals(database, broker)).all,
        *ChildActivities(database, admission, recorder).all,
        *DeploymentActivities(database, artifacts).all,
        *HealthActivities(broker).all,
        *ScheduleActivities(broker).all,
    ]


def build_worker(client: Client, service: Service, settings: ExecutionSettings) -> ClassWorkers:
    """The Temporal workers. Unsandboxed: only our own workflows run here, and replay tests guard them.

    Raises:
        SettingsError: no class is to be served.
    """
    slots = {"standard": settings.worker_slots, "heavy": settings.worker_heavy_slots}
    served = {package_class: places for package_class, places in slots.items() if places > 0}
    if not served:
        raise SettingsError("a worker serves at least one class: set AGORA_WORKER_SLOTS above 0")
    work = activities(service, settings, client)
    # One for all classes: they share this process's computing, whatever their places are.
    turns = Turns(settings.worker_turns, settings.worker_turn_seconds)
    return ClassWorkers(
        [
            Worker(
                client,
                task_queue=queue_name(settings.task_queues, package_class),
                workflows=WORKFLOWS,
                activities=work,
                workflow_runner=UnsandboxedWorkflowRunner(),
                max_concurrent_workflow_tasks=places,
                max_concurrent_local_activities=places,
                max_concurrent_activities=places,
                max_cached_workflows=settings.worker_cached_runs,
                graceful_shutdown_timeout=timedelta(seconds=_GRACE_SHARE * settings.drain_seconds),
                deployment_config=_deployment_config(settings),
                # A step hears of its cancellation with its next heartbeat; left alone, that is sixteen seconds.
                max_heartbeat_throttle_interval=timedelta(seconds=HEARTBEAT_SECONDS),
                interceptors=[FairSteps(turns)],
            )
            for package_class, places in served.items()
        ]
    )


def _deployment_config(settings: ExecutionSettings) -> WorkerDeploymentConfig | None:
    if not settings.worker_deployment:
        return None
    version = WorkerDeploymentVersion(settings.worker_deployment, versions.build_of(settings))
    return versions.deployment_config(version)


async def main() -> None:
    """Work until asked to stop; runs at hand go on at another worker, or here after a restart."""
    settings = load_settings(ExecutionSettings)
    service = Service("worker", settings, package="agora_execution", relay=False)
    await asyncio.to_thread(agents.load_all)

    async def start() -> None:
        client = await _connected(settings)
        service.health.add("temporal", lambda: temporal.check(client))
        working = asyncio.create_task(_work(client, service, settings), name="temporal worker")
        taking_over = asyncio.create_task(_take_over(client, settings), name="taking over")

        async def stop() -> None:
            taking_over.cancel()
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
            await temporal.settle()

        service.on_stop(stop)

    async def prune() -> None:
        await prune_copies(service.database, settings.artifacts_folder)

    service.every(_PRUNE_SECONDS, "copies of artifacts", prune)
    service.on_start(start)
    await service.run()


async def _take_over(client: Client, settings: ExecutionSettings) -> None:
    known = versions.versions_of(client, settings)
    if known is not None and settings.worker_takes_over:
        await known.stand_by(versions.build_of(settings))


async def _work(client: Client, service: Service, settings: ExecutionSettings) -> None:
    """Keep a worker polling: one that fails (Temporal was away for too long) is replaced."""
    while True:
        try:
            await build_worker(client, service, settings).run()
        except Exception as error:
            log.warning("worker stopped, starting another", error=repr(error))
            await asyncio.sleep(_CONNECT_PAUSE_SECONDS)


async def _connected(settings: ExecutionSettings) -> Client:
    # A worker's client cannot be lazy, and Temporal may start after us.
    while True:
        try:
            return await temporal.connect(settings.temporal_address, settings.temporal_namespace, lazy=False)
        except RuntimeError as error:
            log.info("waiting for Temporal", error=repr(error)[:200])
            await asyncio.sleep(_CONNECT_PAUSE_SECONDS)


if __name__ == "__main__":
    uvloop.run(main())
