"""What the books have, as it is asked for by whoever reconciles."""

from decimal import Decimal

from agora_contracts.month_books import DescribeMonths, MonthBooks, MonthKey, MonthsDescribed
from agora_contracts.problems import AgoraError
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.prices.service import Prices
from agora_billing.reconciliation import store
from agora_billing.rentals import store as rentals
from agora_billing.rentals.model import Rental


async def months(connection: AsyncConnection, prices: Prices, query: DescribeMonths) -> MonthsDescribed:
    """Say which total of each month was taken up, and whether it is rated at all."""
    taken_up = await store.reported_months(connection, query.months)
    known = await rentals.read(connection, {one.deployment for one in query.months})
    items = []
    for month in query.months:
        revision, quantity = taken_up.get(month, (0, Decimal(0)))
        rental = known.get(month.deployment)
        rated = revision > 0 or await _is_rated(prices, rental, month)
        items.append(MonthBooks(month=month, revision=revision, quantity=quantity, rated=rated))
    return MonthsDescribed(items=items)


async def _is_rated(prices: Prices, rental: Rental | None, month: MonthKey) -> bool:
    if rental is None or rental.tenant != month.tenant:
        return True
    at = max(month.period_start, rental.started_at)
    try:
        price = await prices.in_force(rental.price_version, rental.basis, rental.deployment, at)
    except AgoraError:
        return True
    return month.meter in price.prices_of(rental.basis)
