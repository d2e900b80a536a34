"""The composition of metering: the one place that wires."""

from agora_kit.service import Service
from agora_kit.settings import load_settings

from agora_metering.checks import handlers as checks
from agora_metering.corrections import handlers as corrections
from agora_metering.exports import handlers as exports
from agora_metering.ingest import handlers as ingest
from agora_metering.meters import handlers as meters
from agora_metering.partitions import handlers as partitions
from agora_metering.periods import handlers as periods
from agora_metering.queries import handlers as queries
from agora_metering.reconciliation import handlers as reconciliation
from agora_metering.refusals import handlers as refusals
from agora_metering.rentals import handlers as rentals
from agora_metering.runs import handlers as runs
from agora_metering.settings import MeteringSettings
from agora_metering.totals import handlers as totals
from agora_metering.usage import handlers as usage


def build(settings: MeteringSettings | None = None) -> Service:
    """Wire metering; settings come from the environment unless given."""
    settings = settings or load_settings(MeteringSettings)
    service = Service("metering", settings, package="agora_metering")
    usage.register(service, settings)
    runs.register(service, settings)
    totals.register(service, settings)
    periods.register(service, settings)
    rentals.register(service, settings)
    meters.register(service, settings)
    queries.register(service)
    partitions.register(service, settings)
    checks.register(service, settings)
    ingest.register(service, settings)
    refusals.register(service, settings)
    corrections.register(service)
    exports.register(service, settings)
    reconciliation.register(service, settings)
    return service
