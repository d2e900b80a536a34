"""Preparing a deployment: its configuration becomes an artifact that any worker can load."""

from datetime import timedelta

import msgspec
from temporalio import workflow
from temporalio.common import RetryPolicy

PREPARE_SECONDS_MAX = 1800


class PrepareTask(msgspec.Struct, frozen=True, kw_only=True):
    """Which configuration of which deployment."""

    deployment: str
    tenant: str
    revision: int


def prepare_workflow_id(deployment: str, revision: int) -> str:
    """One workflow per configuration."""
    return f"prepare-{deployment}-{revision}"


@workflow.defn(name="PrepareDeployment")
class PrepareDeployment:
    """Build what a deployment needs, and put it into use."""

    @workflow.run
    async def run(self, task: PrepareTask) -> str:
        """Returns `active` or `failed`; the deployment's row says why."""
        state: str = await workflow.execute_activity(
            "prepare_deployment",
            task,
            result_type=str,
            start_to_close_timeout=timedelta(seconds=PREPARE_SECONDS_MAX),
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=20)
            ),
            summary="Prepare the deployment's configuration",
        )
        return state
