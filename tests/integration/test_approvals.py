"""A person in the loop, from outside: a run that waits, who may decide, and what is charged afterwards."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx

from tests.integration.conftest import NewCustomer
from tests.integration.test_readme import CHECKOUT, told
from tests.support.answers import refused
from tests.support.tenancy import Customer
from tests.support.waiting import until

ASKS = {"input": {"text": "hello", "ask": True}}
_BLOCK = re.compile(r"^<!-- run -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


async def approval_of(http: httpx.AsyncClient, run: str) -> dict[str, Any]:
    """What the run waits for, once it does."""
    async with asyncio.timeout(60):
        while True:
            page = (await http.get("/approvals", params={"run": run, "state": "pending"})).json()
            if page["items"]:
                found: dict[str, Any] = page["items"][0]
                return found
            await asyncio.sleep(0.1)


async def test_a_run_waits_for_a_person(http: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    """
    It says what it waits for; a key without the scope, another tenant and an unreadable decision change nothing; approved,
    it goes on and is charged once; the trail tells of everything.
    """
    run = (await http.post("/packages/echo/execute", json=ASKS)).json()["id"]
    approval = await approval_of(http, run)
    path = f"/approvals/{approval['id']}/decide"
    reader = (await http.post("/api-keys", json={"name": "reader", "scopes": ["read"]})).json()["key"]

    waiting = (await http.get(f"/runs/{run}")).json()
    assert ("waiting", "approval") == (waiting["status"], waiting["waiting_for"])
    headers = {"Authorization": f"Bearer {reader}"}
    refused(await http.post(path, json={"decision": "approve"}, headers=headers), "forbidden")
    refused(await stranger.post(path, json={"decision": "approve"}), "not_found")
    for body in ({"decision": "maybe"}, {"decision": "approve", "force": True}, {}):
        assert (await http.post(path, json=body)).status_code in (400, 422)
    decided = (await http.post(path, json={"decision": "approve", "comment": "fine"})).json()
    refused(await http.post(path, json={"decision": "reject"}), "approval_decided")
    ended = (await http.get(f"/runs/{run}", headers={"Prefer": "wait=30"})).json()
    trail = (await http.get(f"/approvals/{approval['id']}/trail")).json()["items"]

    assert ("approved", "fine") == (decided["state"], decided["comment"])
    assert ("succeeded", "0.010000") == (ended["status"], ended["cost"]["amount"])
    assert ["requested", "approved", "refused"] == [entry["what"] for entry in trail]


async def rests(http: httpx.AsyncClient, run: str) -> bool:
    """Whether the run waits for its resumption."""
    return bool((await http.get(f"/runs/{run}")).json()["waiting_for"] == "pause")


async def test_a_paused_run_is_resumed(http: httpx.AsyncClient) -> None:
    """
    Pausing and resuming by REST; a run that has ended is neither paused nor resumed.
    """
    body = {"input": {"text": "hello", "steps": 20, "delay_ms": 100}}
    run = (await http.post("/packages/echo/execute", json=body)).json()["id"]
    (await http.post(f"/runs/{run}/pause")).raise_for_status()
    await until(lambda: rests(http, run), bool)
    (await http.post(f"/runs/{run}/resume")).raise_for_status()
    ended = (await http.get(f"/runs/{run}", headers={"Prefer": "wait=30"})).json()

    assert ("succeeded", 20) == (ended["status"], ended["steps"])
    refused(await http.post(f"/runs/{run}/pause"), "run_ended")
    refused(await http.post(f"/runs/{run}/retry"), "conflict")
    fork = await http.post(
        f"/runs/{run}/fork", json={"before": f"{run}/echo/20"}, headers={"Prefer": "wait=30"}
    )
    assert ("succeeded", 20) == (fork.json()["status"], fork.json()["steps"])


def test_the_guides_commands_work(newcomer: Customer, tmp_path: Path) -> None:
    """
    What the guide tells to type decides a waiting run, which then succeeds.
    """
    guide = (CHECKOUT / "docs/guides/approvals.md").read_text(encoding="utf-8")
    [(language, block)] = _BLOCK.findall(guide)
    printed = told(language, block, newcomer, tmp_path)

    assert '"state":"approved"' in printed
    assert '"status":"succeeded"' in printed


async def test_what_nobody_may_list(hire_customer: NewCustomer) -> None:
    """
    A tenant sees its own approvals alone.
    """
    customer = await hire_customer()
    async with customer.client() as other:
        assert [] == (await other.get("/approvals")).json()["items"]
