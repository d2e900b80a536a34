"""Asking an agent about its own health, on a worker that has it."""

from datetime import timedelta
from typing import Any

import msgspec
from temporalio import workflow
from temporalio.common import RetryPolicy


class HealthTask(msgspec.Struct, frozen=True, kw_only=True):
    """Which package to ask."""

    package: str


class AgentHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent says of its tools, and whether its schemas are what the catalogue has."""

    tools: dict[str, bool]
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


def health_workflow_id(package: str, version: str) -> str:
    """One workflow at a time per package version."""
    return f"health-{package}-{version}"


@workflow.defn(name="CheckPackageHealth")
class CheckPackageHealth:
    """One question to an agent."""

    @workflow.run
    async def run(self, task: HealthTask) -> AgentHealth:
        """What the agent answered."""
        answer: AgentHealth = await workflow.execute_activity(
            "check_package_health",
            task,
            result_type=AgentHealth,
            start_to_close_timeout=timedelta(seconds=15),
            schedule_to_close_timeout=timedelta(seconds=15),
            retry_policy=RetryPolicy(maximum_attempts=1),
            summary="Exercise the agent's tools",
        )
        return answer
