"""What the operator sees and does: refused messages, open holds, health, replays, packages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import agora_echo
import httpx
import msgspec
import nats
import nats.errors
import pytest
from agora_contracts.catalogue import PROCESSES
from agora_contracts.ids import derived
from agora_contracts.subjects import INGEST_STREAM, STREAMS, event_subject
from agora_local.platform import Platform
from nats.js import JetStreamContext

from tests.support.answers import all_events, micro, pages, refused
from tests.support.bookkeeping import books, nothing_changes, settled
from tests.support.tenancy import Customer
from tests.support.waiting import until

HELLO = {"input": {"text": "hi"}}


@pytest.fixture
async def wire(market: Platform) -> AsyncIterator[JetStreamContext]:
    """NATS as its operator reaches it."""
    connection = await nats.connect(market.nats_url("operator"))
    yield connection.jetstream()
    await connection.close()


def usage_of(customer: Customer, event: str, **data: Any) -> dict[str, Any]:
    """A usage event as it would arrive from outside."""
    return {
        "specversion": "1.0",
        "id": event,
        "source": "tests/integration",
        "type": "agora.usage.recorded.v1",
        "time": datetime.now(UTC).isoformat(),
        "tenant": customer.tenant,
        "data": {"meter": "samples", "quantity": "1"} | data,
    }


async def send(wire: JetStreamContext, customer: Customer, payload: bytes, message_id: str) -> None:
    """Put a message where usage arrives."""
    subject = event_subject(customer.tenant, "usage.event.recorded")
    await wire.publish(subject, payload, headers={"Nats-Msg-Id": message_id})


async def dead_letter(staff: httpx.AsyncClient, message_id: str) -> dict[str, Any]:
    """A refused message of metering, once it is listed."""

    async def look() -> dict[str, Any] | None:
        query: dict[str, str | int] = {"service": "metering", "limit": 200}
        page = (await staff.get("/operator/dead-letters", params=query)).raise_for_status().json()
        return next((letter for letter in page["items"] if letter["message_id"] == message_id), None)

    found = await until(look, lambda letter: letter is not None)
    assert found is not None
    return found


async def usage(http: httpx.AsyncClient) -> dict[str, tuple[str, int]]:
    """Quantity and number of events by meter."""
    rows = (await http.get("/usage")).raise_for_status().json()["items"]
    return {row["meter"]: (row["quantity"], row["events"]) for row in rows}


async def replayed(staff: httpx.AsyncClient, letter: int) -> httpx.Response:
    """Replay one dead letter of metering."""
    return await staff.post("/operator/dead-letters/replay", json={"service": "metering", "ids": [letter]})


@pytest.mark.parametrize(
    ("fault", "change", "reason"),
    [
        ("no JSON", b"rubbish \x00\xff", "JSON"),
        ("no quantity", {"data": {"meter": "samples"}}, "quantity"),
        ("negative", {"data": {"meter": "samples", "quantity": "-1"}}, "quantity"),
        ("not a number", {"data": {"meter": "samples", "quantity": "NaN"}}, "quantity"),
        ("no time zone", {"time": "2026-01-01T00:00:00"}, "time"),
        ("another tenant's", {"tenant": "ten_somebody"}, "ten_somebody"),
    ],
)
async def test_what_cannot_be_counted_is_a_dead_letter_with_its_reason(
    wire: JetStreamContext,
    staff: httpx.AsyncClient,
    customer: Customer,
    http: httpx.AsyncClient,
    fault: str,
    change: Any,
    reason: str,
):
    """
    A broken usage event is listed with why; its neighbours are counted; a replay is refused again.
    """
    key = f"{customer.tenant}-{fault.replace(' ', '-')}"
    broken = change if isinstance(change, bytes) else msgspec.json.encode(usage_of(customer, key) | change)
    await send(wire, customer, msgspec.json.encode(usage_of(customer, f"{key}-before")), f"{key}-before")
    await send(wire, customer, broken, key)
    await send(wire, customer, msgspec.json.encode(usage_of(customer, f"{key}-after")), f"{key}-after")
    letter = await dead_letter(staff, key)
    report = await replayed(staff, letter["id"])
    await until(lambda: usage(http), lambda found: found == {"samples": ("2", 2)})

    assert reason in letter["reason"]
    assert event_subject(customer.tenant, "usage.event.recorded") == letter["subject"]
    assert letter["replayed_at"] is None
    assert {"accepted": 0, "refused": [letter["id"]]} == report.json()
    assert (await dead_letter(staff, key))["replayed_at"] is None


async def test_an_event_that_comes_twice_counts_once(
    wire: JetStreamContext, customer: Customer, http: httpx.AsyncClient
):
    """
    The same event under two message ids, which NATS takes for two, is one to metering.
    """
    event = msgspec.json.encode(usage_of(customer, f"{customer.tenant}-once", quantity="2.5"))
    other = msgspec.json.encode(usage_of(customer, f"{customer.tenant}-other", quantity="0.25"))
    for number in range(3):
        await send(wire, customer, event, f"{customer.tenant}-delivery-{number}")
    await send(wire, customer, other, f"{customer.tenant}-other")
    counted = await until(lambda: usage(http), lambda found: found.get("samples", ("", 0))[1] >= 2)

    assert {"samples": ("2.75", 2)} == counted


async def test_usage_after_a_runs_end_is_never_billed(
    wire: JetStreamContext, staff: httpx.AsyncClient, customer: Customer, http: httpx.AsyncClient
):
    """
    Usage booked on a run that is over is refused with the reason, and costs its customer nothing.
    """
    started = await http.post("/packages/echo/execute", json=HELLO)
    run = (await settled(http, started.json()["id"]))["id"]
    counted = await usage(http)
    key = f"{customer.tenant}-late"
    async with nothing_changes(http):
        late = usage_of(customer, key, meter="tasks", quantity="1000", run=run, package="echo")
        await send(wire, customer, msgspec.json.encode(late), key)
        letter = await dead_letter(staff, key)
        report = await replayed(staff, letter["id"])

    assert "after the end" in letter["reason"]
    assert [letter["id"]] == report.json()["refused"]
    assert counted == await usage(http)


async def test_replaying_a_runs_usage_changes_nothing(staff: httpx.AsyncClient, http: httpx.AsyncClient):
    """
    Everything about a settled run published again: same usage, same charge, same journal, no new posting.
    """
    started = await http.post("/packages/echo/execute", json={"input": {"text": "hi", "steps": 4}})
    run = (await settled(http, started.json()["id"]))["id"]
    events, before = await all_events(http, run), await books(http)
    receipt = (await http.get(f"/runs/{run}/receipt")).json()
    for _ in range(2):
        answer = await staff.post(f"/operator/runs/{run}/replay-usage")
        assert answer.status_code == 200, answer.text
        assert answer.json()["count"] > 5
    # What is replayed goes through the same queues as what comes after it.
    later = await http.post("/packages/echo/execute", json=HELLO)
    await settled(http, later.json()["id"])
    after = await books(http)

    assert {"echoes": ("5", 5), "tasks": ("2", 2)} == await usage(http)
    assert (receipt, events) == ((await http.get(f"/runs/{run}/receipt")).json(), await all_events(http, run))
    assert before.postings == after.postings[1:]
    assert (before.credit - 10_000, 0) == (after.credit, after.held)
    unknown = await staff.post(f"/operator/runs/run_{'a' * 32}/replay-usage")
    refused(unknown, "not_found")


async def deliver_again(wire: JetStreamContext, customer: Customer) -> int:
    """Publish every event of a tenant once more, newest first, as messages that NATS has not seen; how many."""
    count = 0
    # What integrators report is a queue of work: gone once it is counted, it has nothing to deliver again.
    for stream in (one for one in STREAMS.values() if one is not INGEST_STREAM):
        subject = stream.subjects[0].replace("*", customer.tenant)
        reader = await wire.subscribe(subject, stream=stream.name, ordered_consumer=True)
        stored = []
        with suppress(nats.errors.TimeoutError):
            while True:
                stored.append(await reader.next_msg(timeout=0.3))
        await reader.unsubscribe()
        for message in reversed(stored):
            count += 1
            again = {"Nats-Msg-Id": f"again-{customer.tenant}-{stream.name}-{count}"}
            await wire.publish(message.subject, message.data, headers=again)
    return count


async def test_every_event_delivered_again_and_backwards_changes_nothing(
    wire: JetStreamContext, customer: Customer, http: httpx.AsyncClient
):
    """
    Each event of every service comes a second time, in reverse order: nothing is counted, charged, journaled
    or released twice.
    """
    bodies = ({"text": "a", "steps": 3}, {"text": "b", "fail": "rejected"}, {"text": "c"})
    runs = [(await http.post("/packages/echo/execute", json={"input": body})).json()["id"] for body in bodies]
    for run in runs:
        await settled(http, run)
    receipts = [(await http.get(f"/runs/{run}/receipt")).json() for run in runs]
    events = [await all_events(http, run) for run in runs]
    counted = await usage(http)
    before = await books(http)
    assert await deliver_again(wire, customer) > 20
    # Behind them all in each queue: a usage event of our own, and a run of which every service hears.
    last = usage_of(customer, f"{customer.tenant}-last")
    await send(wire, customer, msgspec.json.encode(last), f"{customer.tenant}-last")
    await until(lambda: usage(http), lambda found: "samples" in found)
    sentinel = await settled(http, (await http.post("/packages/echo/execute", json=HELLO)).json()["id"])
    after = await books(http)
    recounted = await usage(http)

    assert ({"echoes": ("4", 4), "tasks": ("2", 2)}, 10_000) == (counted, micro(sentinel["cost"]))
    assert {"echoes": ("5", 5), "tasks": ("3", 3), "samples": ("1", 1)} == recounted
    assert receipts == [(await http.get(f"/runs/{run}/receipt")).json() for run in runs]
    assert events == [await all_events(http, run) for run in runs]
    assert before.postings == after.postings[1:]
    assert (before.credit - 10_000, before.ledger - 10_000, 0) == (after.credit, after.ledger, after.held)


async def test_open_holds_are_listed_until_the_run_ends(
    staff: httpx.AsyncClient, customer: Customer, http: httpx.AsyncClient
):
    """
    What a run has set aside is listed with run, tenant and amount while it goes on, and not after.
    """
    slow = {"input": {"text": "hi", "steps": 20, "delay_ms": 300}}
    run = (await http.post("/packages/echo/execute", json=slow)).json()["id"]
    await until(lambda: http.get(f"/runs/{run}"), lambda found: found.json()["status"] == "running")
    holds = (await staff.get("/operator/holds", params={"limit": 200})).json()
    await http.post(f"/runs/{run}/cancel")
    await settled(http, run)
    left = (await staff.get("/operator/holds", params={"limit": 200})).json()

    held = next(hold for hold in holds["items"] if hold["run"] == run)
    assert (customer.tenant, customer.account, 10_000, "firm") == (
        held["tenant"],
        held["account"],
        micro(held["amount"]),
        held["state"],
    )
    assert holds["total"] >= len(holds["items"])
    assert run not in {hold["run"] for hold in left["items"]}


async def test_every_process_reports(staff: httpx.AsyncClient):
    """
    The platform is ready when each of its processes and what it depends on is.
    """
    health = (await staff.get("/operator/health")).json()

    assert "ready" == health["status"]
    assert set(PROCESSES) == {process["service"] for process in health["processes"]}
    assert all(check == "ok" for process in health["processes"] for check in process["checks"].values())


async def test_the_operators_bad_requests_are_refused(staff: httpx.AsyncClient):
    """
    Unknown services, tenants and fields are named.
    """
    unknown = f"ten_{'a' * 32}"
    key = {"name": "a"}
    refused(await staff.get("/operator/dead-letters"), "invalid_input", "service")
    refused(await staff.get("/operator/dead-letters?service=sales"), "invalid_input", "metering")
    refused(
        await staff.post("/operator/dead-letters/replay", json={"service": "x"}), "invalid_input", "service"
    )
    refused(await staff.post("/operator/tenants", json={"name": ""}), "invalid_input", "/name")
    refused(await staff.post(f"/operator/tenants/{unknown}/keys", json=key), "not_found")
    refused(await staff.get(f"/operator/tenants/{unknown}/keys"), "not_found")
    top_up = {"amount": {"amount": "1", "currency": "USD"}, "reference": "a"}
    refused(await staff.post(f"/operator/tenants/{unknown}/top-ups", json=top_up), "not_found")
    refused(await staff.get("/operator/tenants?cursor=zzz"), "invalid_cursor")


async def test_tenants_and_keys_are_made_once_listed_and_revoked(staff: httpx.AsyncClient, market: Platform):
    """
    A tenant made twice under one Idempotency-Key is one; its key is shown once and revoked by the operator.
    """
    retry = {"Idempotency-Key": derived("ten", "test", str(datetime.now(UTC)))}
    made = [await staff.post("/operator/tenants", json={"name": "Acme"}, headers=retry) for _ in range(2)]
    tenant = made[0].json()
    key = (await staff.post(f"/operator/tenants/{tenant['id']}/keys", json={"name": "first"})).json()
    bearer = {"Authorization": f"Bearer {key['key']}"}
    async with httpx.AsyncClient(base_url=f"{market.api_url}/api/v1", headers=bearer) as client:
        worked = await client.get("/account")
        await staff.delete(f"/operator/tenants/{tenant['id']}/keys/{key['id']}")
        await asyncio.sleep(1)
        refused(await client.get("/account"), "key_revoked")
    listed = await pages(staff, f"/operator/tenants/{tenant['id']}/keys")

    assert [201, 201] == [answer.status_code for answer in made]
    assert tenant == made[1].json()
    assert tenant["id"] in {one["id"] for one in await pages(staff, "/operator/tenants", limit=200)}
    assert (200, "0.000000") == (worked.status_code, worked.json()["credit"]["amount"])
    assert [(key["id"], False)] == [(one["id"], "key" in one) for one in listed]


async def test_a_package_from_elsewhere_is_listed_and_not_executed(
    staff: httpx.AsyncClient, http: httpx.AsyncClient
):
    """
    Code that did not ship with the platform does not run on it; publishing is idempotent and immutable.
    """
    manifest = msgspec.to_builtins(agora_echo.agent.manifest, str_keys=True)
    schemas = msgspec.to_builtins(agora_echo.agent.schemas)
    for price in manifest["prices"]:
        price["unit_price"] = str(price["unit_price"])
    publication = {"manifest": manifest | {"id": "from-elsewhere"}, "schemas": schemas, "first_party": False}
    first = await staff.post("/operator/packages", json=publication)
    again = await staff.post("/operator/packages", json=publication)
    changed = publication | {"manifest": publication["manifest"] | {"summary": "Something else."}}
    other = await staff.post("/operator/packages", json=changed)
    async with nothing_changes(http):
        detail = (await http.get("/packages/from-elsewhere")).json()
        run = await until(
            lambda: http.post("/packages/from-elsewhere/execute", json=HELLO),
            lambda answer: answer.status_code != httpx.codes.NOT_FOUND,
        )
        retired = await staff.post(
            f"/operator/packages/from-elsewhere/versions/{manifest['version']}/state",
            json={"state": "retired"},
        )

    assert [201, 201] == [first.status_code, again.status_code], first.text
    assert first.json() == again.json()
    refused(other, "version_exists")
    assert (False, "published") == (detail["executable"], detail["state"])
    refused(run, "not_executable")
    assert "retired" == retired.json()["state"]
    assert "from-elsewhere" not in {package["id"] for package in await pages(http, "/packages")}


async def test_a_manifest_with_a_fault_is_not_published(staff: httpx.AsyncClient):
    """
    What is wrong with a manifest is named by its field.
    """
    for manifest, field in (({}, "/id"), ({"id": "x", "version": 1}, "/version")):
        answer = await staff.post(
            "/operator/packages",
            json={"manifest": manifest, "schemas": {"input": {}, "output": {}, "config": {}}},
        )
        refused(answer, "invalid_manifest", field)
