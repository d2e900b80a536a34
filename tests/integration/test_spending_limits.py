"""Limits on spending, end to end: by package and key, of one run, from given credit, and with billing gone."""

import asyncio

import httpx
from agora_local.platform import Platform

from tests.integration.conftest import NewCustomer
from tests.support.answers import micro, refused
from tests.support.bookkeeping import nothing_changes, settled
from tests.support.tenancy import Customer

HELLO = {"input": {"text": "hi"}}
CENT = 10_000


async def test_a_keys_budget_binds_that_key_alone(customer: Customer, http: httpx.AsyncClient):
    """
    A key with a budget for two runs starts two; another key of the tenant goes on. What is spent and told adds up.
    """
    made = (await http.post("/api-keys", json={"name": "limited"})).raise_for_status().json()
    body = {
        "scope": "api_key",
        "target": made["id"],
        "period": "month",
        "limit": {"amount": "0.025"},
        "kind": "hard",
    }
    budget = (await http.post("/budgets", json=body)).raise_for_status().json()
    limited = httpx.AsyncClient(
        base_url=http.base_url, headers={"Authorization": f"Bearer {made['key']}"}, timeout=60
    )
    async with limited:
        answers = [await limited.post("/packages/echo/execute", json=HELLO) for _ in range(3)]
    other = await http.post("/packages/echo/execute", json=HELLO)
    runs = [answer.json()["id"] for answer in (*answers[:2], other)]
    for run in runs:
        await settled(http, run)

    refused(answers[2], "budget_exhausted", budget["id"], "0.005000 left")
    found = (await http.get(f"/budgets/{budget['id']}")).json()
    assert (2 * CENT, 0, 5_000) == tuple(micro(found[field]) for field in ("spent", "reserved", "left"))


async def test_a_runs_own_limit(http: httpx.AsyncClient):
    """
    A run that is quoted above its limit is refused and leaves nothing; at its limit it runs and costs no more.
    """
    async with nothing_changes(http):
        short = await http.post("/packages/echo/execute", json=HELLO | {"max_cost": {"amount": "0.009999"}})
    enough = await http.post("/packages/echo/execute", json=HELLO | {"max_cost": {"amount": "0.01"}})

    refused(short, "budget_exhausted", "max_cost")
    assert CENT == micro((await settled(http, enough.json()["id"]))["cost"])


async def test_given_credit_is_spent_first(hire_customer: NewCustomer, staff: httpx.AsyncClient):
    """
    Promotional credit pays before paid credit; balance, statement and grant tell the same.
    """
    customer = await hire_customer(credit="0.010000")
    body = {"amount": {"amount": "0.015"}, "reference": "welcome", "reason": "Welcome"}
    path = f"/operator/tenants/{customer.tenant}/promotions"
    (await staff.post(path, json=body)).raise_for_status()
    async with customer.client(timeout=60) as http:
        for _ in range(2):
            await settled(http, (await http.post("/packages/echo/execute", json=HELLO)).json()["id"])
        none_left = await http.post("/packages/echo/execute", json=HELLO)
        statement = (await http.get("/account/statement")).json()
        [grant] = (await http.get("/account/promotions")).json()["items"]

    refused(none_left, "insufficient_credit")
    assert (5_000, 0) == tuple(micro(statement["balance"][field]) for field in ("credit", "promotional"))
    assert (5_000, 0) == tuple(
        micro(statement[field]) for field in ("entries_sum", "promotional_entries_sum")
    )
    assert ("used_up", 15_000) == (grant["state"], micro(grant["spent"]))
    charges = [line for line in statement["items"] if line["kind"] == "charge"]
    assert [(-5_000, -5_000), (0, -CENT)] == [
        (micro(line["amount"]), micro(line["promotional"])) for line in charges
    ]


async def test_without_billing_nothing_is_spent(market: Platform, http: httpx.AsyncClient):
    """
    While billing is gone, a run is refused as unavailable, at once or after the deadline, and nothing is stored.
    """
    await asyncio.to_thread(market.stop_one, "billing")
    try:
        answer = await http.post("/packages/echo/execute", json=HELLO, timeout=60)
    finally:
        market.start_one("billing")
        await asyncio.to_thread(market.wait_ready)

    assert answer.status_code in (503, 504), answer.text
    assert [] == (await http.get("/runs")).json()["items"]
