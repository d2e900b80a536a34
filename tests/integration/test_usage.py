"""Usage from outside to inside: reported, refused, mended, corrected, exported, and what it does to charges."""

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import agora
import httpx
import nats
import pyarrow.parquet
import pytest
from agora.client import UsageEvent
from agora_contracts.permissions import integrator_inbox
from agora_local.integrators import add_integrator
from agora_local.platform import Platform
from agora_local.supervisor import State

from tests.support.answers import micro, pages, refused
from tests.support.bookkeeping import books, settled
from tests.support.tenancy import Customer
from tests.support.terminal import run
from tests.support.waiting import until

METER = "sensor.readings"


@pytest.fixture
async def meter(client: agora.Client) -> str:
    """A meter of the customer's own; until its totals are built, what is asked of it is marked as incomplete."""
    await client.usage.define_meter(METER, unit="1")
    built = await until(lambda: client.usage.get_meter(METER), lambda found: found.state == "active")
    return built.key


def an_event(id: str, quantity: str = "1.5", **changes: Any) -> UsageEvent:
    """An event of a minute ago."""
    fields: dict[str, Any] = {"meter": METER, "time": datetime.now(UTC) - timedelta(minutes=1)}
    return UsageEvent(id=id, quantity=Decimal(quantity), **(fields | changes))


async def used(http: httpx.AsyncClient, meter: str) -> Decimal:
    """What was used of a meter."""
    answer = (await http.get("/usage", params={"meter": meter})).raise_for_status()
    rows = answer.json()["items"]
    return Decimal(rows[0]["quantity"]) if rows else Decimal(0)


async def exported(client: agora.Client, folder: Path, **options: Any) -> list[dict[str, Any]]:
    """Usage of the last and the next days, as rows of a file."""
    now = datetime.now(UTC)
    span = {"start": now - timedelta(days=2), "end": now + timedelta(days=1)}
    asked = await client.usage.export(**(span | options))
    async with asyncio.timeout(60):
        done = await client.usage.wait_for_export(asked.id)
    assert "succeeded" == done.state, done
    raw = (await client.usage.download_export(done, folder / "export")).read_bytes()
    if done.format == "csv":
        return list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(io.BytesIO(raw)).to_pylist()
    return rows


async def test_reported_usage_from_report_to_export(
    client: agora.Client, http: httpx.AsyncClient, stranger: httpx.AsyncClient, meter: str, tmp_path: Path
):
    """
    Counted once, refused with what to change, corrected and replayed, amended; the query is exact at each moment,
    the export says the same, and nobody else sees any of it.
    """
    told = await client.usage.report(
        [
            an_event("e1"),
            an_event("e2", "2"),
            an_event("e1"),
            an_event("e3", meter="unheard.of"),
            an_event("e4", "-1"),
        ]
    )
    assert ["accepted", "accepted", "refused", "refused", "refused"] == [item.result for item in told.items]
    assert [None, None, "id_collision", "unknown_meter", "invalid_quantity"] == [
        item.reason for item in told.items
    ]
    assert Decimal("3.5") == await used(http, meter)
    waiting = (await client.usage.refused()).items
    negative = next(one for one in waiting if one.reason == "invalid_quantity")
    mended = await client.usage.replay(negative.id, an_event("e4", "0.25"))
    again = await client.usage.replay(negative.id)
    booked = await client.usage.amend(
        told.items[1].source, "e2", Decimal("2.75"), reason="read twice", id="c1"
    )

    assert ("accepted", "duplicate", Decimal("0.75")) == (mended.result, again.result, booked.difference)
    assert Decimal("4.5") == await used(http, meter)
    rows = await exported(client, tmp_path, format="parquet", meter=meter)
    assert {"e1": Decimal("1.5"), "e2": Decimal("2.75"), "e4": Decimal("0.25")} == {
        row["id"]: row["quantity"] for row in rows
    }
    assert [] == await pages(stranger, "/usage/refused")
    assert 0 == await used(stranger, meter)
    refused(await stranger.post(f"/usage/refused/{negative.id}/replay"), "not_found")


async def test_a_corrected_run_costs_the_difference_less(
    client: agora.Client,
    http: httpx.AsyncClient,
    staff: httpx.AsyncClient,
    customer: Customer,
    tmp_path: Path,
):
    """
    The operator voids what a run was charged for, and later lets it count again: metering tells the next revision,
    billing posts the difference each time, and run, receipt, statement and balance agree. The tenant itself cannot.
    """
    started = await http.post("/packages/echo/execute", json={"input": {"text": "hi"}})
    charged = await settled(http, started.json()["id"])
    (task,) = await exported(client, tmp_path, format="csv", meter="tasks")
    assert (charged["id"], "1") == (task["run"], task["quantity"])
    path = f"/operator/tenants/{customer.tenant}/usage/corrections"
    body = {
        "id": "c1",
        "event": {"source": task["source"], "id": task["id"]},
        "kind": "void",
        "reason": "the text was garbled",
    }
    refused(await http.post("/usage/corrections", json=body), "forbidden")
    answers = [await staff.post(path, json=body) for _ in range(2)]

    assert [200, 200] == [answer.status_code for answer in answers]
    assert answers[0].json() == answers[1].json()
    free = await until(lambda: run_of(http, charged["id"]), lambda found: micro(found["cost"]) == 0)
    assert "succeeded" == free["status"]
    found = await books(http)
    assert (1_000_000_000, 0) == (found.credit, found.held)
    amend = body | {"id": "c2", "kind": "amend", "quantity": "1", "reason": "it was not"}
    assert 200 == (await staff.post(path, json=amend)).status_code
    await until(lambda: run_of(http, charged["id"]), lambda found: micro(found["cost"]) == 10_000)

    lines = await pages(http, "/account/statement")
    assert [-10_000, 10_000, -10_000] == [
        micro(line["amount"]) for line in lines if line["run"] == charged["id"]
    ]
    after = await books(http)
    assert 1_000_000_000 - 10_000 == after.credit == after.ledger
    receipt = (await http.get(f"/runs/{charged['id']}/receipt")).json()
    assert (3, 10_000) == (receipt["revision"], micro(receipt["charged"]))


async def run_of(http: httpx.AsyncClient, run: str) -> dict[str, Any]:
    """A run as it is now."""
    found: dict[str, Any] = (await http.get(f"/runs/{run}")).raise_for_status().json()
    return found


async def test_an_integrator_reports_over_nats(
    market: Platform, http: httpx.AsyncClient, customer: Customer, meter: str
):
    """
    A user of NATS that may do nothing else publishes CloudEvents; each counts once for its tenant, and what it
    cannot read is kept for the tenant to see.
    """
    state = State(phase="ready", pid=0, ports=market.ports, units=tuple(market.states()))
    integrator = add_integrator(market.folder, state, customer.tenant, "weather")
    connection = await until(lambda: let_in(integrator.url, customer), lambda found: found is not None)
    stream = connection.jetstream()
    event = an_event("e1").cloud_event()
    for payload in (event, event, an_event("e2", "2").cloud_event(), b"{nonsense"):
        await stream.publish(integrator.subject, payload)
    await connection.close()

    assert Decimal("3.5") == await until(
        lambda: used(http, meter), lambda quantity: quantity == Decimal("3.5")
    )
    (nonsense,) = await until(lambda: pages(http, "/usage/refused"), lambda found: len(found) == 1)
    assert ("malformed", "{nonsense") == (nonsense["reason"], nonsense["payload"])
    assert "nats:weather" == nonsense["source"]


async def let_in(url: str, customer: Customer) -> Any:
    """A connection of the integrator; None while NATS does not know it yet."""
    prefix = integrator_inbox(customer.tenant, "weather").encode()

    async def keep_silent(_: Exception) -> None:
        """Being refused at first is expected."""

    try:
        return await nats.connect(url, inbox_prefix=prefix, allow_reconnect=False, error_cb=keep_silent)
    except (nats.errors.Error, ConnectionError):
        return None


def test_usage_is_reported_and_exported_from_a_terminal(newcomer: Customer, tmp_path: Path) -> None:
    """
    `agora usage report` says what is refused and why; a run's usage is shown, and exported into a file.
    """
    events = [{"id": "e1", "meter": "unheard.of", "quantity": "1"}]
    (tmp_path / "events.jsonl").write_text("\n".join(json.dumps(event) for event in events))
    reported = run(["agora", "usage", "report", "events.jsonl"], newcomer, tmp_path)
    listed = run(["agora", "usage", "refused"], newcomer, tmp_path)
    run(["agora", "execute", "echo", "--input", '{"text": "hi"}', "--watch"], newcomer, tmp_path)
    shown = run(["agora", "usage", "--by", "meter,package"], newcomer, tmp_path)
    now = datetime.now(UTC)
    span = ["--from", (now - timedelta(days=1)).isoformat(), "--to", (now + timedelta(days=1)).isoformat()]
    written = run(["agora", "usage", "export", *span, "--out", "usage.csv"], newcomer, tmp_path)

    assert (1, 0, 0, 0) == (reported.returncode, listed.returncode, shown.returncode, written.returncode)
    assert "0 counted, 0 known already, 1 refused" in reported.stdout
    assert "create a meter" in listed.stdout
    assert "tasks" in shown.stdout and "echo" in shown.stdout
    assert "2 rows in usage.csv" in written.stdout
    assert {"echoes", "tasks"} == {row["meter"] for row in csv.DictReader((tmp_path / "usage.csv").open())}
