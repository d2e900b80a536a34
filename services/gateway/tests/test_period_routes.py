"""Months of usage over HTTP."""

from datetime import UTC, datetime
from decimal import Decimal

from agora_contracts.billing import QuoteLine
from agora_contracts.periods import ListPeriods, Period, PeriodPage, PeriodPosting

from .conftest import Customer, Others

DEPLOYMENT = "dep_" + "0" * 32
LINE = QuoteLine(
    meter="gb",
    description="gb by gb",
    quantity=Decimal("0.1"),
    unit_price=Decimal("0.000015"),
    amount=Decimal("0.0000015"),
)
PERIOD = Period(
    id="per_1",
    account="acc_1",
    package="echo",
    basis="gb",
    meter="gb",
    currency="USD",
    period_start=datetime(2026, 1, 1, tzinfo=UTC),
    period_end=datetime(2026, 2, 1, tzinfo=UTC),
    price_version="price_1",
    by_runs=Decimal("0.1"),
    reported=Decimal(0),
    runs=1,
    lines=[LINE],
    amount=2,
    by_runs_amount=3,
    postings=[
        PeriodPosting(number=1, at=datetime(2026, 1, 2, tzinfo=UTC), amount=-1, explanation="it went back")
    ],
    deployment=DEPLOYMENT,
)


async def test_a_customer_sees_its_months_line_by_line(customer: Customer, others: Others):
    """
    Months come with exact lines and signed postings; the deployment asked for reaches billing, a wrong one is refused.
    """
    await others.answer((ListPeriods, PeriodPage(items=[PERIOD], next_cursor="c")))

    found = (
        await customer.http.get("/account/periods", params={"deployment": DEPLOYMENT, "limit": 5})
    ).json()
    wrong = await customer.http.get("/account/periods", params={"deployment": "mine"})

    assert ("c", 422) == (found["next_cursor"], wrong.status_code)
    [month] = found["items"]
    assert ("0.000002", "0.000003", "-0.000001") == (
        month["amount"]["amount"],
        month["by_runs_amount"]["amount"],
        month["postings"][0]["amount"]["amount"],
    )
    assert ("0.1", "0.0000015") == (month["by_runs"], month["lines"][0]["amount"])
    query = others.asked[-1]
    assert (customer.account, DEPLOYMENT, 5) == (query.account, query.deployment, query.limit)
