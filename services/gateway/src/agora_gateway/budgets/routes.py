"""HTTP of a tenant's budgets."""

from typing import Annotated

from agora_contracts.budgets import DeleteBudget, GetBudget, ListBudgets
from agora_kit.broker import Broker
from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency

from agora_gateway.budgets import shapes
from agora_gateway.budgets.shapes import (
    BudgetBody,
    BudgetChangeBody,
    BudgetListShape,
    BudgetShape,
    budget_list_shape,
    budget_shape,
)
from agora_gateway.edge.headers import requested_id
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import TENANT_SECURITY, BudgetId, IdempotencyKey, answers, body, existing

REFUSED = (
    "not_found",
    "malformed_request",
    "invalid_input",
    "currency_mismatch",
    "account_closed",
    "idempotency_conflict",
    "quota_exceeded",
)


@post(
    "/",
    guards=[requires("account")],
    summary="Make a budget",
    operation_id="createBudget",
    responses=answers(shapes.A_BUDGET, *REFUSED, status=201),
)
async def create_budget(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    data: Annotated[BudgetBody, body(shapes.A_BUDGET_BODY)],
    idempotency_key: IdempotencyKey = None,
) -> BudgetShape:
    """Limit what is spent from now on. Runs that go on already do not count, unless the budget is for their run."""
    budget = requested_id("bud", tenant.id, idempotency_key)
    return budget_shape(await broker.ask(shapes.creation(budget, tenant.id, tenant.account, data)))


@get(
    "/",
    guards=[requires("account")],
    summary="List budgets",
    operation_id="listBudgets",
    responses=answers(shapes.A_BUDGET_LIST),
)
async def list_budgets(broker: NamedDependency[Broker], tenant: NamedDependency[Tenant]) -> BudgetListShape:
    """All budgets, each with what is spent, reserved and left in its current window."""
    return budget_list_shape(await broker.ask(ListBudgets(account=tenant.account, tenant=tenant.id)))


@get(
    "/{budget:str}",
    guards=[requires("account")],
    summary="Read a budget",
    operation_id="getBudget",
    responses=answers(shapes.A_BUDGET, "not_found"),
)
async def get_budget(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], budget: BudgetId
) -> BudgetShape:
    """A budget and where it stands in its current window."""
    return budget_shape(await broker.ask(GetBudget(budget=existing("bud", budget), tenant=tenant.id)))


@patch(
    "/{budget:str}",
    guards=[requires("account")],
    summary="Change a budget",
    operation_id="changeBudget",
    responses=answers(
        shapes.A_BUDGET, "not_found", "malformed_request", "invalid_input", "currency_mismatch"
    ),
)
async def change_budget(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    budget: BudgetId,
    data: Annotated[BudgetChangeBody, body(shapes.A_CHANGE_BODY)],
) -> BudgetShape:
    """Change a budget's limit, kind, thresholds or name from now on."""
    return budget_shape(await broker.ask(shapes.change(existing("bud", budget), tenant.id, data)))


@delete(
    "/{budget:str}",
    status_code=200,
    guards=[requires("account")],
    summary="Delete a budget",
    operation_id="deleteBudget",
    responses=answers(shapes.A_BUDGET, "not_found"),
)
async def delete_budget(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], budget: BudgetId
) -> BudgetShape:
    """Delete a budget: nothing is limited by it any more. Doing it again changes nothing."""
    return budget_shape(await broker.ask(DeleteBudget(budget=existing("bud", budget), tenant=tenant.id)))


router = Router(
    "/budgets",
    route_handlers=[create_budget, list_budgets, get_budget, change_budget, delete_budget],
    tags=["Budgets"],
    security=TENANT_SECURITY,
)
