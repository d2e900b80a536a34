"""Commands and queries of the price book, as they come over NATS."""

from agora_contracts.catalog import ListPrices, PriceBook, PublishPrices
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_catalog.prices import service


def register(broker: Broker, database: Database) -> None:
    """Answer PublishPrices and ListPrices, each in one transaction of the platform's tenant."""

    async def publish(command: PublishPrices) -> PriceBook:
        async with database.transaction(PLATFORM_TENANT) as connection:
            return await service.publish_prices(connection, command)

    async def read(query: ListPrices) -> PriceBook:
        async with database.transaction(PLATFORM_TENANT) as connection:
            return await service.prices_of(connection, query)

    broker.answer(PublishPrices, publish)
    broker.answer(ListPrices, read)
