"""What billing answers about promotional credit."""

from agora_contracts.promotions import GrantPromotion, ListPromotions, Promotion, PromotionPage
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_billing.accounts.service import Clock
from agora_billing.promotions import service


def register(broker: Broker, database: Database, clock: Clock) -> None:
    """Answer GrantPromotion and ListPromotions."""

    async def grant(command: GrantPromotion) -> Promotion:
        async with database.transaction(command.tenant) as connection:
            return await service.grant(connection, command, clock())

    async def listed(query: ListPromotions) -> PromotionPage:
        async with database.transaction(query.tenant) as connection:
            return await service.listed(connection, query, clock())

    broker.answer(GrantPromotion, grant)
    broker.answer(ListPromotions, listed)
