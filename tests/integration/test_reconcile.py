"""Reconciliation: with a difference planted in each joint, each found and named; none where all is well."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import nats
import pytest
from agora_contracts.subjects import USAGE_STREAM
from agora_local.platform import Platform

from tests.integration.conftest import NewCustomer
from tests.support.answers import refused
from tests.support.bookkeeping import settled
from tests.support.tenancy import Customer

PLANTS: dict[str, tuple[str, str, str]] = {
    "runs": (
        "execution",
        "UPDATE runs SET usage_count = usage_count + 1 WHERE id = $1",
        "UPDATE runs SET usage_count = usage_count - 1 WHERE id = $1",
    ),
    "charges": (
        "execution",
        "UPDATE runs SET charged = charged + 1 WHERE id = $1",
        "UPDATE runs SET charged = charged - 1 WHERE id = $1",
    ),
    "holds": (
        "billing",
        "UPDATE holds SET state = 'firm', ended_at = NULL WHERE run = $1",
        "UPDATE holds SET state = 'settled', ended_at = now() WHERE run = $1",
    ),
    "ledger": (
        "billing",
        "UPDATE accounts SET credit = credit + 1 WHERE account_id = (SELECT account_id FROM holds WHERE run = $1)",
        "UPDATE accounts SET credit = credit - 1 WHERE account_id = (SELECT account_id FROM holds WHERE run = $1)",
    ),
    "totals": (
        "metering",
        "UPDATE usage_day SET quantity = quantity + 1 WHERE tenant_id = (SELECT tenant_id FROM runs WHERE run = $1)",
        "UPDATE usage_day SET quantity = quantity - 1 WHERE tenant_id = (SELECT tenant_id FROM runs WHERE run = $1)",
    ),
}


@asynccontextmanager
async def administrator(platform: Platform, service: str) -> AsyncIterator[asyncpg.Connection]:
    """Who may write everything, and whom no trigger stops."""
    connection = await asyncpg.connect(platform.postgres.url.rsplit("/", 1)[0] + f"/agora_{service}")
    try:
        await connection.execute("SET session_replication_role = replica")
        yield connection
    finally:
        await connection.close()


async def a_run(customer: Customer) -> str:
    """A run of a fresh tenant, settled."""
    async with customer.client(timeout=60) as client:
        answer = await client.post("/packages/echo/execute", json={"input": {"text": "hi", "steps": 2}})
        answer.raise_for_status()
        run = str(answer.json()["id"])
        await settled(client, run)
    return run


async def differences(staff: httpx.AsyncClient, tenant: str) -> list[dict[str, Any]]:
    """What differs of a tenant, and of the ledger."""
    since = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    body = {"since": since, "tenant": tenant, "grace_seconds": 0}
    answer = await staff.post("/operator/reconcile", json=body, timeout=60)
    assert 200 == answer.status_code, answer.text
    found: list[dict[str, Any]] = answer.json()["differences"]
    return found


def found_in(joint: str, found: list[dict[str, Any]]) -> list[str]:
    """The subjects that differ in one joint."""
    return [one["subject"] for one in found if one["joint"] == joint]


async def rolled(platform: Platform, tenant: str) -> None:
    """Wait until what was counted of a tenant has been moved into the totals."""
    async with administrator(platform, "metering") as connection:
        query = "SELECT count(*) FROM usage_deltas WHERE tenant_id = $1"
        for _ in range(300):
            if not await connection.fetchval(query, tenant):
                return
            await connection.execute("SELECT pg_sleep(0.1)")
    raise TimeoutError("not rolled up")


async def test_nothing_differs_where_all_is_well(staff: httpx.AsyncClient, hire_customer: NewCustomer):
    """
    A settled run agrees in every joint: execution, outbox, stream, metering, billing and its ledger.
    """
    customer = await hire_customer()
    await a_run(customer)

    assert [] == await differences(staff, customer.tenant)


@pytest.mark.parametrize("joint", PLANTS)
async def test_a_planted_difference_is_named(
    joint: str, market: Platform, staff: httpx.AsyncClient, hire_customer: NewCustomer
):
    """
    What somebody has changed in one service's database is found in its joint, by the id of what differs.
    """
    customer = await hire_customer()
    run = await a_run(customer)
    await rolled(market, customer.tenant)
    service, plant, undo = PLANTS[joint]

    async with administrator(market, service) as connection:
        await connection.execute(plant, run)
        try:
            found = await differences(staff, customer.tenant)
        finally:
            await connection.execute(undo, run)

    subjects = found_in(joint, found)
    wanted = {"ledger": customer.account, "totals": "tasks/echo/day/"}.get(joint, run)
    assert any(wanted in subject for subject in subjects), found
    assert [] == await differences(staff, customer.tenant)


async def test_events_that_are_not_counted_are_named(
    market: Platform, staff: httpx.AsyncClient, hire_customer: NewCustomer
):
    """
    An event that metering has lost is named by its id; its run and its totals differ as well.
    """
    customer = await hire_customer()
    run = await a_run(customer)
    await rolled(market, customer.tenant)

    async with administrator(market, "metering") as connection:
        row = await connection.fetchrow(
            "WITH lost AS (DELETE FROM usage_events WHERE ctid = (SELECT ctid FROM usage_events WHERE run = $1 LIMIT 1)"
            " AND run = $1 RETURNING *) SELECT id, to_jsonb(lost)::text AS whole FROM lost LIMIT 1",
            run,
        )
        try:
            found = await differences(staff, customer.tenant)
        finally:
            await connection.execute(
                "INSERT INTO usage_events SELECT * FROM jsonb_populate_record(NULL::usage_events, $1::jsonb)",
                row["whole"],
            )

    assert row["id"] in found_in("events", found)
    assert run in found_in("runs", found)
    assert found_in("totals", found)
    assert [] == await differences(staff, customer.tenant)


async def test_what_outbox_and_stream_have_lost_is_named(
    market: Platform, staff: httpx.AsyncClient, hire_customer: NewCustomer
):
    """
    A message that the stream has lost is named by its event's id, a row that the outbox has lost by its run.
    """
    customer = await hire_customer()
    run = await a_run(customer)
    connection = await nats.connect(market.nats_url())
    try:
        stream = connection.jetstream()
        subscription = await stream.subscribe(
            f"agora.evt.{customer.tenant}.usage.>", stream=USAGE_STREAM.name, ordered_consumer=True
        )
        message = await subscription.next_msg(timeout=10)
        await stream.delete_msg(USAGE_STREAM.name, message.metadata.sequence.stream)
    finally:
        await connection.close()
    async with administrator(market, "execution") as database:
        await database.execute(
            "DELETE FROM outbox WHERE seq = (SELECT max(seq) FROM outbox WHERE entity = $1 AND subject LIKE '%.usage.%')",
            run,
        )

    found = await differences(staff, customer.tenant)

    assert json.loads(message.data)["id"] in found_in("stream", found)
    assert run in found_in("outbox", found)


async def test_a_window_that_makes_no_sense_is_refused(staff: httpx.AsyncClient):
    """
    A window that begins after it ends, a time without a zone and an unknown tenant are refused with what to change.
    """
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    refused(
        await staff.post("/operator/reconcile", json={"since": later}), "invalid_input", "earlier `since`"
    )
    refused(await staff.post("/operator/reconcile", json={"since": "2026-01-05T09:00:00"}), "invalid_input")
    body = {"since": "2026-01-05T09:00:00Z", "tenant": "nobody"}
    refused(await staff.post("/operator/reconcile", json=body), "not_found")
