"""A gateway on a real database and NATS, driven over HTTP, with small stand-ins behind NATS.

The stand-ins answer the commands of other services as the contracts say; how the real ones answer is what
the integration tests show.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from agora_contracts.billing import Balance, OpenAccount
from agora_contracts.catalogue import COMMANDS
from agora_gateway.app import Gateway, build
from agora_gateway.settings import GatewaySettings
from agora_kit.broker import Broker
from nats.aio.client import Client

from tests.support.clients import http_client

OPERATOR_TOKEN = "operator-token-of-the-tests"

type Answer = Callable[[Any], Awaitable[msgspec.Struct]]


class Others:
    """The other services, as far as a test needs them. Every command that arrived is in `asked`."""

    def __init__(self, nats_url: str) -> None:
        self._nats_url = nats_url
        self._brokers: list[Broker] = []
        self.asked: list[Any] = []

    async def answer(self, *answers: tuple[type[msgspec.Struct], Answer | msgspec.Struct]) -> None:
        """Answer commands from now on, each with a fixed reply or by a function."""
        by_service: dict[str, Broker] = {}
        for request, reply in answers:
            service = COMMANDS[request].service
            broker = by_service.setdefault(service, Broker(self._nats_url, service))
            broker.answer(request, self._recording(reply))
        for broker in by_service.values():
            await broker.start()
            self._brokers.append(broker)

    def _recording(self, reply: Answer | msgspec.Struct) -> Answer:
        async def handle(request: Any) -> msgspec.Struct:
            self.asked.append(request)
            return reply if isinstance(reply, msgspec.Struct) else await reply(request)

        return handle

    async def publish(self, subject: str, message: msgspec.Struct) -> None:
        """Publish as another service would."""
        await self._brokers[0].client.publish(subject, msgspec.json.encode(message))

    @property
    def client(self) -> Client:
        """The connection of one of them."""
        return self._brokers[0].client

    async def flush(self) -> None:
        """Return when the server has what was published."""
        await self._brokers[0].round_trip()

    async def stop(self) -> None:
        """Go away."""
        for broker in self._brokers:
            await broker.stop()
        self._brokers.clear()


async def empty_account(command: OpenAccount) -> Balance:
    """A new account."""
    return Balance(account=command.account, currency="USD", credit=0, held=0, available=0, receivable=0)


@pytest.fixture
def gateway_settings(database_urls: Any, nats_url: str, tmp_path: Path) -> GatewaySettings:
    """Settings of a gateway on a database of its own and a free port."""
    urls = database_urls("gateway")
    return GatewaySettings(
        database_url=urls.app,
        database_system_url=urls.system,
        nats_url=nats_url,
        operator_token=OPERATOR_TOKEN,
        objects_folder=str(tmp_path / "objects"),
        http_port=0,
        database_pool_size=2,
        drain_seconds=5.0,
    )


@pytest.fixture
async def gateway(gateway_settings: GatewaySettings) -> AsyncIterator[Gateway]:
    """A running gateway."""
    service = build(gateway_settings)
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def others(nats_url: str) -> AsyncIterator[Others]:
    """The other services, which answer nothing yet."""
    stand_ins = Others(nats_url)
    yield stand_ins
    await stand_ins.stop()


@pytest.fixture
async def anyone(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client without any key."""
    async with http_client(f"http://127.0.0.1:{gateway.server.port}") as client:
        yield client


@pytest.fixture
async def operator(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the operator's token."""
    url = f"http://127.0.0.1:{gateway.server.port}/api/v1"
    async with http_client(url, OPERATOR_TOKEN) as client:
        yield client


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has become true, which nobody announces."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Customer:
    """A tenant with a key: `http` is its client, `id` and `account` are its own."""

    def __init__(self, tenant: dict[str, Any], key: dict[str, Any], http: httpx.AsyncClient) -> None:
        self.id: str = tenant["id"]
        self.account: str = tenant["account"]
        self.key: str = key["key"]
        self.key_id: str = key["id"]
        self.http = http


@pytest.fixture
async def new_customer(
    gateway: Gateway, operator: httpx.AsyncClient, others: Others
) -> AsyncIterator[Callable[..., Awaitable[Customer]]]:
    """`await new_customer(scopes=[...])` makes a tenant with a key and a client that uses it."""
    await others.answer((OpenAccount, empty_account))
    clients: list[httpx.AsyncClient] = []

    async def make(**properties: Any) -> Customer:
        tenant = (await operator.post("/operator/tenants", json={"name": "Acme"})).json()
        made = await operator.post(
            f"/operator/tenants/{tenant['id']}/keys", json={"name": "key"} | properties
        )
        assert made.status_code == 201, made.text
        key = made.json()
        client = http_client(f"http://127.0.0.1:{gateway.server.port}/api/v1", key["key"])
        clients.append(client)
        return Customer(tenant, key, client)

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
async def customer(new_customer: Callable[..., Awaitable[Customer]]) -> Customer:
    """A tenant with a key that may do everything."""
    return await new_customer()
