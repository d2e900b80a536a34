"""A hire and a price change that come at the same moment: whoever comes second tells of it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from agora_billing.prices import service as prices
from agora_billing.rentals import service as rentals
from agora_contracts.deployments import DeploymentStarted
from agora_contracts.prices import PriceChangeScheduled
from agora_contracts.subjects import PLATFORM_TENANT
from sqlalchemy.ext.asyncio import AsyncConnection

from .conftest import ACCOUNT, PRICE, TENANT, Platform
from .money_books import envelope
from .test_price_book import revised

type Step = Callable[[AsyncConnection], Awaitable[None]]

_WAITING = """
    SELECT 1 FROM pg_locks
    WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def hire(connection: AsyncConnection) -> None:
    """A deployment starts that was hired before the rise."""
    started = DeploymentStarted(
        deployment="dep_one",
        account=ACCOUNT,
        package="echo",
        version="1.0.0",
        price_version=PRICE,
        basis="task",
        at=datetime.now(UTC) - timedelta(minutes=1),
    )
    await rentals.take_up(connection, [envelope(TENANT, started)])


async def publish(connection: AsyncConnection) -> None:
    """A rise is published."""
    await prices.pin(connection, [envelope(PLATFORM_TENANT, revised("price_rise", "0.02"))])


@pytest.mark.parametrize(("first", "second"), [(hire, publish), (publish, hire)])
async def test_a_hire_and_a_rise_at_once_are_told(platform: Platform, first: Step, second: Step):
    """
    Two transactions, of which neither sees what the other has written: the deployment is told of the rise, once.
    """

    async def come_second() -> None:
        async with platform.database.system() as connection:
            await second(connection)

    async with platform.database.system() as connection:
        await first(connection)
        other = asyncio.create_task(come_second())

        async def waits_or_is_done() -> bool:
            return other.done() or bool(await platform.rows(_WAITING))

        await platform.until(waits_or_is_done)
    await other

    [told] = [one.data for one in await platform.events(PriceChangeScheduled)]
    assert ("dep_one", PRICE, "price_rise", True) == (told.deployment, told.before, told.to, told.rise)
