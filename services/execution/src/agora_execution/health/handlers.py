"""NATS in: questions about packages' health."""

from agora_contracts.package_health import CheckPackageHealth
from agora_kit.service import Service

from agora_execution.health.service import PackageHealths


def register(service: Service, healths: PackageHealths) -> None:
    """Answer for packages' health."""
    service.broker.answer(CheckPackageHealth, healths.check)
