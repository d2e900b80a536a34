"""NATS in: what the vectors process answers."""

from agora_contracts.knowledge import DropCollection, EmbedTexts, IndexPassages, SearchPassages
from agora_contracts.memory import ForgetPassages
from agora_kit.broker import Broker

from agora_execution.knowledge.service import Knowledge


def register(broker: Broker, knowledge: Knowledge) -> None:
    """Answer everything about vectors."""
    broker.answer(IndexPassages, knowledge.index)
    broker.answer(SearchPassages, knowledge.search)
    broker.answer(EmbedTexts, knowledge.embed)
    broker.answer(DropCollection, knowledge.drop)
    broker.answer(ForgetPassages, knowledge.forget)
