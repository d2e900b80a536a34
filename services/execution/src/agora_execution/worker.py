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
from agora_kit.settings import load_settings
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from agora_execution import agents, temporal
from agora_execution.approvals.activities import ApprovalActivities
from agora_execution.approvals.service import Approvals
from agora_execution.deployments.activities import DeploymentActivities
from agora_execution.deployments.artifacts import Artifacts
from agora_execution.deployments.service import Deployments
from agora_execution.deployments.workflows import PrepareDeployment
from agora_execution.files.service import Files
from agora_execution.health.activities import HealthActivities
from agora_execution.health.workflows import CheckPackageHealth
from agora_execution.models.service import ModelCalls
from agora_execution.packages.service import Packages
from agora_execution.provider_keys.sealing import KeyRing
from agora_execution.runs.activities import RunActivities
from agora_execution.runs.admission import Admission
from agora_execution.runs.children import ChildActivities
from agora_execution.runs.ports import StepPorts
from agora_execution.runs.recording import Recorder
from agora_execution.runs.starting import Starter
from agora_execution.runs.workflows import AgentRun
from agora_execution.schedules.activities import ScheduleActivities
from agora_execution.schedules.workflows import ScheduledFire
from agora_execution.settings import ExecutionSettings

log = structlog.get_logger()

WORKFLOWS: list[type] = [AgentRun, PrepareDeployment, CheckPackageHealth, ScheduledFire]
_CONNECT_PAUSE_SECONDS = 0.5
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
    artifacts = Artifacts(settings.artifacts_folder, objects, files, broker)
    model_calls = ModelCalls(database, ring=KeyRing.read(settings.key_encryption_keys))
    ports = StepPorts(database, broker, objects, files, artifacts, model_calls)
    recorder = Recorder(database)
    packages = Packages(database)
    admission = Admission(
        database,
        broker,
        recorder,
        packages,
        Deployments(database, broker, packages, files, client, settings.task_queue),
        files,
        Starter(client, database, settings.task_queue),
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


def build_worker(client: Client, service: Service, settings: ExecutionSettings) -> Worker:
    """The Temporal worker. Unsandboxed: only our own workflows run here, and replay tests guard them."""
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=WORKFLOWS,
        activities=activities(service, settings, client),
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=settings.worker_slots,
        max_concurrent_local_activities=settings.worker_slots,
        max_concurrent_activities=settings.worker_slots,
        max_cached_workflows=settings.worker_cached_runs,
        graceful_shutdown_timeout=timedelta(seconds=_GRACE_SHARE * settings.drain_seconds),
    )


async def main() -> None:
    """Work until asked to stop; runs at hand go on at another worker, or here after a restart."""
    settings = load_settings(ExecutionSettings)
    service = Service("worker", settings, package="agora_execution", relay=False)
    await asyncio.to_thread(agents.load_all)

    async def start() -> None:
        client = await _connected(settings)
        service.health.add("temporal", lambda: temporal.check(client))
        working = asyncio.create_task(_work(client, service, settings), name="temporal worker")

        async def stop() -> None:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
            await temporal.settle()

        service.on_stop(stop)

    service.on_start(start)
    await service.run()


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
