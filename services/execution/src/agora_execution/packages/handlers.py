"""NATS in: the catalogue's events."""

from agora_contracts.catalog import ListingStateChanged, PackagePublished
from agora_kit.service import Service

from agora_execution.packages.service import Packages


def register(service: Service, packages: Packages) -> None:
    """Consume what the catalogue publishes."""
    service.broker.consume("packages", [PackagePublished, ListingStateChanged], packages.take_up)
