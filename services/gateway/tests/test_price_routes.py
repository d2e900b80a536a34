"""Price books over HTTP."""

from datetime import UTC, datetime
from decimal import Decimal

import httpx
from agora_contracts.catalog import (
    ChargePolicy,
    ListPrices,
    OfferedPrice,
    PriceBook,
    PriceEntry,
    PublishPrices,
)

from .conftest import Customer, Others

BOOK = PriceBook(
    package="echo",
    items=[
        PriceEntry(
            price_version="price_1",
            number=1,
            version=None,
            prices=[OfferedPrice(basis="task", unit_price=Decimal("0.000000000001"), meter="tasks")],
            charges=ChargePolicy(),
            published_at=datetime(2026, 1, 1, tzinfo=UTC),
            effective_at=datetime(2026, 2, 1, tzinfo=UTC),
            notice_days=30,
        )
    ],
    in_force="price_1",
)
BODY = {
    "prices": [{"basis": "task", "unit_price": "0.000000000001", "meter": "tasks"}],
    "effective_at": "2100-01-01T00:00:00Z",
}


async def test_an_operator_revises_prices_once_per_key(operator: httpx.AsyncClient, others: Others):
    """
    The same Idempotency-Key makes the same price version; prices reach the catalogue exactly.
    """
    await others.answer((PublishPrices, BOOK))

    for _ in range(2):
        done = await operator.post(
            "/operator/packages/echo/prices", json=BODY, headers={"Idempotency-Key": "k1"}
        )
        assert 201 == done.status_code, done.text
    short = await operator.post("/operator/packages/echo/prices", json=BODY | {"notice_days": 3})

    first, second = [one for one in others.asked if isinstance(one, PublishPrices)]
    assert first == second and first.price_version.startswith("price_")
    assert Decimal("0.000000000001") == first.prices[0].unit_price
    assert Decimal("0.000000000001") == Decimal(done.json()["items"][0]["prices"][0]["unit_price"])
    assert short.status_code in (400, 422)


async def test_customers_read_the_book_and_do_not_write_it(customer: Customer, others: Others):
    """
    A customer sees what was when; revising prices is not for it.
    """
    await others.answer((ListPrices, BOOK))

    found = await customer.http.get("/packages/echo/prices", params={"at": "2026-02-01T00:00:00Z"})
    refused = await customer.http.post("/operator/packages/echo/prices", json=BODY)

    assert ("price_1", 200) == (found.json()["in_force"], found.status_code)
    assert datetime(2026, 2, 1, tzinfo=UTC) == others.asked[-1].at
    assert refused.status_code in (401, 403)
