"""NATS in: commands and queries of deployments."""

from agora_contracts.deployments import (
    ChangeDeploymentConfig,
    EndDeployment,
    GetDeployment,
    ListDeployments,
    StartDeployment,
)
from agora_kit.service import Service

from agora_execution.deployments.service import Deployments


def register(service: Service, deployments: Deployments) -> None:
    """Answer everything about deployments."""
    broker = service.broker
    broker.answer(StartDeployment, deployments.start)
    broker.answer(GetDeployment, deployments.get)
    broker.answer(ListDeployments, deployments.page)
    broker.answer(ChangeDeploymentConfig, deployments.change_config)
    broker.answer(EndDeployment, deployments.end)
