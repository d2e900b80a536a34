"""The composition of the catalog: the one place that wires."""

from functools import partial

from agora_kit.service import Service
from agora_kit.settings import load_settings

from agora_catalog.listings import handlers
from agora_catalog.listings.service import publish_announced
from agora_catalog.prices import handlers as price_handlers
from agora_catalog.settings import CatalogSettings


def build(settings: CatalogSettings | None = None) -> Service:
    """Wire the catalog; settings come from the environment unless given."""
    settings = settings or load_settings(CatalogSettings)
    service = Service("catalog", settings, package="agora_catalog")
    handlers.register(service.broker, service.database)
    price_handlers.register(service.broker, service.database)
    if settings.publish_announced:
        service.on_start(partial(publish_announced, service.database))
    return service
