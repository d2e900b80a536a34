"""Exercising an agent's tools on the worker."""

from typing import Any

import structlog
from temporalio import activity

from agora_execution import agents
from agora_execution.health.workflows import AgentHealth, HealthTask

log = structlog.get_logger()


@activity.defn
async def check_package_health(task: HealthTask) -> AgentHealth:
    """Run the agent's health function; a tool that raises is a tool that does not work."""
    agent = agents.get(task.package)
    tools: dict[str, Any] = {}
    if agent.health is not None:
        try:
            tools = await agent.health()
        except Exception as error:
            log.warning("health check failed", package=task.package, error=repr(error))
            tools = {"health": False}
    return AgentHealth(tools=tools, input_schema=agent.input_schema, output_schema=agent.output_schema)
