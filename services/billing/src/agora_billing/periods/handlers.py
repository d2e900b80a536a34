"""What billing hears and answers about periods."""

from agora_contracts.periods import ListPeriods, PeriodPage, PeriodTotal
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_billing.periods import service
from agora_billing.periods.service import Periods
from agora_billing.prices.service import Prices


def register(broker: Broker, database: Database, periods: Periods, prices: Prices) -> None:
    """Charge reported months, and answer ListPeriods."""

    async def listed(query: ListPeriods) -> PeriodPage:
        async with database.transaction(query.tenant) as connection:
            return await service.listed(connection, prices, query)

    # An older revision changes nothing, so no inbox is needed.
    broker.consume("period-totals", [PeriodTotal], periods.take_up, inbox=False, batch_max=500)
    broker.answer(ListPeriods, listed)
