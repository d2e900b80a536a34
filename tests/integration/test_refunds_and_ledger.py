"""A refund from the operator's request to the run's cost, and a ledger that its tenant recomputes itself."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
from agora_local.platform import Platform

from tests.support.answers import micro, refused
from tests.support.bookkeeping import settled
from tests.support.tenancy import Customer

WAIT_SECONDS = 30


async def run_echo(http: httpx.AsyncClient) -> str:
    """A run that is charged."""
    started = await http.post("/packages/echo/execute", json={"input": {"text": "hi"}})
    run: str = (await settled(http, started.raise_for_status().json()["id"]))["id"]
    return run


async def test_a_refund_lowers_what_a_run_costs(
    customer: Customer, http: httpx.AsyncClient, staff: httpx.AsyncClient
):
    """
    A run is charged a cent, less than half of it refunded, once: credit, receipt, statement and the run's own
    cost say so; more than is left is refused, and a tenant cannot refund itself.
    """
    run = await run_echo(http)
    path = f"/operator/runs/{run}/refunds"
    body = {
        "amount": {"amount": "0.004000", "currency": "USD"},
        "reason": "It came late.",
        "reference": "ticket-1",
    }

    done = await staff.post(path, json=body)
    again = await staff.post(path, json=body)
    too_much = await staff.post(
        path, json=body | {"amount": {"amount": "0.006001", "currency": "USD"}, "reference": "ticket-2"}
    )

    assert (201, done.json()) == (done.status_code, again.json())
    refused(too_much, "refund_exceeds_charge", "0.006000")
    refused(await http.post(path, json=body), "forbidden")
    assert 1_000_000_000 - 6_000 == micro((await http.get("/account")).json()["credit"])
    receipt = (await http.get(f"/runs/{run}/receipt")).json()
    assert (10_000, 4_000, ["It came late."]) == (
        micro(receipt["charged"]),
        micro(receipt["refunded"]),
        [one["reason"] for one in receipt["refunds"]],
    )
    line = (await http.get("/account/statement")).json()["items"][0]
    assert ("refund", 4_000, run) == (line["kind"], micro(line["amount"]), line["run"])
    async with asyncio.timeout(WAIT_SECONDS):
        while (cost := micro((await http.get(f"/runs/{run}")).json()["cost"])) != 6_000:
            assert 10_000 == cost
            await asyncio.sleep(0.05)


async def test_a_tenant_recomputes_its_ledger(
    market: Platform, customer: Customer, http: httpx.AsyncClient, staff: httpx.AsyncClient, tmp_path: Path
):
    """
    `agora ledger` saves every posting once they are sealed, `agora verify-ledger` recomputes sums and hashes
    from the file alone, and the operator's audit of the account agrees.
    """
    runs = [await run_echo(http) for _ in range(3)]
    await staff.post(f"/operator/runs/{runs[0]}/refunds", json={"reason": "all of it", "reference": "whole"})
    async with asyncio.timeout(WAIT_SECONDS):
        await all_sealed(http)

    saved = await agora_command(customer, "ledger", str(tmp_path / "ledger.jsonl"))
    checked = await agora_command(customer, "verify-ledger", str(tmp_path / "ledger.jsonl"), "--json")
    audited = await program(
        "agora_billing.verify", "--json", "--account", customer.account,
        AGORA_DATABASE_SYSTEM_URL=market.database_urls("billing").system,
    )  # fmt: skip

    assert (0, 0) == (saved.returncode, checked.returncode), (saved.stderr, checked.stderr)
    report = json.loads(checked.stdout)
    credit = micro((await http.get("/account")).json()["credit"])
    assert (True, 5, 5, credit) == (
        report["ok"], report["postings"], report["sealed"], report["ledgers"]["customer_credit"],
    )  # fmt: skip
    assert 0 == audited.returncode, audited.stdout
    found = json.loads(audited.stdout)
    assert (5, 0, 30_000, 10_000) == (
        found["sealed"], found["unsealed"], found["charged"], found["refunds"],
    )  # fmt: skip


async def all_sealed(http: httpx.AsyncClient) -> None:
    """Return once every posting of the ledger has its hash."""
    while True:
        records = (await http.get("/account/ledger")).json()["items"]
        if all(record["hash"] for record in records):
            return
        await asyncio.sleep(0.1)


async def agora_command(customer: Customer, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `agora …` as the customer."""
    return await program("agora.cli", *arguments, AGORA_URL=customer.api_url, AGORA_API_KEY=customer.key)


async def program(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a module to its end."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", module, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
