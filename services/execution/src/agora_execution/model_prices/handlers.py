"""NATS in: prices of models."""

from agora_contracts.models import ListModelPrices, SetModelPrice
from agora_kit.service import Service

from agora_execution.model_prices.service import ModelPrices


def register(service: Service, prices: ModelPrices) -> None:
    """Answer for prices."""
    service.broker.answer(SetModelPrice, prices.set)
    service.broker.answer(ListModelPrices, prices.list_all)
