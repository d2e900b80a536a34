"""Starting, cancelling and looking at a run's workflow. The run's id is the workflow's id."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from agora_contracts.money import Money
from agora_kit.database import Database
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from agora_execution.queues import queue_name
from agora_execution.runs import describing
from agora_execution.runs.describing import Order
from agora_execution.runs.tasks import RunTask
from agora_execution.runs.workflows import CLOSE_SECONDS, WORKFLOW_TASK_TIMEOUT, AgentRun
from agora_execution.versions import Versions

log = structlog.get_logger()

_RPC_TIMEOUT = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStanding:
    """How a run's workflow stands: its status, its queue, and the version of workers that it stays on, if it does."""

    status: WorkflowExecutionStatus | None
    queue: str
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTask:
    """What the workflow of an accepted run is started with, as its row says.

    `startable` where that is execution's to do: the run goes on, and no other run called it.
    """

    task: RunTask
    order: Order
    startable: bool


async def written_task(connection: AsyncConnection, run: str) -> WrittenTask | None:
    """What the workflow of an accepted run is started with; None when there is no such run."""
    row = (
        await connection.execute(
            text("""
                SELECT id, tenant_id, runs.package, runs.version, input, timeout_seconds, config, artifact,
                    deployment_id, origin_id, origin_seq, quoted, currency, requested_by, call_path,
                    coalesce(manifest -> 'limits' ->> 'over_budget', 'pause') AS over_budget,
                    coalesce(manifest -> 'limits' ->> 'class', 'standard') AS package_class,
                    finished_at IS NULL AND parent_id IS NULL AS startable
                FROM runs LEFT JOIN packages USING (package, version)
                WHERE id = :id
            """),
            {"id": run},
        )
    ).first()
    if row is None:
        return None
    task = RunTask(
        run=row.id,
        tenant=row.tenant_id,
        package=row.package,
        version=row.version,
        input=row.input,
        timeout_seconds=row.timeout_seconds,
        config=row.config,
        artifact=row.artifact,
        deployment=row.deployment_id,
        path=row.call_path or [],
        over_budget=row.over_budget,
        package_class=row.package_class,
        origin=row.origin_id,
        origin_seq=row.origin_seq or 0,
    )
    quoted = Money(amount=row.quoted, currency=row.currency)
    return WrittenTask(
        task=task,
        order=Order(quoted=quoted, requested_by=row.requested_by),
        startable=row.startable,
    )


class Starter:
    """Execution's hands on Temporal.

    Args:
        queues: What the names of the task queues begin with.
        versions: Those of the workers, where they have any.
    """

    def __init__(
        self, client: Client, database: Database, queues: str, versions: Versions | None = None
    ) -> None:
        self._client = client
        self._database = database
        self._queues = queues
        self._versions = versions

    async def start(self, task: RunTask, order: Order | None = None) -> None:
        """Start a run's workflow. Already started is success; a closed one is never started again.

        A Temporal that does not answer is left to the sweep: the run is accepted either way.
        """
        try:
            await self._start(task, order or Order())
        except (RPCError, RuntimeError) as error:
            log.warning("workflow not started, the sweep will", run=task.run, error=repr(error))

    async def start_again(self, run: str) -> None:
        """Start the workflow of an accepted run from what its row says.

        Raises:
            RPCError: Temporal does not answer.
        """
        async with self._database.system() as connection:
            written = await written_task(connection, run)
        if written is not None and written.startable:
            await self._start(written.task, written.order)

    async def _start(self, task: RunTask, order: Order) -> None:
        try:
            await self._client.start_workflow(
                AgentRun.run,
                task,
                id=task.run,
                task_queue=queue_name(self._queues, task.package_class),
                execution_timeout=timedelta(seconds=task.timeout_seconds + CLOSE_SECONDS),
                task_timeout=WORKFLOW_TASK_TIMEOUT,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=describing.summary(task),
                static_details=describing.details(task, order),
                search_attributes=describing.attributes(task),
                priority=describing.priority(task.tenant),
                rpc_timeout=_RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return

    async def cancel(self, run: str) -> None:
        """Ask a run's workflow to cancel; one that is gone or closed is left to the sweep."""
        try:
            await self._client.get_workflow_handle(run).cancel(rpc_timeout=_RPC_TIMEOUT)
        except (RPCError, RuntimeError) as error:
            log.warning("cancellation not delivered, the sweep will", run=run, error=repr(error))

    async def wake(self, run: str) -> bool:
        """Let a run's workflow look at what it waits for; one that is not told looks by itself, later.

        Returns whether it was told, or there is nobody to tell.
        """
        try:
            handle = self._client.get_workflow_handle(run)
            await handle.signal(AgentRun.look, rpc_timeout=_RPC_TIMEOUT)
        except (RPCError, RuntimeError) as error:
            log.info("run not woken", run=run, error=repr(error))
            return isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND
        return True

    async def terminate(self, run: str, reason: str) -> None:
        """Close a run's workflow from outside; one that is gone already is as good.

        Raises:
            RPCError: Temporal does not answer.
        """
        try:
            await self._client.get_workflow_handle(run).terminate(reason=reason, rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise

    async def look(self, run: str) -> WorkflowStanding | None:
        """How a run's workflow stands; None when Temporal knows no such workflow.

        Raises:
            RPCError: Temporal does not answer.
        """
        try:
            description: Any = await self._client.get_workflow_handle(run).describe(rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            raise
        versioning = description.raw_info.versioning_info
        follows = versioning.versioning_override.auto_upgrade
        return WorkflowStanding(
            status=description.status,
            queue=description.task_queue,
            version=None if follows else versioning.deployment_version.build_id or None,
        )

    async def keep_served(self, run: str, standing: WorkflowStanding) -> None:
        """Hand a run over to the current version where no worker of its own is left, or it would wait for ever.

        Raises:
            RPCError: Temporal does not answer.
        """
        if standing.version is None or self._versions is None:
            return
        served = await self._versions.served(standing.queue)
        # Without any worker there is nobody to hand it over to, and its own may come back.
        if served and standing.version not in served:
            log.warning("handing a run over to the current version", run=run, version=standing.version)
            await self._versions.hand_over(run)
