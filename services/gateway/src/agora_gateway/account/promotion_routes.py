"""HTTP of a tenant's promotional credit."""

from agora_contracts.promotions import ListPromotions
from agora_kit.broker import Broker
from litestar import get
from litestar.di import NamedDependency

from agora_gateway.account.promotion_shapes import (
    A_PROMOTION_PAGE,
    PromotionPageShape,
    promotion_page_shape,
)
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import Cursor, Limit, answers


@get(
    "/promotions",
    guards=[requires("account")],
    summary="List promotional credit",
    operation_id="listPromotions",
    responses=answers(A_PROMOTION_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_promotions(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PromotionPageShape:
    """Credit that was given, newest first: what is left of each grant, and until when."""
    query = ListPromotions(account=tenant.account, tenant=tenant.id, cursor=cursor, limit=limit)
    return promotion_page_shape(await broker.ask(query))
