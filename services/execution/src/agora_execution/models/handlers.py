"""NATS in: what can be asked, and what a run has asked."""

from agora_contracts.models import ListModelCalls, ListModels
from agora_kit.service import Service

from agora_execution.models.queries import ModelQueries


def register(service: Service, queries: ModelQueries) -> None:
    """Answer for models."""
    service.broker.answer(ListModels, queries.offers)
    service.broker.answer(ListModelCalls, queries.calls)
