"""Starting, waiting for and reading runs."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from agora_contracts.ids import derived
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.runs import GetRun, ListSteps, Run, StartRun, StepList

from .conftest import Customer, Others

type NewCustomer = Callable[..., Awaitable[Customer]]

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
RUN = f"run_{'a' * 32}"
HALF = Money(amount=500_000)


def a_run(run: str, tenant: str, **properties: Any) -> Run:
    """A run that has just been accepted, or what `properties` make of it."""
    fields: dict[str, Any] = {
        "id": run,
        "tenant": tenant,
        "status": "accepted",
        "package": "echo",
        "version": "1.0.0",
        "basis": "task",
        "accepted_at": AT,
        "quoted": HALF,
    }
    return Run(**fields | properties)


async def accept(command: StartRun) -> Run:
    """Accept whatever is started."""
    return a_run(command.run_id, command.tenant, requested_by=command.requested_by)


async def test_a_run_is_accepted(customer: Customer, others: Others):
    """
    Executing answers 202 with the run in public form, where to follow it, and sends one command.
    """
    await others.answer((StartRun, accept))

    answer = await customer.http.post("/packages/echo/execute", json={"input": {"text": "hi"}})

    run = answer.json()
    assert (202, f"/api/v1/runs/{run['id']}") == (answer.status_code, answer.headers["location"])
    assert {"amount": "0.500000", "currency": "USD"} == run["quoted"]
    assert (None, "accepted") == (run["cost"], run["status"])
    assert "tenant" not in run
    command = others.asked[-1]
    assert (customer.id, customer.account, "echo", {"text": "hi"}) == (
        command.tenant,
        command.account,
        command.package,
        command.input,
    )


async def test_a_retry_asks_for_the_same_run(customer: Customer, others: Others):
    """
    The same Idempotency-Key gives the same run id and fingerprint, however the body is spelt; another
    input gives another fingerprint under the same id, for execution to refuse.
    """
    await others.answer((StartRun, accept))
    path, headers = (
        "/packages/echo/execute",
        {"Idempotency-Key": "order-7", "Content-Type": "application/json"},
    )
    for content in (
        b'{"input":{"a":1,"b":2}}',
        b'{ "input": {"b": 2, "a": 1}, "version": null }',
        b'{"input":{"a":2}}',
    ):
        await customer.http.post(path, content=content, headers=headers)

    first, again, other = others.asked[-3:]
    assert derived("run", customer.id, "order-7") == first.run_id == again.run_id == other.run_id
    assert first.fingerprint == again.fingerprint != other.fingerprint


async def test_two_tenants_with_one_idempotency_key_get_two_runs(new_customer: NewCustomer, others: Others):
    """
    An Idempotency-Key means something only within its tenant.
    """
    await others.answer((StartRun, accept))
    headers = {"Idempotency-Key": "order-7"}
    runs = [
        (
            await (await new_customer()).http.post(
                "/packages/echo/execute", json={"input": {}}, headers=headers
            )
        )
        for _ in range(2)
    ]

    assert 2 == len({run.json()["id"] for run in runs})


async def test_what_execution_refuses_passes_through(customer: Customer, others: Others):
    """
    A refusal arrives with its status, its words, its fields and when to try again.
    """
    missing = [FieldError(field="/input/text", detail="is missing")]
    refusals = [
        (402, None, AgoraError("insufficient_credit", "the quote is 0.50 USD, 0.10 USD is available")),
        (409, None, AgoraError("idempotency_conflict", "the key was used for another request")),
        (422, None, AgoraError("invalid_input", "text is missing", errors=missing)),
        (503, "1", AgoraError("overloaded", "too many requests at once", retry_after_seconds=1)),
    ]
    waiting = iter(refusals)

    async def refuse(_: StartRun) -> Run:
        raise next(waiting)[2]

    await others.answer((StartRun, refuse))
    for status, retry_after, error in refusals:
        answer = await customer.http.post("/packages/echo/execute", json={"input": {}})
        assert status == answer.status_code
        assert "application/problem+json" == answer.headers["content-type"]
        assert msgspec.to_builtins(error.problem) == answer.json()
        assert retry_after == answer.headers.get("retry-after")


async def test_waiting_answers_200_when_the_run_has_ended(customer: Customer, others: Others):
    """
    With `Prefer: wait` the answer comes once the run has ended and is charged, with its cost.
    """

    async def end(query: GetRun) -> Run:
        return a_run(query.run, query.tenant, status="succeeded", output={"text": "hi"}, cost=HALF)

    await others.answer((StartRun, accept), (GetRun, end))
    headers = {"Prefer": "respond-async, wait=30"}
    answer = await customer.http.post("/packages/echo/execute", json={"input": {}}, headers=headers)

    assert (200, "succeeded") == (answer.status_code, answer.json()["status"])
    assert "0.500000" == answer.json()["cost"]["amount"]


async def test_a_wait_that_is_too_short_answers_202(customer: Customer, others: Others):
    """
    A run that goes on beyond the wait is answered as it is.
    """

    async def go_on(query: GetRun) -> Run:
        await asyncio.sleep(query.wait_seconds)
        return a_run(query.run, query.tenant, status="running")

    await others.answer((StartRun, accept), (GetRun, go_on))
    answer = await customer.http.post(
        "/packages/echo/execute", json={"input": {}}, headers={"Prefer": "wait=1"}
    )

    assert 1 == next(asked.wait_seconds for asked in others.asked if isinstance(asked, StartRun))
    assert (202, "running") == (answer.status_code, answer.json()["status"])


async def test_a_wait_survives_an_execution_that_goes_away(customer: Customer, others: Others):
    """
    When nobody can tell about the accepted run any more, the caller still learns that it was accepted.
    """

    async def away(_: GetRun) -> Run:
        raise AgoraError("unavailable", "restarting")

    await others.answer((StartRun, accept), (GetRun, away))
    answer = await customer.http.post(
        "/packages/echo/execute", json={"input": {}}, headers={"Prefer": "wait=5"}
    )

    assert (202, "accepted") == (answer.status_code, answer.json()["status"])


async def test_unknown_and_foreign_runs_look_alike(customer: Customer, others: Others):
    """
    What cannot be an id is not found without asking; the rest is asked for under the caller's own tenant.
    """

    async def nothing(query: GetRun) -> Run:
        raise AgoraError("not_found", f"there is no run {query.run}")

    await others.answer((GetRun, nothing))
    for run in ("nonsense", "run_1", "../../etc/passwd", "dep_" + "a" * 32):
        answer = await customer.http.get(f"/runs/{run.replace('/', '%2F')}")
        assert 404 == answer.status_code
    asked_before = len(others.asked)
    answer = await customer.http.get(f"/runs/{RUN}")

    assert (404, 1) == (answer.status_code, len(others.asked) - asked_before)
    assert customer.id == others.asked[-1].tenant


async def test_steps_are_asked_for_page_by_page(customer: Customer, others: Others):
    """
    The page and its size go on to execution, and the answer says where the next one begins.
    """
    await others.answer((ListSteps, StepList(items=[], next_cursor="there")))
    answer = await customer.http.get(f"/runs/{RUN}/steps", params={"cursor": "here", "limit": 7})
    refused = await customer.http.get(f"/runs/{RUN}/steps", params={"limit": 0})

    assert {"items": [], "next_cursor": "there"} == answer.json()
    assert ("here", 7) == (others.asked[-1].cursor, others.asked[-1].limit)
    assert (422, "limit") == (refused.status_code, refused.json()["errors"][0]["field"])
