"""NATS in: what customers ask about memory."""

from agora_contracts.memory import DeleteMemory, GetMemory, ListMemory
from agora_kit.service import Service

from agora_execution.memory.service import Memories


def register(service: Service, memories: Memories) -> None:
    """Answer everything about memory."""
    broker = service.broker
    broker.answer(ListMemory, memories.page)
    broker.answer(GetMemory, memories.get)
    broker.answer(DeleteMemory, memories.delete)
