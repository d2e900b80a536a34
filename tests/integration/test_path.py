"""The whole path: hire, run, watch, and get a correct charge."""

import asyncio
from typing import Any

import agora
import httpx
from agora_contracts.ids import derived

from tests.support.answers import all_events, follow, micro, pages, refused
from tests.support.bookkeeping import books, nothing_changes, settled
from tests.support.tenancy import Customer
from tests.support.waiting import until

ONE_TASK = 10_000
"""What one run of echo costs, in micro-units."""

CREDIT = 1_000_000_000


async def execute(client: httpx.AsyncClient, run_input: dict[str, Any], **headers: str) -> dict[str, Any]:
    """Start a run of echo and wait until it is charged."""
    answer = await client.post("/packages/echo/execute", json={"input": run_input}, headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return await settled(client, answer.json()["id"])


async def test_one_run_from_estimate_to_statement(http: httpx.AsyncClient):
    """
    A one-shot run costs what was estimated; its steps, usage, receipt, statement and balance tell one story.
    """
    run_input = {"text": "hello", "steps": 3}
    estimate = (await http.post("/packages/echo/estimate", json={"input": run_input})).json()
    run = await execute(http, run_input)
    steps = (await http.get(f"/runs/{run['id']}/steps")).json()["items"]
    receipt = (await http.get(f"/runs/{run['id']}/receipt")).json()
    usage = (await http.get("/usage", params={"group_by": "meter,package"})).json()["items"]
    statement = (await http.get("/account/statement")).json()

    assert ("succeeded", "full", "hello") == (run["status"], run["deliverable"], run["output"]["text"])
    assert run["accepted_at"] <= run["started_at"] <= run["finished_at"]
    assert ONE_TASK == micro(estimate["quote"]["amount"]) == micro(run["quoted"]) == micro(run["cost"])
    assert estimate["quote"]["price_version"] == receipt["price_version"]

    assert [("echo", 1), ("echo", 2), ("echo", 3)] == [(step["node"], step["visit"]) for step in steps]
    assert 3 == run["steps"] == len({step["id"] for step in steps})
    assert run["usage"] == [{"meter": "echoes", "quantity": "3"}, {"meter": "tasks", "quantity": "1"}]
    assert {("echoes", "3", 3, "echo"), ("tasks", "1", 1, "echo")} == {
        (row["meter"], row["quantity"], row["events"], row["package"]) for row in usage
    }

    assert ("settled", ONE_TASK, ONE_TASK, 0) == (
        receipt["state"],
        micro(receipt["held"]),
        micro(receipt["charged"]),
        micro(receipt["released"]),
    )
    assert receipt["lines"] == receipt["quote_lines"] == estimate["quote"]["lines"]
    assert "0.01 USD" in receipt["explanation"]

    charge, top_up = statement["items"]
    assert (run["id"], -ONE_TASK, "charge") == (charge["run"], micro(charge["amount"]), charge["kind"])
    assert (CREDIT, "top_up") == (micro(top_up["amount"]), top_up["kind"])
    amounts = [micro(line["amount"]) for line in statement["items"]]
    balance = statement["balance"]
    assert CREDIT - ONE_TASK == sum(amounts) == micro(statement["entries_sum"]) == micro(balance["credit"])
    assert (0, 0) == (micro(balance["held"]), micro(balance["receivable"]))


async def test_a_stream_tells_a_living_run_from_its_first_event_to_its_charge(http: httpx.AsyncClient):
    """
    Followed live, a run's events have the ids 1, 2, 3 … without a gap, progress and text in between have none, and
    the stream ends after the charge.
    """
    started = await http.post(
        "/packages/echo/execute", json={"input": {"text": "hi", "steps": 4, "delay_ms": 150}}
    )
    assert started.status_code == 202
    run = started.json()["id"]
    events = [event async for event in follow(http, run)]
    durable = [event for event in events if event.id is not None]

    assert list(range(1, 9)) == [event.id for event in durable]
    steps = ["step.recorded"] * 4
    assert ["run.accepted", "run.started", *steps, "run.finished", "run.charged"] == [
        event.type for event in durable
    ]
    assert "run.charged" == events[-1].type
    live = {"progress", "content_delta", "content_snapshot"}
    assert live >= {event.type for event in events if event.id is None}
    assert {run} == {event.data["run"] for event in events}
    assert ONE_TASK == micro(durable[-1].data["amount"])


async def test_a_stream_resumes_with_exactly_the_rest(http: httpx.AsyncClient):
    """
    From every place, Last-Event-ID and `after` give exactly what comes later, also after the run's end.
    """
    run = (await execute(http, {"text": "hi", "steps": 2}))["id"]
    whole = await all_events(http, run)

    for seen in range(len(whole) + 1):
        by_header = await all_events(http, run, headers={"Last-Event-ID": str(seen)})
        by_parameter = await all_events(http, run, params={"after": seen})
        assert whole[seen:] == by_header == by_parameter


async def test_a_broken_stream_is_taken_up_again_without_loss(http: httpx.AsyncClient):
    """
    A reader that breaks off in mid-run and comes back with the last id it saw has missed and repeated nothing.
    """
    started = await http.post(
        "/packages/echo/execute", json={"input": {"text": "hi", "steps": 5, "delay_ms": 100}}
    )
    run = started.json()["id"]
    seen = []
    async for event in follow(http, run):
        if event.id is not None:
            seen.append(event)
        if len(seen) == 3:
            break
    rest = await all_events(http, run, headers={"Last-Event-ID": str(seen[-1].id)})

    assert await all_events(http, run) == seen + rest


async def test_the_client_hires_watches_and_reads_the_receipt(client: agora.Client):
    """
    The typed client does the path in few lines: execute, follow, wait, steps, receipt, balance.
    """
    run = await client.execute("echo", {"text": "hello", "steps": 2})
    events = [event.type async for event in run.events() if event.seq is not None]
    state = await run.wait(30)
    receipt = await run.receipt()
    balance = await client.account.balance()

    assert ("run.accepted", "run.charged") == (events[0], events[-1])
    assert state.succeeded
    assert state.output is not None
    assert "hello" == state.output["text"]
    assert 2 == len(await run.steps())
    assert state.cost == receipt.charged
    assert "999.990000" == balance.credit.amount == balance.available.amount


async def test_waiting_is_as_long_as_asked_and_no_longer(http: httpx.AsyncClient):
    """
    `Prefer: wait` answers 200 with the cost once the run is over, and 202 with the living run when it is not.
    """
    body = {"input": {"text": "hi"}}
    ended = await http.post("/packages/echo/execute", json=body, headers={"Prefer": "wait=30"})
    slow = {"input": {"text": "hi", "delay_ms": 2500}}
    going_on = await http.post("/packages/echo/execute", json=slow, headers={"Prefer": "wait=1"})

    assert (200, "succeeded", ONE_TASK) == (
        ended.status_code,
        ended.json()["status"],
        micro(ended.json()["cost"]),
    )
    assert (202, None) == (going_on.status_code, going_on.json()["cost"])
    assert f"/api/v1/runs/{going_on.json()['id']}" == going_on.headers["location"]
    assert "succeeded" == (await settled(http, going_on.json()["id"]))["status"]


async def test_a_deployment_is_hired_run_changed_and_ended(http: httpx.AsyncClient):
    """
    A rental becomes active, runs at its pinned price, takes another config, and refuses runs once ended.
    """
    hired = await http.post("/deployments", json={"package": "echo", "basis": "task", "name": "ours"})
    assert hired.status_code == 201, hired.text
    deployment = await active(http, hired.json()["id"])
    path = f"/deployments/{deployment['id']}"
    estimate = (await http.post(f"{path}/estimate", json={"input": {"text": "hi"}})).json()
    started = await http.post(
        f"{path}/execute", json={"input": {"text": "hi"}}, headers={"Prefer": "wait=30"}
    )
    run = await settled(http, started.json()["id"])
    usage = (await http.get("/usage", params={"deployment": deployment["id"]})).json()["items"]
    changed = await http.patch(path, json={"config": {}})
    async with nothing_changes(http):
        misfit = await http.patch(path, json={"config": {"colour": "red"}})
    ended = await http.delete(path)
    again = await http.delete(path)
    async with nothing_changes(http):
        late = await http.post(f"{path}/execute", json={"input": {"text": "hi"}})
        late_change = await http.patch(path, json={"config": {}})

    assert ("ours", "echo", "task") == (deployment["name"], deployment["package"], deployment["basis"])
    assert deployment["price_version"] == estimate["quote"]["price_version"]
    assert (deployment["id"], ONE_TASK) == (run["deployment"], micro(run["cost"]))
    assert {("echoes", "1"), ("tasks", "1")} == {(row["meter"], row["quantity"]) for row in usage}
    assert [run["id"]] == [one["id"] for one in await pages(http, "/runs", deployment=deployment["id"])]
    assert 200 == changed.status_code
    refused(misfit, "invalid_config", "colour")
    assert ("terminated", 200) == (ended.json()["status"], again.status_code)
    assert ended.json()["ended_at"] == again.json()["ended_at"]
    refused(late, "not_executable", "ended")
    refused(late_change, "conflict", "ended")


async def active(client: httpx.AsyncClient, deployment: str) -> dict[str, Any]:
    """A deployment once its config is prepared."""

    async def look() -> dict[str, Any]:
        found: dict[str, Any] = (await client.get(f"/deployments/{deployment}")).raise_for_status().json()
        return found

    found = await until(look, lambda seen: seen["status"] != "pending")
    assert found["status"] == "active", found["error"]
    return found


async def test_thirty_requests_with_one_key_are_one_run_and_one_charge(
    customer: Customer, http: httpx.AsyncClient
):
    """
    However often and however concurrently a request is sent with one Idempotency-Key, it is one run, one
    hold, one charge; the same key with another body is refused and changes nothing.
    """
    key = {"Idempotency-Key": "order-7"}
    body = {"input": {"text": "once"}}
    answers = await asyncio.gather(
        *(http.post("/packages/echo/execute", json=body, headers=key) for _ in range(30))
    )
    assert {200, 202} >= {answer.status_code for answer in answers}, [answer.text for answer in answers]
    runs = {answer.json()["id"] for answer in answers}
    assert {derived("run", customer.tenant, "order-7")} == runs
    run = await settled(http, runs.pop())
    async with nothing_changes(http) as found:
        same = await http.post("/packages/echo/execute", json=body, headers=key)
        other = await http.post("/packages/echo/execute", json={"input": {"text": "twice"}}, headers=key)
        elsewhere = await http.post("/packages/echo/execute", json=body | {"version": "1.0.0"}, headers=key)

    assert [run["id"]] == found.runs
    assert (2, CREDIT - ONE_TASK, 0) == (len(found.postings), found.credit, found.held)
    assert (200, run) == (same.status_code, same.json())
    refused(other, "idempotency_conflict")
    refused(elsewhere, "idempotency_conflict")


async def test_thirty_hires_with_one_key_are_one_deployment(http: httpx.AsyncClient):
    """
    Hiring is as safe to repeat as running.
    """
    key = {"Idempotency-Key": "hire-1"}
    body = {"package": "echo", "basis": "task"}
    answers = await asyncio.gather(*(http.post("/deployments", json=body, headers=key) for _ in range(30)))
    other = await http.post("/deployments", json=body | {"name": "another"}, headers=key)

    assert {201} == {answer.status_code for answer in answers}
    assert 1 == len({answer.json()["id"] for answer in answers})
    refused(other, "idempotency_conflict")
    assert 1 == len(await pages(http, "/deployments"))


async def test_a_cancelled_run_costs_nothing(http: httpx.AsyncClient):
    """
    A run that is cancelled between its steps ends as cancelled, its hold is released whole, and it is over.
    """
    body = {"input": {"text": "hi", "steps": 20, "delay_ms": 400}}
    run = (await http.post("/packages/echo/execute", json=body)).json()["id"]
    assert ONE_TASK == micro((await http.get("/account")).json()["held"])
    first = await http.post(f"/runs/{run}/cancel")
    ended = await settled(http, run)
    receipt = (await http.get(f"/runs/{run}/receipt")).json()
    events = await all_events(http, run)
    async with nothing_changes(http) as found:
        again = await http.post(f"/runs/{run}/cancel")

    assert 200 == first.status_code
    assert ("cancelled", 0, None) == (ended["status"], micro(ended["cost"]), ended["output"])
    assert ended["steps"] < 20
    assert (0, ONE_TASK) == (micro(receipt["charged"]), micro(receipt["released"]))
    assert "cancelled" in receipt["explanation"]
    assert ["run.finished", "run.charged"] == [event.type for event in events[-2:]]
    assert (CREDIT, 0) == (found.credit, found.held)
    refused(again, "run_ended", "cancelled")


async def test_runs_that_fail_cost_nothing_and_say_why(http: httpx.AsyncClient):
    """
    A crash is tried again and then ends the run, a rejected input at once: reason shown, nothing charged.
    """
    crashed, rejected, once = await asyncio.gather(
        *(execute(http, {"text": "hi", "fail": kind}) for kind in ("crash", "rejected", "retry_once"))
    )
    receipt = (await http.get(f"/runs/{crashed['id']}/receipt")).json()
    found = await books(http)

    assert ("failed", "step_failed", 0) == (
        crashed["status"],
        crashed["error"]["code"],
        micro(crashed["cost"]),
    )
    assert "3 times" in crashed["error"]["detail"]
    assert ("failed", "asked_to_reject", 0) == (
        rejected["status"],
        rejected["error"]["code"],
        micro(rejected["cost"]),
    )
    assert "$.fail" == rejected["error"]["place"]
    assert (0, ONE_TASK) == (micro(receipt["charged"]), micro(receipt["released"]))
    assert receipt["explanation"]
    # One that works at its second attempt is charged once, not per attempt.
    assert ("succeeded", 1, ONE_TASK) == (once["status"], once["steps"], micro(once["cost"]))
    assert (CREDIT - ONE_TASK, 0) == (found.credit, found.held)


async def test_lists_are_paged_without_loss(http: httpx.AsyncClient):
    """
    Runs and postings come newest first; page by page they are the same as at once.
    """
    made = [(await execute(http, {"text": str(number)}))["id"] for number in range(5)]
    runs = [run["id"] for run in await pages(http, "/runs", limit=2)]
    lines = await pages(http, "/account/statement", limit=2)
    done = await pages(http, "/runs", status="succeeded", package="echo")

    assert made[::-1] == runs == [run["id"] for run in done]
    assert [*made[::-1], None] == [line["run"] for line in lines]
    # Each line's balance is the one before it and its amount.
    balances = [micro(line["balance"]) for line in reversed(lines)]
    amounts = [micro(line["amount"]) for line in reversed(lines)]
    assert [sum(amounts[: place + 1]) for place in range(6)] == balances
    assert [] == await pages(http, "/runs", status="failed")


async def test_what_is_on_offer(http: httpx.AsyncClient):
    """
    The marketplace lists what can be hired with its prices, and what is announced; search and category filter.
    """
    every = {package["id"]: package for package in await pages(http, "/packages")}
    found = {package["id"] for package in await pages(http, "/packages", search="messy csv")}
    categories = (await http.get("/categories")).json()["items"]
    detail = (await http.get("/packages/echo")).json()
    health = (await http.get("/packages/echo/health")).json()

    hireable = {name for name, package in every.items() if package["executable"]}
    announced = {name for name, package in every.items() if package["state"] == "announced"}
    assert {"echo", "knowledge-base", "data-processor", "ticket-resolver"} <= hireable
    assert 7 == len(announced - hireable) == len(announced)
    assert all(package["prices"] for package in every.values())
    assert "data-processor" in found
    assert "ticket-resolver" not in found
    for category in categories:
        inside = await pages(http, "/packages", category=category["id"])
        assert category["packages"] == len(inside)
        assert {category["id"]} >= {package["category"] for package in inside}
    assert len(every) == sum(category["packages"] for category in categories)
    assert {"input_schema", "output_schema", "config_schema"} <= {name for name in detail if detail[name]}
    assert ("healthy", True) == (health["status"], health["schema_ok"])
