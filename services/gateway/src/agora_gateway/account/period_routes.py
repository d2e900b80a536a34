"""HTTP of what months have come to."""

from typing import Annotated

from agora_contracts.ids import is_id
from agora_contracts.periods import ListPeriods
from agora_contracts.problems import AgoraError, FieldError
from agora_kit.broker import Broker
from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.account.period_shapes import A_PERIOD_PAGE, PeriodPageShape, period_page_shape
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import Cursor, Limit, answers


@get(
    "/periods",
    guards=[requires("account")],
    summary="List months of usage",
    operation_id="listPeriods",
    responses=answers(A_PERIOD_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_periods(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    deployment: Annotated[str | None, QueryParameter(description="Only those of this deployment.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> PeriodPageShape:
    """What each month has come to, line by line, where a month is priced as a whole or used outside of runs."""
    if deployment is not None and not is_id("dep", deployment):
        fields = [FieldError(field="deployment", detail="is no deployment's id")]
        raise AgoraError("invalid_input", "there is no such deployment", errors=fields)
    query = ListPeriods(
        account=tenant.account, tenant=tenant.id, deployment=deployment, cursor=cursor, limit=min(limit, 200)
    )
    return period_page_shape(await broker.ask(query))
