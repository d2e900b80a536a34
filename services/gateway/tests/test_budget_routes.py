"""The routes of budgets, promotional credit, a run's own limit, and the end of an account."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from agora_contracts.billing import Balance, CloseAccount, OpenAccount
from agora_contracts.budgets import (
    Budget,
    BudgetList,
    ChangeBudget,
    CreateBudget,
    DeleteBudget,
    GetBudget,
    ListBudgets,
)
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.promotions import GrantPromotion, ListPromotions, Promotion, PromotionPage
from agora_contracts.runs import StartRun

from .conftest import Customer, Others

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
BUDGET_ID = f"bud_{'c' * 32}"
BUDGET = Budget(
    id=BUDGET_ID,
    account="acc_1",
    scope="package",
    target="echo",
    period="month",
    kind="hard",
    currency="USD",
    limit=50_000_000,
    spent=1,
    reserved=2,
    left=49_999_997,
    thresholds=[80],
    window_start=AT,
    window_end=None,
    created_at=AT,
)
ASKED: dict[str, Any] = {
    "scope": "package",
    "target": "echo",
    "period": "month",
    "limit": {"amount": "50"},
    "kind": "hard",
}
GRANT = Promotion(
    id=f"promo_{'d' * 32}",
    account="acc_1",
    currency="USD",
    amount=5_000_000,
    remaining=3_000_000,
    spent=1_500_000,
    expired=500_000,
    state="active",
    reference="welcome",
    reason="Welcome",
    granted_at=AT,
)


def asked_of(others: Others) -> list[Any]:
    """What was asked, without what made the tenant."""
    return [command for command in others.asked if not isinstance(command, OpenAccount)]


async def test_a_tenant_makes_and_keeps_its_budgets(customer: Customer, others: Others):
    """
    Budgets are made, read, listed, changed and deleted by their tenant, in public money.
    """
    await others.answer(
        (CreateBudget, BUDGET),
        (GetBudget, BUDGET),
        (ListBudgets, BudgetList(items=[BUDGET])),
        (ChangeBudget, BUDGET),
        (DeleteBudget, BUDGET),
    )
    http = customer.http
    made = await http.post("/budgets", json=ASKED, headers={"Idempotency-Key": "one"})
    again = await http.post("/budgets", json=ASKED, headers={"Idempotency-Key": "one"})
    read = await http.get(f"/budgets/{BUDGET_ID}")
    listed = await http.get("/budgets")
    changed = await http.patch(f"/budgets/{BUDGET_ID}", json={"limit": {"amount": "0.000001"}})
    deleted = await http.delete(f"/budgets/{BUDGET_ID}")

    assert [201, 201, 200, 200, 200, 200] == [
        one.status_code for one in (made, again, read, listed, changed, deleted)
    ]
    assert ("50.000000", "49.999997") == (made.json()["limit"]["amount"], read.json()["left"]["amount"])
    first, second, _, asked, change, _ = asked_of(others)
    assert first == second
    assert (customer.id, customer.account, 50_000_000, [80, 100]) == (
        first.tenant,
        first.account,
        first.limit.amount,
        first.thresholds,
    )
    assert customer.account == asked.account
    assert (Money(amount=1), None) == (change.limit, change.kind)
    assert 1 == len(listed.json()["items"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"limit": {"amount": "1.0000001"}}, "/limit/amount"),
        ({"limit": {"amount": 5}}, "/limit/amount"),
        ({"scope": "world"}, "/scope"),
        ({"period": "week"}, "/period"),
        ({"kind": "firm"}, "/kind"),
        ({"thresholds": [0]}, "/thresholds/0"),
        ({"thresholds": list(range(1, 12))}, "/thresholds"),
        ({"limits": 1}, "/limits"),
    ],
)
async def test_a_budget_that_cannot_be_read_is_refused(customer: Customer, change, field):
    """
    Each wrong field is named; nothing is asked of billing.
    """
    answer = await customer.http.post("/budgets", json=ASKED | change)

    assert (422, field) == (answer.status_code, answer.json()["errors"][0]["field"])


async def test_budgets_need_the_scope_for_money(new_customer, others: Others):
    """
    A key that may only start runs can neither read nor change what it may spend.
    """
    executing: Customer = await new_customer(scopes=["execute"])

    answers = [
        await executing.http.get("/budgets"),
        await executing.http.post("/budgets", json=ASKED),
        await executing.http.patch(f"/budgets/{BUDGET_ID}", json={}),
        await executing.http.delete(f"/budgets/{BUDGET_ID}"),
        await executing.http.get("/account/promotions"),
    ]

    assert {403} == {answer.status_code for answer in answers}


async def test_a_runs_own_limit_goes_with_it(customer: Customer, others: Others):
    """
    `max_cost` reaches execution in micro-units; what billing refuses for a budget is answered with 402.
    """

    async def refuse(_: StartRun) -> Any:
        raise AgoraError("budget_exhausted", "0.50 USD are needed and the run's own limit has 0.10 left")

    await others.answer((StartRun, refuse))
    body = {"input": {}, "max_cost": {"amount": "0.10"}}
    refused = [
        await customer.http.post("/packages/echo/execute", json=body),
        await customer.http.post(f"/deployments/dep_{'b' * 32}/execute", json=body),
    ]
    nonsense = await customer.http.post(
        "/packages/echo/execute", json=body | {"max_cost": {"amount": "cheap"}}
    )

    assert [402, 402] == [answer.status_code for answer in refused]
    assert "budget_exhausted" == refused[0].json()["type"].rsplit("/", 1)[1]
    assert {Money(amount=100_000)} == {command.max_cost for command in asked_of(others)}
    assert (422, "/max_cost/amount") == (nonsense.status_code, nonsense.json()["errors"][0]["field"])


async def test_the_operator_gives_credit_and_closes_accounts(
    customer: Customer, operator: httpx.AsyncClient, others: Others
):
    """
    A grant and the end of an account are the operator's; the tenant sees its grants.
    """
    closed = Balance(
        account="acc_1", currency="USD", credit=0, held=0, available=0, receivable=0, closed_at=AT
    )
    await others.answer(
        (GrantPromotion, GRANT), (ListPromotions, PromotionPage(items=[GRANT])), (CloseAccount, closed)
    )
    path = f"/operator/tenants/{customer.id}"
    body = {
        "amount": {"amount": "5"},
        "reference": "welcome",
        "reason": "Welcome",
        "expires_at": "2100-01-01T00:00:00+02:00",
    }
    given = await operator.post(f"{path}/promotions", json=body)
    timeless = await operator.post(f"{path}/promotions", json=body | {"expires_at": "2100-01-01T00:00:00"})
    seen = await customer.http.get("/account/promotions")
    listed = await operator.get(f"{path}/promotions")
    ended = await operator.post(f"{path}/account/close")
    by_tenant = await customer.http.post(f"{path}/promotions", json=body)

    assert [201, 422, 200, 200, 200, 403] == [
        one.status_code for one in (given, timeless, seen, listed, ended, by_tenant)
    ]
    assert ("3.000000", "0.500000") == (
        given.json()["remaining"]["amount"],
        seen.json()["items"][0]["expired"]["amount"],
    )
    grant = asked_of(others)[0]
    assert (customer.account, 5_000_000) == (grant.account, grant.amount.amount)
    assert "2026-01-05T09:00:00Z" == ended.json()["closed_at"]


async def test_the_operator_keeps_a_tenants_budgets(
    customer: Customer, operator: httpx.AsyncClient, others: Others
):
    """
    The operator makes, lists, changes and deletes budgets of any tenant.
    """
    await others.answer(
        (CreateBudget, BUDGET),
        (ListBudgets, BudgetList(items=[BUDGET])),
        (ChangeBudget, BUDGET),
        (DeleteBudget, BUDGET),
    )
    path = f"/operator/tenants/{customer.id}/budgets"
    answers = [
        await operator.post(path, json=ASKED),
        await operator.get(path),
        await operator.patch(f"{path}/{BUDGET_ID}", json={"kind": "soft"}),
        await operator.delete(f"{path}/{BUDGET_ID}"),
    ]

    assert [201, 200, 200, 200] == [answer.status_code for answer in answers]
    assert {customer.id} == {command.tenant for command in others.asked}
