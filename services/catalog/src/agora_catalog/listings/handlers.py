"""Commands and queries of listings, as they come over NATS."""

from agora_contracts.catalog import (
    CategoryList,
    GetPackage,
    ListCategories,
    ListPackages,
    PackageDetail,
    PackagePage,
    PublishPackage,
    SetListingState,
)
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_catalog.listings import service


def register(broker: Broker, database: Database) -> None:
    """Answer what the catalog is asked, each in one transaction of the platform's tenant."""

    async def publish(command: PublishPackage) -> PackageDetail:
        async with database.transaction(PLATFORM_TENANT) as connection:
            return await service.publish_package(connection, command)

    async def set_state(command: SetListingState) -> PackageDetail:
        async with database.transaction(PLATFORM_TENANT) as connection:
            return await service.set_listing_state(connection, command)

    async def list_packages(query: ListPackages) -> PackagePage:
        async with database.transaction(PLATFORM_TENANT) as connection:
            return await service.list_packages(connection, query)

    async def get_package(query: GetPackage) -> PackageDetail:
        async with database.transaction(PLATFORM_TENANT) as connection:
            return await service.get_package(connection, query)

    async def list_categories(_: ListCategories) -> CategoryList:
        async with database.transaction(PLATFORM_TENANT) as connection:
            return await service.list_categories(connection)

    broker.answer(PublishPackage, publish)
    broker.answer(SetListingState, set_state)
    broker.answer(ListPackages, list_packages)
    broker.answer(GetPackage, get_package)
    broker.answer(ListCategories, list_categories)
