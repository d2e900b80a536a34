"""Credit under concurrency: what is not there cannot be spent, however many ask at once."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from tests.support.answers import micro, pages, refused
from tests.support.bookkeeping import books, nothing_changes, settled
from tests.support.tenancy import Customer

type NewCustomer = Callable[..., Awaitable[Customer]]


async def test_sixty_requests_cannot_spend_credit_for_twenty(hire_customer: NewCustomer):
    """
    With credit for exactly 20 runs, 60 at once give 20 runs and 40 refusals that leave nothing behind; the
    credit ends at zero, nothing stays held, and the postings account for all of it.
    """
    customer = await hire_customer(credit="0.200000")
    async with customer.client(timeout=60) as http:
        answers = await asyncio.gather(
            *(http.post("/packages/echo/execute", json={"input": {"text": str(n)}}) for n in range(60))
        )
        accepted = [answer.json()["id"] for answer in answers if answer.status_code in (200, 202)]
        short = [answer for answer in answers if answer.status_code not in (200, 202)]
        runs = [await settled(http, run) for run in accepted]
        found = await books(http)
        lines = await pages(http, "/account/statement")

    assert (20, 40) == (len(accepted), len(short))
    for answer in short:
        refused(answer, "insufficient_credit", "0.01")
    assert {("succeeded", 10_000)} == {(run["status"], micro(run["cost"])) for run in runs}
    assert sorted(accepted) == sorted(found.runs)
    assert (0, 0, 0) == (found.credit, found.held, found.ledger)
    assert [200_000, *[-10_000] * 20] == [micro(line["amount"]) for line in reversed(lines)]
    assert sorted(accepted) == sorted(line["run"] for line in lines if line["kind"] == "charge")


async def test_a_refusal_leaves_nothing_and_a_top_up_heals_it(
    hire_customer: NewCustomer, staff: httpx.AsyncClient
):
    """
    Without credit a run is refused and nothing is stored; after a top-up the very same request, with its
    Idempotency-Key, is accepted. A top-up that is repeated under its reference is booked once.
    """
    customer = await hire_customer(credit="0.005000")
    key = {"Idempotency-Key": "later", "Prefer": "wait=30"}
    body = {"input": {"text": "hi"}}
    top_up = {"amount": {"amount": "0.005000", "currency": "USD"}, "reference": "second"}
    async with customer.client(timeout=60) as http:
        async with nothing_changes(http):
            short = await http.post("/packages/echo/execute", json=body, headers=key)
        booked = [
            await staff.post(f"/operator/tenants/{customer.tenant}/top-ups", json=top_up) for _ in range(2)
        ]
        accepted = await http.post("/packages/echo/execute", json=body, headers=key)
        found = await books(http)

    refused(short, "insufficient_credit", "0.01", "0.005")
    assert [201, 201] == [answer.status_code for answer in booked]
    assert ["0.010000"] * 2 == [answer.json()["credit"]["amount"] for answer in booked]
    assert (200, "succeeded") == (accepted.status_code, accepted.json()["status"])
    assert (0, 0, 3) == (found.credit, found.held, len(found.postings))


async def test_what_failing_runs_held_can_be_spent(hire_customer: NewCustomer):
    """
    A hold that is released is credit again: with credit for one run, three that fail and one that succeeds.
    """
    customer = await hire_customer(credit="0.010000")
    async with customer.client(timeout=60) as http:
        for _ in range(3):
            failing = await http.post(
                "/packages/echo/execute", json={"input": {"text": "hi", "fail": "rejected"}}
            )
            assert 0 == micro((await settled(http, failing.json()["id"]))["cost"])
        works = await http.post("/packages/echo/execute", json={"input": {"text": "hi"}})
        run = await settled(http, works.json()["id"])
        found = await books(http)

    assert ("succeeded", 10_000) == (run["status"], micro(run["cost"]))
    assert (0, 0, 2) == (found.credit, found.held, len(found.postings))


async def test_top_ups_refuse_what_is_no_credit(staff: httpx.AsyncClient, hire_customer: NewCustomer):
    """
    Zero, negative, too precise, unreadable, in another currency, or under a used reference: nothing is booked.
    """
    customer = await hire_customer(credit="1.000000")
    path = f"/operator/tenants/{customer.tenant}/top-ups"

    async def book(amount: str, currency: str = "USD", reference: str = "new") -> httpx.Response:
        money = {"amount": amount, "currency": currency}
        return await staff.post(path, json={"amount": money, "reference": reference})

    async with customer.client() as http, nothing_changes(http):
        for amount in ("0.000000", "-1.000000", "0.0000001", "one", "", "1e3", "NaN", "9" * 30):
            refused(await book(amount), "invalid_input")
        refused(await book("1.000000", "EUR"), "currency_mismatch")
        refused(await book("2.000000", reference="first"), "conflict")
        refused(
            await staff.post(path, json={"amount": {"amount": 1, "currency": "USD"}, "reference": "x"}),
            "invalid_input",
            "/amount/amount",
        )
