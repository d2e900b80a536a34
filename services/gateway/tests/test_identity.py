"""Tenants and keys: made, used, limited, revoked."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest
from agora_contracts.billing import Balance, OpenAccount
from agora_contracts.envelope import Envelope
from agora_contracts.identity import KeyRevoked
from agora_contracts.problems import AgoraError
from agora_gateway.app import Gateway, build
from agora_gateway.identity.key_cache import KeyCache
from agora_gateway.identity.model import ApiKey, compose_key, prefix_of
from agora_gateway.settings import GatewaySettings
from nats.aio.msg import Msg

from .conftest import Customer, Others, empty_account, until

type NewCustomer = Callable[..., Awaitable[Customer]]


def slug(response: httpx.Response) -> str:
    """The stable code of a problem."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return str(response.json()["type"]).rsplit("/", 1)[1]


async def test_a_key_works_by_either_header(customer: Customer, anyone: httpx.AsyncClient):
    """
    The same key is accepted as a bearer token and as X-API-Key.
    """
    answers = [
        await anyone.get("/api/v1/api-keys", headers=headers)
        for headers in ({"Authorization": f"Bearer {customer.key}"}, {"X-API-Key": customer.key})
    ]

    assert [200, 200] == [answer.status_code for answer in answers]
    assert [customer.key_id] == [key["id"] for key in answers[0].json()["items"]]


async def test_only_the_prefix_of_a_key_is_shown_later(customer: Customer):
    """
    A list of keys shows how each begins and never the key.
    """
    listed = await customer.http.get("/api-keys")

    assert customer.key[:11] == listed.json()["items"][0]["prefix"]
    assert customer.key not in listed.text


async def test_without_a_key_nothing_but_the_public_pages_is_served(anyone: httpx.AsyncClient):
    """
    A request without a key, with a made-up one, or with two that differ is refused and told how to send one.
    """
    made_up = f"ak_00000000_{'x' * 43}"
    for headers in (
        {},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer nonsense"},
        {"X-API-Key": made_up},
        {"X-API-Key": made_up, "Authorization": "Bearer other"},
    ):
        answer = await anyone.get("/api/v1/runs", headers=headers)
        assert (401, "unauthenticated") == (answer.status_code, slug(answer))
        assert "www-authenticate" in answer.headers
    assert 200 == (await anyone.get("/api/v1/health/live")).status_code


@pytest.mark.emits.with_args(KeyRevoked)
async def test_a_revoked_key_is_told_once(
    customer: Customer, others: Others, operator: httpx.AsyncClient
) -> None:
    """
    Whoever starts runs by itself under a key hears that it was revoked, once however often it is.
    """
    heard: list[KeyRevoked] = []

    async def hear(message: Msg) -> None:
        heard.append(msgspec.json.decode(message.data, type=Envelope[KeyRevoked]).data)

    await others.client.subscribe(f"agora.evt.{customer.id}.gateway.>", cb=hear)
    await others.flush()
    for _ in range(2):
        revoked = await operator.delete(f"/operator/tenants/{customer.id}/keys/{customer.key_id}")
        assert revoked.status_code == 200, revoked.text
    second = (await operator.post(f"/operator/tenants/{customer.id}/keys", json={"name": "next"})).json()
    await operator.delete(f"/operator/tenants/{customer.id}/keys/{second['id']}")
    await until(lambda: second["id"] in [one.key for one in heard])

    assert [customer.key_id, second["id"]] == [one.key for one in heard]


async def test_a_revoked_key_stops_within_a_second_on_every_replica(
    customer: Customer, gateway_settings: GatewaySettings
):
    """
    A second gateway that has just used the key refuses it within a second after the first one revoked it.
    """
    replica = build(gateway_settings)
    await replica.start()
    try:
        url = f"http://127.0.0.1:{replica.server.port}/api/v1/api-keys"
        async with httpx.AsyncClient(headers={"X-API-Key": customer.key}) as elsewhere:
            assert 200 == (await elsewhere.get(url)).status_code
            assert 200 == (await customer.http.delete(f"/api-keys/{customer.key_id}")).status_code
            assert "key_revoked" == slug(await customer.http.get("/api-keys"))
            await asyncio.sleep(1)
            refused = await elsewhere.get(url)
    finally:
        await replica.stop()

    assert (401, "key_revoked") == (refused.status_code, slug(refused))


async def test_an_expired_key_is_refused(new_customer: NewCustomer):
    """
    A key that has expired is refused, and the answer says why.
    """
    customer = await new_customer(expires_at=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    async with asyncio.timeout(10):
        while (answer := await customer.http.get("/api-keys")).status_code == 200:
            pass

    assert (401, "key_expired") == (answer.status_code, slug(answer))


async def test_a_key_that_is_remembered_expires_all_the_same():
    """
    Expiry is checked on every use, also while the database is not asked.
    """
    token = compose_key("0" * 8, "x" * 43)
    looked_up = 0
    key = ApiKey(
        id="key_1",
        tenant="ten_1",
        account="acc_1",
        name="key",
        prefix=prefix_of(token),
        scopes=frozenset({"read"}),
        created_at=datetime.now(UTC),
        expires_at=datetime.now(UTC) + timedelta(seconds=1),
    )

    async def look_up(_: bytes) -> ApiKey:
        nonlocal looked_up
        looked_up += 1
        return key

    cache = KeyCache(look_up, lifetime_seconds=600)
    tenants = await asyncio.gather(*(cache.authenticate(token) for _ in range(20)))
    remembered = cache.fresh(token)
    await asyncio.sleep(1.01)

    assert {"ten_1"} == {tenant.id for tenant in tenants}
    assert remembered is tenants[0]
    assert cache.fresh(token) is None
    with pytest.raises(AgoraError, match="expired"):
        await cache.authenticate(token)
    assert 1 == looked_up


async def test_a_key_does_only_what_its_scopes_say(new_customer: NewCustomer):
    """
    A key that may read is refused where another scope is needed, and the answer names the scope.
    """
    customer = await new_customer(scopes=["read"])

    for method, path in (("POST", "/packages/echo/execute"), ("GET", "/account"), ("GET", "/api-keys")):
        answer = await customer.http.request(method, path, json={"input": {}})
        assert (403, "forbidden") == (answer.status_code, slug(answer))
        assert "scope" in answer.json()["detail"]


async def test_a_key_cannot_grant_what_it_lacks(new_customer: NewCustomer):
    """
    A key with the scope `keys` makes keys with at most its own scopes.
    """
    customer = await new_customer(scopes=["keys", "read"])

    refused = await customer.http.post("/api-keys", json={"name": "more", "scopes": ["read", "execute"]})
    like_itself = await customer.http.post("/api-keys", json={"name": "same"})

    assert (403, "forbidden") == (refused.status_code, slug(refused))
    assert ["read", "keys"] == like_itself.json()["scopes"]


async def test_a_key_that_could_never_work_is_not_made(customer: Customer):
    """
    No scopes, an unknown scope, an expiry in the past or without a time zone: each is named.
    """
    for properties, field in (
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2120-01-01T00:00:00"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "/expires_at"),
        ({"name": ""}, "/name"),
    ):
        answer = await customer.http.post("/api-keys", json={"name": "key"} | properties)
        assert (422, "invalid_input") == (answer.status_code, slug(answer))
        assert field == answer.json()["errors"][0]["field"]


async def test_another_tenants_key_is_not_there(new_customer: NewCustomer):
    """
    A tenant neither sees nor revokes another's key; it cannot even tell that the key exists.
    """
    mine, other = await new_customer(), await new_customer()

    answer = await mine.http.delete(f"/api-keys/{other.key_id}")
    unknown = await mine.http.delete(f"/api-keys/key_{'0' * 32}")

    assert (404, "not_found") == (answer.status_code, slug(answer))
    assert unknown.json()["type"] == answer.json()["type"]
    assert [mine.key_id] == [key["id"] for key in (await mine.http.get("/api-keys")).json()["items"]]
    assert 200 == (await other.http.get("/api-keys")).status_code


async def test_lists_of_keys_are_paged(customer: Customer):
    """
    Following next_cursor shows every key once, in the order of making.
    """
    for number in range(4):
        await customer.http.post("/api-keys", json={"name": f"key {number}"})
    names: list[str] = []
    cursor = None
    while True:
        page = (
            await customer.http.get("/api-keys", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        names += [key["name"] for key in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert ["key", *(f"key {number}" for number in range(4))] == names
    bad = await customer.http.get("/api-keys", params={"cursor": "rubbish!"})
    assert (400, "invalid_cursor") == (bad.status_code, slug(bad))


async def test_a_tenant_is_made_once_for_an_idempotency_key(operator: httpx.AsyncClient, others: Others):
    """
    The same Idempotency-Key gets the same tenant, at once or later; with another name it conflicts.
    """
    await others.answer((OpenAccount, empty_account))
    headers = {"Idempotency-Key": "signup-1"}
    made = await asyncio.gather(
        *(operator.post("/operator/tenants", json={"name": "Acme"}, headers=headers) for _ in range(5))
    )
    other = await operator.post("/operator/tenants", json={"name": "Bcme"}, headers=headers)

    assert {201} == {answer.status_code for answer in made}
    assert 1 == len({answer.json()["id"] for answer in made})
    assert (409, "idempotency_conflict") == (other.status_code, slug(other))
    assert 1 == len((await operator.get("/operator/tenants")).json()["items"])


async def test_a_tenant_is_made_once_billing_is_back(operator: httpx.AsyncClient, others: Others):
    """
    While billing refuses, no tenant comes into being; the repeated request makes it with its account.
    """
    away = True

    async def sometimes(command: OpenAccount) -> Balance:
        if away:
            raise AgoraError("unavailable", "billing rests", retry_after_seconds=1)
        return await empty_account(command)

    await others.answer((OpenAccount, sometimes))
    headers = {"Idempotency-Key": "signup-1"}
    refused = await operator.post("/operator/tenants", json={"name": "Acme"}, headers=headers)
    listed = await operator.get("/operator/tenants")
    away = False
    made = await operator.post("/operator/tenants", json={"name": "Acme"}, headers=headers)

    assert (503, "1", "unavailable") == (refused.status_code, refused.headers["retry-after"], slug(refused))
    assert [] == listed.json()["items"]
    assert 201 == made.status_code
    assert made.json()["account"] == others.asked[-1].account


async def test_tenants_and_operators_are_kept_apart(customer: Customer, operator: httpx.AsyncClient):
    """
    A tenant's key opens no operator route and the operator's token no tenant's route.
    """
    as_tenant = await customer.http.get("/operator/tenants")
    as_operator = await operator.get("/account")

    assert [403, 403] == [as_tenant.status_code, as_operator.status_code]


async def test_keys_and_tenants_survive_a_restart(
    gateway: Gateway, customer: Customer, gateway_settings: GatewaySettings
):
    """
    Nothing that was made is lost when the gateway ends and another one starts.
    """
    await gateway.stop()
    again = build(gateway_settings)
    await again.start()
    try:
        url = f"http://127.0.0.1:{again.server.port}/api/v1/api-keys"
        async with httpx.AsyncClient(headers={"X-API-Key": customer.key}) as client:
            assert 200 == (await client.get(url)).status_code
    finally:
        await again.stop()
        await gateway.start()
