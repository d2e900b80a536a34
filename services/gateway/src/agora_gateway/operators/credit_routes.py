"""HTTP of the operator: promotional credit, budgets and the end of a tenant's account."""

from typing import Annotated

from agora_contracts.billing import CloseAccount
from agora_contracts.budgets import DeleteBudget, ListBudgets
from agora_contracts.promotions import GrantPromotion, ListPromotions
from agora_kit.broker import Broker
from litestar import delete, get, patch, post
from litestar.di import NamedDependency

from agora_gateway.account.promotion_shapes import (
    A_GRANT_BODY,
    A_PROMOTION,
    A_PROMOTION_PAGE,
    GrantBody,
    PromotionPageShape,
    PromotionShape,
    promotion_page_shape,
    promotion_shape,
)
from agora_gateway.account.shapes import A_BALANCE, BalanceShape, balance_shape
from agora_gateway.budgets import shapes as budget_shapes
from agora_gateway.budgets.routes import REFUSED
from agora_gateway.budgets.shapes import (
    BudgetBody,
    BudgetChangeBody,
    BudgetListShape,
    BudgetShape,
    budget_list_shape,
    budget_shape,
)
from agora_gateway.edge.headers import requested_id
from agora_gateway.edge.routing import (
    BudgetId,
    Cursor,
    IdempotencyKey,
    Limit,
    TenantId,
    answers,
    body,
    existing,
)
from agora_gateway.edge.shapes import read_money
from agora_gateway.identity.service import Identity


@post(
    "/tenants/{tenant_id:str}/promotions",
    summary="Give promotional credit",
    operation_id="grantPromotion",
    responses=answers(
        A_PROMOTION,
        "not_found",
        "conflict",
        "malformed_request",
        "invalid_input",
        "currency_mismatch",
        "account_closed",
        status=201,
    ),
)
async def grant_promotion(
    broker: NamedDependency[Broker],
    identity: NamedDependency[Identity],
    tenant_id: TenantId,
    data: Annotated[GrantBody, body(A_GRANT_BODY)],
) -> PromotionShape:
    """Give a tenant credit that is spent before what it has paid, once per reference."""
    tenant = await identity.get_tenant(existing("ten", tenant_id))
    command = GrantPromotion(
        account=tenant.account,
        tenant=tenant.id,
        amount=read_money(data.amount, "/amount"),
        reference=data.reference,
        reason=data.reason,
        expires_at=data.expires_at,
    )
    return promotion_shape(await broker.ask(command))


@get(
    "/tenants/{tenant_id:str}/promotions",
    summary="List a tenant's promotional credit",
    operation_id="listTenantPromotions",
    responses=answers(A_PROMOTION_PAGE, "not_found", "invalid_input", "invalid_cursor"),
)
async def list_promotions(
    broker: NamedDependency[Broker],
    identity: NamedDependency[Identity],
    tenant_id: TenantId,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PromotionPageShape:
    """A tenant's grants, newest first."""
    tenant = await identity.get_tenant(existing("ten", tenant_id))
    query = ListPromotions(account=tenant.account, tenant=tenant.id, cursor=cursor, limit=limit)
    return promotion_page_shape(await broker.ask(query))


@post(
    "/tenants/{tenant_id:str}/account/close",
    status_code=200,
    summary="Close a tenant's account",
    operation_id="closeAccount",
    responses=answers(A_BALANCE, "not_found", "holds_open"),
)
async def close_account(
    broker: NamedDependency[Broker], identity: NamedDependency[Identity], tenant_id: TenantId
) -> BalanceShape:
    """Close an account for good: no new runs, top-ups and grants. Refused while runs have credit set aside."""
    tenant = await identity.get_tenant(existing("ten", tenant_id))
    return balance_shape(await broker.ask(CloseAccount(account=tenant.account, tenant=tenant.id)))


@post(
    "/tenants/{tenant_id:str}/budgets",
    summary="Make a budget for a tenant",
    operation_id="createTenantBudget",
    responses=answers(budget_shapes.A_BUDGET, *REFUSED, status=201),
)
async def create_budget(
    broker: NamedDependency[Broker],
    identity: NamedDependency[Identity],
    tenant_id: TenantId,
    data: Annotated[BudgetBody, body(budget_shapes.A_BUDGET_BODY)],
    idempotency_key: IdempotencyKey = None,
) -> BudgetShape:
    """Limit what a tenant spends from now on."""
    tenant = await identity.get_tenant(existing("ten", tenant_id))
    budget = requested_id("bud", tenant.id, idempotency_key)
    return budget_shape(await broker.ask(budget_shapes.creation(budget, tenant.id, tenant.account, data)))


@get(
    "/tenants/{tenant_id:str}/budgets",
    summary="List a tenant's budgets",
    operation_id="listTenantBudgets",
    responses=answers(budget_shapes.A_BUDGET_LIST, "not_found"),
)
async def list_budgets(
    broker: NamedDependency[Broker], identity: NamedDependency[Identity], tenant_id: TenantId
) -> BudgetListShape:
    """A tenant's budgets, each with what is spent, reserved and left in its current window."""
    tenant = await identity.get_tenant(existing("ten", tenant_id))
    return budget_list_shape(await broker.ask(ListBudgets(account=tenant.account, tenant=tenant.id)))


@patch(
    "/tenants/{tenant_id:str}/budgets/{budget:str}",
    summary="Change a tenant's budget",
    operation_id="changeTenantBudget",
    responses=answers(
        budget_shapes.A_BUDGET, "not_found", "malformed_request", "invalid_input", "currency_mismatch"
    ),
)
async def change_budget(
    broker: NamedDependency[Broker],
    tenant_id: TenantId,
    budget: BudgetId,
    data: Annotated[BudgetChangeBody, body(budget_shapes.A_CHANGE_BODY)],
) -> BudgetShape:
    """Change a tenant's budget from now on."""
    command = budget_shapes.change(existing("bud", budget), existing("ten", tenant_id), data)
    return budget_shape(await broker.ask(command))


@delete(
    "/tenants/{tenant_id:str}/budgets/{budget:str}",
    status_code=200,
    summary="Delete a tenant's budget",
    operation_id="deleteTenantBudget",
    responses=answers(budget_shapes.A_BUDGET, "not_found"),
)
async def delete_budget(
    broker: NamedDependency[Broker], tenant_id: TenantId, budget: BudgetId
) -> BudgetShape:
    """Delete a tenant's budget. Doing it again changes nothing."""
    command = DeleteBudget(budget=existing("bud", budget), tenant=existing("ten", tenant_id))
    return budget_shape(await broker.ask(command))


handlers = [
    grant_promotion,
    list_promotions,
    close_account,
    create_budget,
    list_budgets,
    change_budget,
    delete_budget,
]
