"""Refunds and the ledger over HTTP."""

from datetime import UTC, datetime

import httpx
from agora_contracts.ledger import LedgerPage, LedgerPosting, LedgerRecord, ReadLedger
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.refunds import ListRefunds, Refund, RefundList, RefundResult, RefundRun

from .conftest import Customer, Others

RUN = "run_" + "0" * 32
REFUND = Refund(
    run=RUN,
    account="acc_1",
    number=1,
    currency="USD",
    amount=200_001,
    to_platform=0,
    off_receivable=1,
    to_credit=150_000,
    to_promotional=50_000,
    expired=10_000,
    reason="it was wrong",
    reference="ticket-1",
    at=datetime(2026, 1, 6, tzinfo=UTC),
)
RESULT = RefundResult(refund=REFUND, charged=500_000, refunded=200_001)
BODY = {"amount": {"amount": "0.200001"}, "reason": "it was wrong", "reference": "ticket-1"}


async def test_an_operator_refunds_a_run(operator: httpx.AsyncClient, others: Others):
    """
    A refund reaches billing exact to the micro-unit, without an amount as one of all that is left; the answer
    says where it went.
    """
    await others.answer(
        (RefundRun, RESULT),
        (ListRefunds, RefundList(items=[REFUND], currency="USD", charged=500_000, refunded=200_001)),
    )
    done = await operator.post(f"/operator/runs/{RUN}/refunds", json=BODY)
    await operator.post(
        f"/operator/runs/{RUN}/refunds", json={"reason": "all wrong", "reference": "ticket-2"}
    )
    listed = (await operator.get(f"/operator/runs/{RUN}/refunds")).json()

    assert 201 == done.status_code
    assert ("0.200001", "0.000001", "0.150000", "0.050000", "0.010000") == tuple(
        done.json()["refund"][part]["amount"]
        for part in ("amount", "off_receivable", "to_credit", "to_promotional", "expired")
    )
    assert ("0.500000", "0.200001") == tuple(done.json()[part]["amount"] for part in ("charged", "refunded"))
    asked = [command for command in others.asked if isinstance(command, RefundRun)]
    assert [Money(amount=200_001), None] == [command.amount for command in asked]
    assert done.json()["refund"] == listed["items"][0]


async def test_refunds_that_cannot_be_are_refused(
    operator: httpx.AsyncClient, customer: Customer, others: Others
):
    """
    No reason, an amount that is none, an unknown run, more than was charged, and a tenant that refunds itself.
    """

    async def too_much(_: RefundRun) -> RefundResult:
        raise AgoraError("refund_exceeds_charge", "at most 0.10 USD can be refunded")

    await others.answer((RefundRun, too_much))
    path = f"/operator/runs/{RUN}/refunds"
    for body, field in (
        (BODY | {"reason": ""}, "/reason"),
        ({"reason": "x", "amount": {"amount": "1"}}, "/reference"),
        (BODY | {"amount": {"amount": "1e5"}}, "/amount/amount"),
        (BODY | {"amount": {"amount": "0.0000001"}}, "/amount/amount"),
        (BODY | {"sorry": True}, "/sorry"),
    ):
        answer = await operator.post(path, json=body)
        assert (422, field) == (answer.status_code, answer.json()["errors"][0]["field"]), body
    refused = await operator.post(path, json=BODY)
    assert (409, "refund_exceeds_charge") == (refused.status_code, refused.json()["type"].rsplit("/", 1)[1])
    assert 404 == (await operator.post("/operator/runs/mine/refunds", json=BODY)).status_code
    assert 403 == (await customer.http.post(path, json=BODY)).status_code


async def test_a_tenant_reads_its_ledger(customer: Customer, others: Others):
    """
    The page comes as billing tells it, with amounts in micro-units as they are hashed, and the cursor.
    """
    record = LedgerRecord(
        posting=LedgerPosting(
            account="acc_1",
            at="2026-01-05T09:00:01.000000Z",
            author=None,
            cause="größe",
            credit_after=5,
            currency="USD",
            description="",
            entries={"cash_clearing": -5, "customer_credit": 5},
            id="post_1",
            kind="top_up",
            number=1,
            promotional_after=0,
            run=None,
            tenant=customer.id,
        ),
        hash=None,
    )
    await others.answer((ReadLedger, LedgerPage(items=[record], next_cursor="c")))

    page = (await customer.http.get("/account/ledger", params={"limit": 5, "cursor": "b"})).json()

    assert ("c", {"cash_clearing": -5, "customer_credit": 5}, None) == (
        page["next_cursor"],
        page["items"][0]["posting"]["entries"],
        page["items"][0]["hash"],
    )
    query = others.asked[-1]
    assert (customer.id, customer.account, "b", 5) == (query.tenant, query.account, query.cursor, query.limit)
