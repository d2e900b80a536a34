"""A platform made ready for customers: packages published, tenants with credit and a key."""

import asyncio
from typing import Any

import httpx
import msgspec
from agora import Agent
from agora_local.platform import Platform

from tests.support.clients import http_client

_AGAIN_SECONDS = 0.2


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant as its customer knows it."""

    tenant: str
    account: str
    key: str
    api_url: str

    def client(self, **options: Any) -> httpx.AsyncClient:
        """An HTTP client under `/api/v1` with the customer's key."""
        return http_client(f"{self.api_url}/api/v1", self.key, **options)


def operator(platform: Platform) -> httpx.AsyncClient:
    """An HTTP client with the operator's token."""
    return http_client(f"{platform.api_url}/api/v1", platform.operator_token)


async def publish(client: httpx.AsyncClient, agent: Agent) -> None:
    """Publish a first-party agent and wait until execution has taken it up."""
    body = {"manifest": agent.manifest, "schemas": agent.schemas, "first_party": True}
    answer = await client.post(
        "/operator/packages",
        content=msgspec.json.Encoder(decimal_format="string").encode(body),
        headers={"content-type": "application/json"},
    )
    answer.raise_for_status()


async def new_customer(client: httpx.AsyncClient, api_url: str, *, credit: str = "1000.000000") -> Customer:
    """A tenant with credit and a key with every scope."""
    tenant = (await client.post("/operator/tenants", json={"name": "test"})).raise_for_status().json()
    key = (
        await client.post(f"/operator/tenants/{tenant['id']}/keys", json={"name": "test"})
    ).raise_for_status()
    top_up = {"amount": {"amount": credit, "currency": "USD"}, "reference": "first"}
    (await client.post(f"/operator/tenants/{tenant['id']}/top-ups", json=top_up)).raise_for_status()
    return Customer(tenant=tenant["id"], account=tenant["account"], key=key.json()["key"], api_url=api_url)


async def until_executable(client: httpx.AsyncClient, package: str, body: dict[str, Any]) -> None:
    """Wait until a package's estimate is answered: catalogue's events have reached execution and billing."""
    while True:
        answer = await client.post(f"/packages/{package}/estimate", json={"input": body})
        if answer.status_code == httpx.codes.OK:
            return
        if answer.status_code not in (404, 503, 504):
            answer.raise_for_status()
        await asyncio.sleep(_AGAIN_SECONDS)


async def until_offered(client: httpx.AsyncClient, package: str) -> None:
    """Wait until a published package is known where runs are admitted, whatever its input is."""
    while True:
        answer = await client.post(f"/packages/{package}/estimate", json={"input": {}})
        if answer.status_code in (httpx.codes.OK, httpx.codes.UNPROCESSABLE_ENTITY):
            return
        if answer.status_code not in (404, 503, 504):
            answer.raise_for_status()
        await asyncio.sleep(_AGAIN_SECONDS)
