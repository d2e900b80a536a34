"""The price book over NATS: what is published into it, what is refused, what was when."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from agora_contracts.catalog import (
    ChargePolicy,
    GetPackage,
    ListPackages,
    ListPrices,
    OfferedPrice,
    PriceVersionPublished,
    PublishPrices,
)
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker

from .test_listings import a_package, events


def by_task(unit_price: str, **other: Any) -> OfferedPrice:
    """A price by task."""
    values: dict[str, Any] = {"basis": "task", "meter": "tasks", "unit_price": Decimal(unit_price)}
    return OfferedPrice(**(values | other))


def prices(unit_price: str = "0.40", price_version: str = "price_2", **other: Any) -> PublishPrices:
    """Revised prices of the sorter."""
    values: dict[str, Any] = {
        "package": "sorter", "price_version": price_version, "prices": [by_task(unit_price)],
    }  # fmt: skip
    return PublishPrices(**(values | other))


async def test_revised_prices_stand_in_the_book_and_in_the_listing(asker: Broker, nats_url: str):
    """
    Published once per price version: the book has both entries, the listing shows the new price, billing is told.
    """
    await asker.ask(a_package())

    book = await asker.ask(prices())
    again = await asker.ask(prices())

    assert book == again
    assert [(2, None), (1, "1.0.0")] == [(one.number, one.version) for one in book.items]
    assert "price_2" == book.in_force
    for query in (GetPackage(package="sorter"), GetPackage(package="sorter", version="1.0.0")):
        assert [by_task("0.40")] == (await asker.ask(query)).summary.prices
    assert [by_task("0.40")] == (await asker.ask(ListPackages())).items[0].prices
    first, second = [one.data for one in await events(nats_url, PriceVersionPublished, 2)]
    assert [(1, False), (2, True)] == [(one.number, one.revises) for one in (first, second)]
    assert ("1.0.0", 30, book.items[0].effective_at) == (
        second.version, second.notice_days, second.effective_at,
    )  # fmt: skip


async def test_the_book_says_what_was_when(asker: Broker):
    """
    Prices for later are in the book and not in force before; the book can be asked for any moment.
    """
    await asker.ask(a_package())
    later = datetime.now(UTC) + timedelta(days=10)
    book = await asker.ask(prices(effective_at=later, notice_days=60))

    base = book.items[1].price_version
    assert base == book.in_force
    moments = (later - timedelta(seconds=1), later, datetime(2020, 1, 1, tzinfo=UTC))
    found = [(await asker.ask(ListPrices(package="sorter", at=at))).in_force for at in moments]
    assert [base, "price_2", None] == found
    assert [by_task("0.50")] == (await asker.ask(GetPackage(package="sorter"))).summary.prices


async def test_a_new_version_of_the_package_has_its_own_prices(asker: Broker):
    """
    Revised prices apply to the versions before them; the charge policy stays unless it is given.
    """
    await asker.ask(a_package(charges=ChargePolicy(failed="full")))
    await asker.ask(prices())
    await asker.ask(a_package(version="2.0.0", prices=[by_task("0.70")]))

    book = await asker.ask(ListPrices(package="sorter"))

    assert [3, 2, 1] == [one.number for one in book.items]
    assert book.items[0].price_version == book.in_force
    assert "full" == book.items[1].charges.failed
    assert [by_task("0.40")] == (
        await asker.ask(GetPackage(package="sorter", version="1.0.0"))
    ).summary.prices


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prices": [by_task("1", meter="others")]}, "/prices/0/meter"),
        ({"prices": [OfferedPrice(basis="month", unit_price=Decimal(1))]}, "/prices"),
        ({"prices": [by_task("1"), by_task("2")]}, "/prices/1/basis"),
        ({"effective_at": datetime(2020, 1, 1, tzinfo=UTC)}, "/effective_at"),
        ({"effective_at": datetime(2100, 1, 1)}, "/effective_at"),
    ],
)
async def test_prices_that_cannot_be_are_refused(asker: Broker, change: dict[str, Any], field: str):
    """
    A meter without an estimate, other bases, a basis twice, or a moment that is over: refused, naming the field.
    """
    await asker.ask(a_package())

    with pytest.raises(AgoraError) as caught:
        await asker.ask(prices(**change))

    assert field in [error.field for error in caught.value.problem.errors]


async def test_a_price_version_stands_for_one_set_of_prices(asker: Broker):
    """
    The same id with other prices conflicts; prices of an unknown package are not found.
    """
    await asker.ask(a_package())
    await asker.ask(prices())

    for command, slug in (
        (prices("0.30"), "idempotency_conflict"),
        (prices(package="nobody"), "not_found"),
        (ListPrices(package="nobody"), "not_found"),
    ):
        with pytest.raises(AgoraError) as caught:
            await asker.ask(command)
        assert slug == caught.value.slug
