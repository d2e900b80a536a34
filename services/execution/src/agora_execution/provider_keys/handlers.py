"""NATS in: vendors' keys."""

from agora_contracts.models import (
    DeleteProviderKey,
    ListProviderKeys,
    RotateProviderKeys,
    StoreProviderKey,
)
from agora_kit.service import Service

from agora_execution.provider_keys.service import ProviderKeys


def register(service: Service, keys: ProviderKeys) -> None:
    """Answer for keys."""
    broker = service.broker
    broker.answer(StoreProviderKey, keys.store)
    broker.answer(ListProviderKeys, keys.list_all)
    broker.answer(DeleteProviderKey, keys.delete)
    broker.answer(RotateProviderKeys, keys.rotate)
