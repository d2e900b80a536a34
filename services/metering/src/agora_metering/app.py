"""The composition of metering: the one place that wires."""

from agora_kit.service import Service
from agora_kit.settings import load_settings

from agora_metering.runs import handlers as runs
from agora_metering.settings import MeteringSettings
from agora_metering.usage import handlers as usage


def build(settings: MeteringSettings | None = None) -> Service:
    """Wire metering; settings come from the environment unless given."""
    settings = settings or load_settings(MeteringSettings)
    service = Service("metering", settings, package="agora_metering")
    usage.register(service, settings)
    runs.register(service, settings)
    return service
