"""Billing's use cases on one database, for tests that call them without the broker."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from agora_billing.accounts import store as accounts
from agora_billing.charges.service import Charges
from agora_billing.holds.service import Holds
from agora_billing.prices import service as price_service
from agora_billing.prices.service import Prices
from agora_billing.promotions import service as promotions
from agora_billing.seals.service import Sealer
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.database import Database
from agora_kit.provision import DatabaseUrls
from sqlalchemy import text

from .conftest import TENANT, Clock, price_version


class Books:
    """Billing's use cases on one database, called without the broker, in one event loop."""

    def __init__(self, urls: DatabaseUrls) -> None:
        self._runner = asyncio.Runner()
        self.database = Database(urls.app, urls.system, pool_size=3)
        self.clock = Clock()
        self.prices = Prices(self.database)
        self.holds = Holds(self.database, self.prices, self.clock, timedelta(seconds=120))
        self.charges = Charges(self.prices, self.clock)
        self.sealer = Sealer(self.database, self.clock)
        self.run(self._pin())

    def run[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something asynchronous now."""
        return self._runner.run(work)

    async def _pin(self) -> None:
        own = price_version()
        authors = msgspec.structs.replace(
            price_version("price_author"), author="acme-labs", author_share=Decimal("0.666667")
        )
        helper = msgspec.structs.replace(price_version("price_helper"), package="helper")
        prices = [envelope(PLATFORM_TENANT, one) for one in (own, authors, helper)]
        async with self.database.system() as connection:
            await price_service.pin(connection, prices)

    async def in_transaction(self, use_case: Any, *arguments: Any) -> Any:
        """Run a use case in a transaction of the tenant."""
        async with self.database.transaction(TENANT) as connection:
            return await use_case(connection, *arguments)

    async def as_system(self, use_case: Any, *arguments: Any) -> Any:
        """Run a use case in a transaction of the system role."""
        async with self.database.system() as connection:
            return await use_case(connection, *arguments)

    def rows(self, query: str, **values: Any) -> Any:
        """Read the database in its own words."""

        async def read(connection: Any) -> Any:
            return (await connection.execute(text(query), values)).all()

        return self.run(self.as_system(read))

    def expire(self, account: str) -> None:
        """Let an account's grants expire, as the sweep does and every command before it spends."""

        async def work(connection: Any) -> None:
            await promotions.expire_due(connection, await accounts.lock(connection, [account]), self.clock())

        self.run(self.as_system(work))

    def close(self) -> None:
        """Give the connections back."""
        self.run(self.database.close())
        self._runner.close()


def envelope[Data](tenant: str, data: Data) -> Envelope[Data]:
    """An event as a consumer's handler gets it."""
    spec = EVENTS[type(data)]  # type: ignore[index]
    return Envelope(id="evt", source="test", type=spec.type, time=utc_now(), tenant=tenant, data=data)
