"""Models, keys of their vendors and prices, over the public API of the whole platform; the guide's commands as they are."""

import asyncio
import os
import re
from pathlib import Path

import httpx
from agora_local.platform import Platform

from tests.support.tenancy import Customer

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "models-and-keys.md").read_text(encoding="utf-8")


async def test_the_guides_commands_work_as_they_stand_there(market: Platform, customer: Customer) -> None:
    """
    Every command of the guide succeeds, and none of them shows a key that was stored.
    """
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    environment = os.environ | {
        "AGORA_URL": market.api_url,
        "AGORA_API_KEY": customer.key,
        "AGORA_OPERATOR_TOKEN": market.operator_token,
        "NO_PROXY": "*",
    }
    assert 2 == len(blocks)
    for block in blocks:
        process = await asyncio.create_subprocess_exec(
            "sh",
            "-ec",
            block,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, complaints = await process.communicate()
        assert 0 == process.returncode, complaints.decode() + told.decode()
        assert b"sk-" not in told


async def test_a_tenants_keys_are_its_own(http: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    """
    A stored key is listed by its last characters, for its tenant alone, and makes its vendor's models the tenant's own.
    """
    stored = await http.put("/provider-keys/groq", json={"secret": "gsk-of-this-tenant-abcd"})
    assert (200, "abcd", True) == (
        stored.status_code,
        stored.json()["last_characters"],
        stored.json()["usable"],
    )
    assert "gsk" not in stored.text
    assert ["groq"] == [one["vendor"] for one in (await http.get("/provider-keys")).json()["items"]]
    assert [] == (await stranger.get("/provider-keys")).json()["items"]
    offered = (await http.get("/models")).json()["items"]
    assert {"own"} == {one["key"] for one in offered if one["model"].startswith("groq:")}

    assert 404 == (await stranger.delete("/provider-keys/groq")).status_code
    assert 200 == (await http.delete("/provider-keys/groq")).status_code
    assert 404 == (await http.delete("/provider-keys/groq")).status_code


async def test_what_makes_no_sense_is_refused(http: httpx.AsyncClient, staff: httpx.AsyncClient) -> None:
    """
    An unknown vendor, a key that is none, a price below zero: each is told, and a tenant sets no prices.
    """
    unknown = await http.put("/provider-keys/nobody", json={"secret": "sk-long-enough"})
    assert (404, True) == (unknown.status_code, "anthropic" in unknown.json()["detail"])
    for secret in ("short", "with a space in it", "x" * 600, 5):
        refused = await http.put("/provider-keys/openai", json={"secret": secret})
        assert (422, "/secret") == (refused.status_code, refused.json()["errors"][0]["field"])
        assert str(secret) not in refused.text or secret == 5
    price = {"model": "openai:x", "prices": {"input": "-1", "output": "1"}}
    assert 422 == (await staff.put("/operator/model-prices", json=price)).status_code
    assert 422 == (await staff.put("/operator/model-prices", json=price | {"model": "x"})).status_code
    assert 403 == (await http.put("/operator/model-prices", json=price)).status_code


async def test_a_runs_calls_are_listed(http: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    """
    A run that asked no model lists no calls; another tenant's run does not exist.
    """
    started = await http.post(
        "/packages/echo/execute", json={"input": {"text": "hello"}}, headers={"Prefer": "wait=30"}
    )
    run = started.json()["id"]

    assert {"items": [], "next_cursor": None} == (await http.get(f"/runs/{run}/model-calls")).json()
    assert 404 == (await stranger.get(f"/runs/{run}/model-calls")).status_code
