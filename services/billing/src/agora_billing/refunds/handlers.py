"""What billing answers about refunds."""

from agora_contracts.refunds import ListRefunds, RefundList, RefundResult, RefundRun
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_billing.accounts.service import Clock
from agora_billing.prices.service import Prices
from agora_billing.refunds import service


def register(broker: Broker, database: Database, prices: Prices, clock: Clock) -> None:
    """Answer RefundRun and ListRefunds."""

    async def refund(command: RefundRun) -> RefundResult:
        async with database.system() as connection:
            return await service.refund(connection, prices, command, clock())

    async def listed(query: ListRefunds) -> RefundList:
        async with database.system() as connection:
            return await service.refunds_of(connection, query)

    broker.answer(RefundRun, refund)
    broker.answer(ListRefunds, listed)
