"""What billing hears about deployments."""

from agora_contracts.execution import DeploymentEnded, DeploymentStarted
from agora_kit.broker import Broker

from agora_billing.rentals import service


def register(broker: Broker) -> None:
    """Keep the deployments that start and end."""
    # What is known stays as it is, so no inbox is needed.
    broker.consume("deployments", [DeploymentStarted, DeploymentEnded], service.take_up, inbox=False)
