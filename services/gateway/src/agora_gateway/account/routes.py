"""HTTP of the account: balance and statement."""

from agora_contracts.billing import GetBalance, GetStatement
from agora_kit.broker import Broker
from litestar import Router, get
from litestar.di import NamedDependency

from agora_gateway.account import shapes
from agora_gateway.account.ledger_routes import get_ledger
from agora_gateway.account.period_routes import list_periods
from agora_gateway.account.promotion_routes import list_promotions
from agora_gateway.account.shapes import BalanceShape, StatementShape, balance_shape, statement_shape
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import TENANT_SECURITY, Cursor, Limit, answers


@get(
    "/",
    guards=[requires("account")],
    summary="Read the balance",
    operation_id="getBalance",
    responses=answers(shapes.A_BALANCE),
)
async def get_balance(broker: NamedDependency[Broker], tenant: NamedDependency[Tenant]) -> BalanceShape:
    """The tenant's prepaid credit, what is held for running runs, and what is available."""
    return balance_shape(await broker.ask(GetBalance(account=tenant.account, tenant=tenant.id)))


@get(
    "/statement",
    guards=[requires("account")],
    summary="Read the statement",
    operation_id="getStatement",
    responses=answers(shapes.A_STATEMENT, "invalid_input", "invalid_cursor"),
)
async def get_statement(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    cursor: Cursor = None,
    limit: Limit = 100,
) -> StatementShape:
    """Every posting on the account, newest first, and the balance that they add up to."""
    query = GetStatement(account=tenant.account, tenant=tenant.id, cursor=cursor, limit=limit)
    return statement_shape(await broker.ask(query))


router = Router(
    "/account",
    route_handlers=[get_balance, get_statement, get_ledger, list_promotions, list_periods],
    tags=["Account"],
    security=TENANT_SECURITY,
)
