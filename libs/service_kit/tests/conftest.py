"""The sample service's database, and JetStream with the catalogue's streams."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import pytest
from agora_kit.database import Database
from agora_kit.provision import DatabaseUrls
from agora_kit.relay import ensure_streams
from nats.aio.client import Client

SAMPLE_SOURCES = Path(__file__).parent / "sample" / "src"
WAIT_SECONDS = 20

# Migrations are found through the service's package, which is installed for every service but this one.
sys.path.append(str(SAMPLE_SOURCES))

type Until = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


@pytest.fixture
def sample_sources() -> Path:
    """Where a subprocess finds the sample service's package."""
    return SAMPLE_SOURCES


@pytest.fixture
def urls(database_urls: Callable[[str], DatabaseUrls]) -> DatabaseUrls:
    """A fresh database of the sample service."""
    return database_urls("sample")


@pytest.fixture
async def database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    """The sample service's database."""
    database = Database(urls.app, urls.system, pool_size=4)
    yield database
    await database.close()


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    """A NATS client on an account that has the catalogue's streams."""
    connection = await nats.connect(nats_url)
    await ensure_streams(connection.jetstream())
    yield connection
    await connection.close()


@pytest.fixture
def until() -> Until:
    """`await until(condition)` waits until an asynchronous condition is true, and returns what it gave."""

    async def wait(condition: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                if found := await condition():
                    return found
                await asyncio.sleep(0.02)

    return wait
