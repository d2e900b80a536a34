"""A catalog that runs in the test's process, on a database and a NATS account of its own."""

from collections.abc import AsyncIterator, Callable

import pytest
from agora_catalog.app import build
from agora_catalog.settings import CatalogSettings
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.provision import DatabaseUrls
from agora_kit.service import Service


@pytest.fixture
def urls(database_urls: Callable[[str], DatabaseUrls]) -> DatabaseUrls:
    """A fresh, migrated database of the catalog."""
    return database_urls("catalog")


@pytest.fixture
async def database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    """The catalog's database, without a service around it."""
    database = Database(urls.app, urls.system, pool_size=4)
    yield database
    await database.close()


@pytest.fixture
def settings(urls: DatabaseUrls, nats_url: str) -> CatalogSettings:
    """Settings of a catalog that starts empty."""
    return CatalogSettings(
        database_url=urls.app,
        database_system_url=urls.system,
        nats_url=nats_url,
        log_level="error",
        publish_announced=False,
    )


@pytest.fixture
async def catalog(settings: CatalogSettings) -> AsyncIterator[Service]:
    """A running catalog."""
    service = build(settings)
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def asker(catalog: Service, nats_url: str) -> AsyncIterator[Broker]:
    """A broker that asks the running catalog."""
    broker = Broker(nats_url, "gateway")
    await broker.start()
    yield broker
    await broker.stop()
