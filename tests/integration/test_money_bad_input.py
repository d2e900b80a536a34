"""Bad input about usage and money, from outside: a clear answer each, nothing counted and nothing charged by it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.integration.conftest import NewCustomer
from tests.support.answers import micro, refused
from tests.support.bookkeeping import books, nothing_changes, settled
from tests.support.waiting import until

METER = "sensor.readings"
UNKNOWN = "0" * 32


def report(id: str = "e1", **changes: Any) -> dict[str, Any]:
    """A sound CloudEvent of a minute ago; `changes` replace its attributes, or its data where they belong there."""
    data: dict[str, Any] = {"meter": METER, "quantity": "1.5"}
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": "station",
        "type": "agora.usage.recorded.v1",
        "time": ago(minutes=1),
        "data": data,
    }
    for name, value in changes.items():
        (data if name in ("meter", "quantity", "deployment", "run") else event)[name] = value
    return event


def ago(**span: float) -> str:
    """A moment before now, or after it by a negative span."""
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


@pytest.fixture
async def reporting(http: httpx.AsyncClient) -> httpx.AsyncClient:
    """The client of a tenant that has a meter."""
    body = {"key": METER, "unit": "1", "aggregation": "sum"}
    (await http.post("/usage/meters", json=body)).raise_for_status()
    return http


async def send(http: httpx.AsyncClient, *events: dict[str, Any]) -> list[dict[str, Any]]:
    """Report events; what became of each."""
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    answer = await http.post("/usage/events", json=list(events), headers=headers)
    assert 200 == answer.status_code, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def used(http: httpx.AsyncClient, meter: str = METER) -> list[str]:
    """What was used of a meter, as the report writes it, once the meter's totals are built."""

    async def report() -> dict[str, Any]:
        found: dict[str, Any] = (await http.get("/usage", params={"meter": meter})).raise_for_status().json()
        return found

    return [row["quantity"] for row in (await until(report, lambda found: not found["incomplete"]))["items"]]


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"quantity": "-1"}, "invalid_quantity", "corrected"),
        ({"quantity": "NaN"}, "invalid_quantity", "quantity"),
        ({"quantity": "Infinity"}, "invalid_quantity", "quantity"),
        ({"quantity": "0.0000000000001"}, "invalid_quantity", "steps of"),
        ({"quantity": "1e30"}, "invalid_quantity", "quantity"),
        ({"meter": "unheard.of"}, "unknown_meter", "create a meter"),
        ({"time": ago(hours=-2)}, "in_the_future", "clock"),
        ({"time": ago(days=36)}, "too_old", "35 days"),
        ({"run": f"run_{UNKNOWN}"}, "run_usage", "run"),
        ({"meter": "tasks"}, "run_usage", "meter of your own"),
        ({"deployment": f"dep_{UNKNOWN}"}, "unknown_deployment", "deployment"),
    ],
)
async def test_usage_that_cannot_count_is_refused_with_what_to_change(
    reporting: httpx.AsyncClient, changes: dict[str, Any], reason: str, says: str
):
    """
    Negative, endless, too fine and too large quantities, unknown meters, clocks that are wrong, usage of runs: none
    is counted, each is kept with its reason, and its neighbour counts.
    """
    bad, good = await send(reporting, report("bad", **changes), report("good"))

    assert ("refused", reason) == (bad["result"], bad["reason"])
    assert says in bad["detail"]
    assert "accepted" == good["result"]
    assert ["1.5"] == await used(reporting)


async def test_a_million_millions_are_counted_to_the_last_digit(reporting: httpx.AsyncClient):
    """
    10^12 and a millionth of a millionth are added exactly.
    """
    items = await send(
        reporting,
        report("large", quantity="1000000000000"),
        report("small", quantity="0.000000000001"),
    )

    assert ["accepted", "accepted"] == [item["result"] for item in items]
    assert ["1000000000000.000000000001"] == await used(reporting)


async def test_an_id_with_another_body_does_not_count(reporting: httpx.AsyncClient):
    """
    The same id again is the same event; with another quantity it is refused, and the first one stands.
    """
    event = report()
    first = await send(reporting, event)
    second = await send(reporting, event, report(quantity="7", time=event["time"]))

    assert ["accepted"] == [item["result"] for item in first]
    assert ["duplicate", "refused"] == [item["result"] for item in second]
    assert "id_collision" == second[1]["reason"]
    assert ["1.5"] == await used(reporting)


async def test_a_forged_source_touches_no_run(reporting: httpx.AsyncClient):
    """
    An event under the platform's own source and the id of a run's usage is the sender's own, and the run's stays.
    """
    answer = await reporting.post("/packages/echo/execute", json={"input": {"text": "hi"}})
    run = await settled(reporting, answer.json()["id"])
    usage_id = f"{run['id']}/reply/1#0:tasks"

    (forged,) = await send(reporting, report(usage_id, source="agora/execution", quantity="99"))
    correction = {
        "id": "c1",
        "event": {"source": "agora/execution", "id": usage_id},
        "kind": "void",
        "reason": "free of charge, please",
    }
    answer = await reporting.post("/usage/corrections", json=correction)

    assert "accepted" == forged["result"]
    assert forged["source"].startswith("key:")
    assert answer.status_code in (403, 404), answer.text
    assert ["1"] == await used(reporting, "tasks")
    assert run["cost"] == (await reporting.get(f"/runs/{run['id']}")).json()["cost"]


async def test_money_in_another_currency_is_refused(
    http: httpx.AsyncClient, staff: httpx.AsyncClient, hire_customer: NewCustomer
):
    """
    Budgets, a run's own limit and refunds are in the account's currency.
    """
    answer = await http.post("/packages/echo/execute", json={"input": {"text": "hi"}})
    run = str(answer.json()["id"])
    await settled(http, run)
    euros = {"amount": "1.000000", "currency": "EUR"}

    async with nothing_changes(http):
        budget = {"scope": "account", "period": "month", "limit": euros, "kind": "hard"}
        refused(await http.post("/budgets", json=budget), "currency_mismatch")
        limited = {"input": {"text": "hi"}, "max_cost": euros}
        refused(await http.post("/packages/echo/execute", json=limited), "currency_mismatch")
        refund = {"amount": euros, "reason": "goodwill", "reference": "one"}
        refused(await staff.post(f"/operator/runs/{run}/refunds", json=refund), "currency_mismatch")


async def test_no_more_is_refunded_than_was_charged(http: httpx.AsyncClient, staff: httpx.AsyncClient):
    """
    More than the charge, a second time under another reference, of nobody's run, nothing: refused, nothing booked.
    """
    answer = await http.post("/packages/echo/execute", json={"input": {"text": "hi"}})
    run = str(answer.json()["id"])
    await settled(http, run)
    path = f"/operator/runs/{run}/refunds"

    def refund(amount: str, reference: str = "one") -> dict[str, Any]:
        money = {"amount": amount, "currency": "USD"}
        return {"amount": money, "reason": "goodwill", "reference": reference}

    async with nothing_changes(http):
        for amount in ("0.010001", "0.000000", "-0.010000"):
            assert (await staff.post(path, json=refund(amount))).status_code in (409, 422), amount
        unknown = f"/operator/runs/run_{UNKNOWN}/refunds"
        refused(await staff.post(unknown, json=refund("0.001000")), "not_found")
    (await staff.post(path, json=refund("0.010000"))).raise_for_status()
    async with nothing_changes(http):
        again = await staff.post(path, json=refund("0.010000"))
        assert 0 <= again.status_code - 200 < 100, again.text
        assert (await staff.post(path, json=refund("0.000001", "two"))).status_code in (409, 422)


async def test_an_account_is_not_closed_under_a_run(staff: httpx.AsyncClient, hire_customer: NewCustomer):
    """
    While a run has credit set aside the account stays open; once it is closed, neither runs nor credit are taken.
    """
    customer = await hire_customer(credit="1.000000")
    close = f"/operator/tenants/{customer.tenant}/account/close"
    async with customer.client(timeout=60) as http:
        slow = {"input": {"text": "hi", "delay_ms": 2000}}
        run = str((await http.post("/packages/echo/execute", json=slow)).json()["id"])
        refused(await staff.post(close), "holds_open")
        await settled(http, run)
        (await staff.post(close)).raise_for_status()

        refused(await http.post("/packages/echo/execute", json={"input": {"text": "hi"}}), "account_closed")
        money = {"amount": {"amount": "1.000000", "currency": "USD"}, "reference": "late"}
        refused(
            await staff.post(f"/operator/tenants/{customer.tenant}/top-ups", json=money), "account_closed"
        )
        found = await books(http)

    assert (990_000, 0) == (found.credit, found.held)


@pytest.mark.parametrize("price", ["0.0000000000001", "-0.01", "NaN", "1e400"])
async def test_a_price_that_cannot_be_is_refused(staff: httpx.AsyncClient, price: str):
    """
    Prices have at most twelve decimal places, are finite and not negative; the price book stays as it is.
    """
    body = {"prices": [{"basis": "task", "meter": "tasks", "unit_price": price}]}
    answer = await staff.post("/operator/packages/echo/prices", json=body)

    assert answer.status_code in (400, 422), answer.text
    assert "unit_price" in answer.text


async def test_twenty_runs_at_once_spend_a_budget_to_its_last_unit(http: httpx.AsyncClient):
    """
    Twenty runs at once against a budget for seven: seven are charged, thirteen are refused, naming the budget.
    """
    limit = {"amount": "0.070000", "currency": "USD"}
    body = {"scope": "account", "period": "total", "limit": limit, "kind": "hard"}
    (await http.post("/budgets", json=body)).raise_for_status()

    answers = await asyncio.gather(
        *(http.post("/packages/echo/execute", json={"input": {"text": str(one)}}) for one in range(20))
    )

    accepted = [answer for answer in answers if answer.is_success]
    for answer in answers:
        if not answer.is_success:
            refused(answer, "budget_exhausted")
    costs = [micro((await settled(http, answer.json()["id"]))["cost"]) for answer in accepted]
    assert [10_000] * 7 == costs
