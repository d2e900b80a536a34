"""What the preparation's workflow does to the world."""

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from agora import InputRejected
from agora.errors import AgentDefinitionError, PermissionNotGranted
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunError
from agora_kit.database import Database, is_transient
from temporalio import activity

from agora_execution import agents
from agora_execution.deployments import store
from agora_execution.deployments.artifacts import Artifacts
from agora_execution.deployments.workflows import PrepareTask

log = structlog.get_logger()

_ATTEMPTS_MAX = 5


class DeploymentActivities:
    """The activities of deployments, on the worker's connections."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts

    @property
    def all(self) -> list[Any]:
        """Every activity, to be registered with a worker."""
        return [self.prepare_deployment]

    @activity.defn
    async def prepare_deployment(self, task: PrepareTask) -> str:
        """Build the artifact of a configuration and put it into use: `active`, `failed` or `outdated`."""
        async with self._database.system() as connection:
            row = await store.read(connection, task.deployment)
        if row is None or row.public.config_revision != task.revision or row.public.status == "terminated":
            return "outdated"
        beating = asyncio.create_task(_heartbeat())
        try:
            agent = agents.get(row.public.package)
            config = agent.read_config(row.wanted_config)
            artifact = await self._artifacts.build(agent, config, task.tenant)
        except (InputRejected, AgentDefinitionError, PermissionNotGranted, AgoraError) as error:
            if isinstance(error, AgoraError) and error.problem.status >= 500:
                raise
            return await self._refuse(task, _reason(error))
        except Exception as error:
            if activity.info().attempt < _ATTEMPTS_MAX or is_transient(error):
                raise
            log.exception("preparation failed", deployment=task.deployment, error=repr(error))
            detail = "the configuration could not be prepared for a reason on our side; it has been logged"
            return await self._refuse(task, RunError(code="internal", detail=detail))
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating
        async with self._database.system() as connection:
            used = await store.save_prepared(connection, task.deployment, task.revision, artifact)
        return "active" if used else "outdated"

    async def _refuse(self, task: PrepareTask, reason: RunError) -> str:
        async with self._database.system() as connection:
            await store.save_failed(connection, task.deployment, task.revision, reason)
        return "failed"


def _reason(error: Exception) -> RunError:
    if isinstance(error, InputRejected):
        return RunError(code=error.code, detail=error.detail, place=error.place)
    return RunError(code="agent_error", detail=str(error))


async def _heartbeat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(5)
