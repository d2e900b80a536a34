"""Which code a run goes through: a worker's version, as Temporal's worker deployments know it.

A run stays on the version that began it; new runs go to the current one. A version is a hash of all code that a run
meets: engine, SDK and agents, with what they stand on. What changes none of it leaves the version as it is.
"""

import asyncio
import hashlib
import sys
import time
from datetime import datetime
from functools import cache
from importlib.metadata import entry_points
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path

import structlog
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import WorkerDeploymentConfig

from agora_execution.agents import GROUP
from agora_execution.queues import queue_name
from agora_execution.settings import ExecutionSettings

log = structlog.get_logger()

_OURS = ("agora", "agora_contracts", "agora_execution")
_STANDS_ON = ("langgraph", "temporalio")
_AGAIN_SECONDS = 0.2
_GONE_SECONDS = 100.0
"""How long no worker of a version has asked for work before it counts as gone: a poll lasts a minute at most, and clocks
differ."""

_WATCH_SECONDS = 15.0
_UNSEEN_MAX = 2
"""How many looks in a row must find no worker of the current version before another one takes its place."""


@cache
def build_id() -> str:
    """The version of this process's code: the same wherever the same code is installed."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for package in sorted({*_OURS, *(entry.module.partition(".")[0] for entry in entry_points(group=GROUP))}):
        for folder in _folders(package):
            for path in sorted(folder.rglob("*.py")):
                digest.update(f"\0{package}/{path.relative_to(folder).as_posix()}\0".encode())
                digest.update(path.read_bytes())
    for name in _STANDS_ON:
        digest.update(f"\0{name} {version_of(name)}".encode())
    return digest.hexdigest()[:16]


def _folders(package: str) -> list[Path]:
    spec = find_spec(package)
    return [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]


def deployment_config(version: WorkerDeploymentVersion) -> WorkerDeploymentConfig:
    """A worker's options: runs stay on its version unless their workflow says otherwise."""
    return WorkerDeploymentConfig(
        version=version,
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )


def build_of(settings: ExecutionSettings) -> str:
    """The version of a worker with these settings."""
    return settings.worker_build or build_id()


class _NotKnownYet(Exception):
    """Temporal does not list a version yet."""


class Versions:
    """The versions of one worker deployment.

    Args:
        deployment: The deployment's name; without a dot.
        queue: A task queue that its workers poll.
    """

    def __init__(self, client: Client, deployment: str, queue: str) -> None:
        self._client = client
        self._deployment = deployment
        self._queue = queue

    async def stand_by(self, build: str) -> None:
        """Take over now, or later when the workers of the version that is current are gone; until this is cancelled.

        Later, newer code does not take over from older code at work: an operator may have gone back to that.
        """
        await self.take_over(build)
        unseen: list[str] = []
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                current, _ = await self.known()
                if current == build or current in await self.served(self._queue):
                    unseen.clear()
                    continue
                # Temporal lists a worker that has just begun to ask for work a little later.
                unseen = [*unseen, current] if current in unseen else [current]
                if len(unseen) >= _UNSEEN_MAX:
                    log.warning("taking over from a version that is gone", version=build, current=current)
                    await self.use(build)
            except RPCError as error:
                log.debug("versions not known now", error=repr(error)[:200])

    async def take_over(self, build: str) -> bool:
        """Let new runs go to a version whose workers have begun to poll; waits until Temporal has heard of them.

        A worker of older code that was merely started again does not take over from newer code at work.

        Returns:
            Whether the version is the current one now.
        """
        while True:
            try:
                if not await self._may_take_over(build):
                    log.info("a newer version is current", version=build)
                    return False
                await self.use(build)
            except (RPCError, _NotKnownYet) as error:
                # Temporal learns of a version by its workers' first polls, and lists it a little later.
                log.debug("version not current yet", version=build, error=repr(error)[:200])
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                log.info("new runs go to this version", version=build)
                return True

    async def use(self, build: str) -> None:
        """Let new runs go to a version.

        Raises:
            RPCError: no worker of it was ever seen, or Temporal does not answer.
        """
        await self._client.workflow_service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace=self._client.namespace,
                deployment_name=self._deployment,
                build_id=build,
                identity="agora",
                # A new version may serve fewer classes of packages than the one before.
                ignore_missing_task_queues=True,
            )
        )

    async def _may_take_over(self, build: str) -> bool:
        current, created = await self.known()
        if current in ("", build):
            return True
        if current not in created or build not in created:
            raise _NotKnownYet
        return created[build] > created[current]

    async def known(self) -> tuple[str, dict[str, datetime]]:
        """The current version (empty without one), and since when each version is known, in UTC.

        Raises:
            RPCError: no worker of the deployment was ever seen, or Temporal does not answer.
        """
        found = await self._client.workflow_service.describe_worker_deployment(
            DescribeWorkerDeploymentRequest(
                namespace=self._client.namespace, deployment_name=self._deployment
            )
        )
        info = found.worker_deployment_info
        current = info.routing_config.current_deployment_version.build_id
        return current, {
            one.deployment_version.build_id: one.create_time.ToDatetime() for one in info.version_summaries
        }

    async def served(self, queue: str) -> set[str]:
        """The versions whose workers have asked a task queue for work lately.

        Raises:
            RPCError: Temporal does not answer.
        """
        found = await self._client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=self._client.namespace,
                task_queue=TaskQueue(name=queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            )
        )
        since = time.time() - _GONE_SECONDS
        return {
            poller.deployment_options.build_id
            for poller in found.pollers
            if poller.last_access_time.ToSeconds() >= since
        }

    async def hand_over(self, run: str) -> None:
        """Let a run whose version nobody serves go on at the current one, from now on whichever that is.

        Raises:
            RPCError: Temporal does not answer, or the run is over.
        """
        await self._client.workflow_service.update_workflow_execution_options(
            UpdateWorkflowExecutionOptionsRequest(
                namespace=self._client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=run),
                workflow_execution_options=WorkflowExecutionOptions(
                    versioning_override=VersioningOverride(auto_upgrade=True)
                ),
                update_mask=FieldMask(paths=["versioning_override"]),
            )
        )


def versions_of(client: Client, settings: ExecutionSettings) -> Versions | None:
    """The versions of the workers that these settings name; None where they have none."""
    if not settings.worker_deployment:
        return None
    served = "standard" if settings.worker_slots > 0 else "heavy"
    return Versions(client, settings.worker_deployment, queue_name(settings.task_queues, served))
