"""Exercising an agent's tools on the worker."""

from typing import Any

import structlog
from agora.context import HealthContext
from agora.permissions import NoModels
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.broker import Broker
from temporalio import activity

from agora_execution import agents
from agora_execution.health.workflows import AgentHealth, HealthTask
from agora_execution.knowledge.port import TenantKnowledge

log = structlog.get_logger()


class HealthActivities:
    """The activities of package health, on the worker's connections."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    @property
    def all(self) -> list[Any]:
        """Every activity, to be registered with a worker."""
        return [self.check_package_health]

    @activity.defn
    async def check_package_health(self, task: HealthTask) -> AgentHealth:
        """Run the agent's health function; one that raises is reported as a tool that does not work.

        No model is asked: a health check must cost nothing.
        """
        agent = agents.get(task.package)
        tools: dict[str, bool] = {}
        if agent.health is not None:
            context = HealthContext(
                knowledge=TenantKnowledge(self._broker, PLATFORM_TENANT), models=NoModels()
            )
            try:
                tools = await agent.health(context)
            except Exception as error:
                log.warning("health check failed", package=task.package, error=repr(error))
                tools = {"health": False}
        return AgentHealth(tools=tools, input_schema=agent.input_schema, output_schema=agent.output_schema)
