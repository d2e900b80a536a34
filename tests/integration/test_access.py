"""Who may do what: keys and their scopes, the operator's token, and other tenants' things."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.integration.test_path import active
from tests.support.answers import pages, refused
from tests.support.bookkeeping import nothing_changes, settled
from tests.support.tenancy import Customer

HELLO = {"input": {"text": "hi"}}

ROUTES = {
    "read": (
        ("GET", "/packages"),
        ("GET", "/categories"),
        ("GET", "/packages/echo"),
        ("POST", "/packages/echo/estimate"),
        ("GET", "/runs"),
        ("GET", "/deployments"),
    ),
    "execute": (("POST", "/packages/echo/execute"), ("POST", "/deployments")),
    "files": (("GET", "/files"), ("POST", "/files?name=a.txt")),
    "account": (("GET", "/account"), ("GET", "/account/statement"), ("GET", "/usage")),
    "keys": (("GET", "/api-keys"), ("POST", "/api-keys")),
}
"""Some routes of each scope."""

OPERATOR_ROUTES = (
    ("GET", "/operator/tenants"),
    ("POST", "/operator/tenants"),
    ("POST", "/operator/packages"),
    ("GET", "/operator/dead-letters?service=metering"),
    ("POST", "/operator/dead-letters/replay"),
    ("GET", "/operator/holds"),
    ("GET", "/operator/health"),
)


def body_of(path: str) -> dict[str, Any]:
    """A body that a route takes."""
    return {"name": "a"} if path == "/api-keys" else HELLO


async def make_key(client: httpx.AsyncClient, **properties: Any) -> dict[str, Any]:
    """A key of the tenant."""
    made = await client.post("/api-keys", json={"name": "test"} | properties)
    assert made.status_code == 201, made.text
    key: dict[str, Any] = made.json()
    return key


def using(customer: Customer, key: str | None, header: str = "Authorization") -> httpx.AsyncClient:
    """A client with another key, or with none."""
    value = f"Bearer {key}" if header == "Authorization" else str(key)
    headers = {} if key is None else {header.encode(): value.encode()}
    return httpx.AsyncClient(base_url=f"{customer.api_url}/api/v1", headers=headers, timeout=30)


@pytest.mark.parametrize(
    "key", [None, "ak_", "ak_00000000_" + "a" * 43, "op_guess", "ak_00000000_" + "é" * 10, "x" * 5000]
)
async def test_without_a_key_of_ours_nothing_is_shown(
    customer: Customer, http: httpx.AsyncClient, key: str | None
):
    """
    No key, half of one, one that was never given out: 401 with how to send one, on every route.
    """
    nobody = using(customer, key)
    async with nothing_changes(http), nobody:
        for method, path in (*(one for some in ROUTES.values() for one in some), *OPERATOR_ROUTES):
            answer = await nobody.request(method, path)
            refused(answer, "unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_goes_in_either_header_but_not_two_in_both(customer: Customer, http: httpx.AsyncClient):
    """
    Authorization and X-API-Key are as good; two different keys at once are refused.
    """
    other = (await make_key(http))["key"]
    async with using(customer, customer.key, "X-API-Key") as client:
        assert 200 == (await client.get("/account")).status_code
        same = {"Authorization": f"Bearer {customer.key}"}
        assert 200 == (await client.get("/account", headers=same)).status_code
        refused(await client.get("/account", headers={"Authorization": f"Bearer {other}"}), "unauthenticated")
        basic = {"Authorization": "Basic dXNlcjpwYXNz"}
        refused(await client.get("/account", headers=basic), "unauthenticated", "Bearer")


async def test_a_revoked_key_stops_working_within_a_second(customer: Customer, http: httpx.AsyncClient):
    """
    A key in constant use is refused a second after it was revoked; the tenant's other keys go on.
    """
    made = await make_key(http)
    async with using(customer, made["key"]) as client:
        assert 200 == (await client.get("/packages")).status_code
        gone = await http.delete(f"/api-keys/{made['id']}")
        revoked = time.monotonic()
        while time.monotonic() - revoked < 1.0:
            answer = await client.get("/packages")
            await asyncio.sleep(0.05)
        answer = await client.get("/packages")
        async with nothing_changes(http):
            run = await client.post("/packages/echo/execute", json=HELLO)
    again = await http.delete(f"/api-keys/{made['id']}")
    listed = {key["id"]: key for key in await pages(http, "/api-keys")}

    assert (200, 200) == (gone.status_code, again.status_code)
    refused(answer, "key_revoked")
    refused(run, "key_revoked")
    assert gone.json()["revoked_at"] == again.json()["revoked_at"] == listed[made["id"]]["revoked_at"]
    assert "key" not in listed[made["id"]]


async def test_an_expired_key_is_refused(customer: Customer, http: httpx.AsyncClient):
    """
    A key works until the time it was made for, and not after.
    """
    expires_at = datetime.now(UTC) + timedelta(seconds=1.5)
    made = await make_key(http, expires_at=expires_at.isoformat())
    async with using(customer, made["key"]) as client:
        before = await client.get("/account")
        await asyncio.sleep((expires_at - datetime.now(UTC)).total_seconds() + 0.05)
        async with nothing_changes(http):
            after = await client.get("/account")
            run = await client.post("/packages/echo/execute", json=HELLO)

    assert 200 == before.status_code
    refused(after, "key_expired")
    refused(run, "key_expired")


@pytest.mark.parametrize("scope", ROUTES)
async def test_a_key_does_what_its_scope_says_and_nothing_else(
    customer: Customer, http: httpx.AsyncClient, scope: str
):
    """
    With one scope the routes of all others are forbidden, and the problem names the scope that is missing.
    """
    async with using(customer, (await make_key(http, scopes=[scope]))["key"]) as client:
        async with nothing_changes(http):
            for other, routes in ROUTES.items():
                for method, path in routes if other != scope else ():
                    answer = await client.request(method, path, json=body_of(path))
                    refused(answer, "forbidden", other)
            for method, path in OPERATOR_ROUTES:
                refused(await client.request(method, path), "forbidden", "operator")
        for method, path in ROUTES[scope]:
            assert (await client.request(method, path, json=body_of(path))).status_code not in (401, 403)


async def test_a_key_makes_no_key_that_may_more(customer: Customer, http: httpx.AsyncClient):
    """
    Who may make keys cannot thereby get a scope it lacks.
    """
    limited = await make_key(http, scopes=["keys", "read"])
    async with using(customer, limited["key"]) as client:
        before = len(await pages(http, "/api-keys"))
        wider = await client.post("/api-keys", json={"name": "wider", "scopes": ["keys", "execute"]})
        everything = await client.post("/api-keys", json={"name": "all that it may itself"})
        equal = await client.post("/api-keys", json={"name": "equal", "scopes": ["read"]})
        after = len(await pages(http, "/api-keys"))

    refused(wider, "forbidden", "execute")
    assert (201, {"keys", "read"}) == (everything.status_code, set(everything.json()["scopes"]))
    assert (201, ["read"]) == (equal.status_code, equal.json()["scopes"])
    assert before + 2 == after


async def test_the_operator_is_no_tenant(staff: httpx.AsyncClient):
    """
    The operator's token opens the operator's routes only; a tenant's say that they need an API key.
    """
    for some in ROUTES.values():
        for method, path in some:
            refused(await staff.request(method, path, json=HELLO), "forbidden", "API key")


async def test_another_tenants_things_do_not_exist(http: httpx.AsyncClient, stranger: httpx.AsyncClient):
    """
    A stranger who knows every id sees, changes and uses nothing, and is answered as if there were nothing.
    """
    started = await http.post("/packages/echo/execute", json=HELLO)
    run = (await settled(http, started.json()["id"]))["id"]
    deployment = (await http.post("/deployments", json={"package": "echo", "basis": "task"})).json()["id"]
    await active(http, deployment)
    file = (await http.post("/files?name=secret.csv", content=b"a,b\n1,2\n")).json()["id"]
    key = (await make_key(http))["id"]

    def asks(client: httpx.AsyncClient) -> dict[str, Callable[[], Any]]:
        return {
            "run": lambda: client.get(f"/runs/{run}"),
            "steps": lambda: client.get(f"/runs/{run}/steps"),
            "events": lambda: client.get(f"/runs/{run}/events"),
            "receipt": lambda: client.get(f"/runs/{run}/receipt"),
            "cancel": lambda: client.post(f"/runs/{run}/cancel"),
            "deployment": lambda: client.get(f"/deployments/{deployment}"),
            "config": lambda: client.patch(f"/deployments/{deployment}", json={"config": {}}),
            "end": lambda: client.delete(f"/deployments/{deployment}"),
            "execute": lambda: client.post(f"/deployments/{deployment}/execute", json=HELLO),
            "estimate": lambda: client.post(f"/deployments/{deployment}/estimate", json=HELLO),
            "file": lambda: client.get(f"/files/{file}"),
            "content": lambda: client.get(f"/files/{file}/content"),
            "delete": lambda: client.delete(f"/files/{file}"),
            "key": lambda: client.delete(f"/api-keys/{key}"),
        }

    async with nothing_changes(http), nothing_changes(stranger):
        for name, ask in asks(stranger).items():
            answer = await ask()
            assert answer.status_code == 404, f"{name}: {answer.text}"
            refused(answer, "not_found")
        body = {"input": {"file": file}}
        refused(await stranger.post("/packages/data-processor/execute", json=body), "invalid_input", file)
        config = {"package": "knowledge-base", "basis": "query", "config": {"sources": [file]}}
        refused(await stranger.post("/deployments", json=config), "invalid_config", file)
        for query in ({"deployment": deployment}, {"package": "echo"}):
            assert [] == await pages(stranger, "/runs", **query)
            assert [] == (await stranger.get("/usage", params=query)).json()["items"]
        assert [] == await pages(stranger, "/files", run=run)
    assert 200 == (await http.get(f"/files/{file}/content")).status_code
    assert None is next(one for one in await pages(http, "/api-keys") if one["id"] == key)["revoked_at"]


async def test_one_idempotency_key_is_two_runs_for_two_tenants(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient
):
    """
    What a tenant calls its request means nothing to another.
    """
    key = {"Idempotency-Key": "order-1"}
    mine = await http.post("/packages/echo/execute", json={"input": {"text": "mine"}}, headers=key)
    theirs = await stranger.post("/packages/echo/execute", json={"input": {"text": "theirs"}}, headers=key)

    assert "mine" == (await settled(http, mine.json()["id"]))["output"]["text"]
    assert "theirs" == (await settled(stranger, theirs.json()["id"]))["output"]["text"]
