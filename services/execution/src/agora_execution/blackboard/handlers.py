"""NATS in: what stands on blackboards."""

from agora_contracts.swarms import ListFindings
from agora_kit.service import Service

from agora_execution.blackboard.service import Blackboards


def register(service: Service, blackboards: Blackboards) -> None:
    """Answer what customers ask of blackboards."""
    service.broker.answer(ListFindings, blackboards.page)
