"""Examples of months: what their usage comes to beside what runs were charged."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from agora_contracts import periods, rentals
from agora_contracts.examples import story
from agora_contracts.ids import derived
from agora_contracts.money import Money

MONTH = datetime(2026, 3, 1, tzinfo=UTC)
NEXT_MONTH = datetime(2026, 4, 1, tzinfo=UTC)
PERIOD = derived("per", story.ACCOUNT, "storage.gb", "2026-03")
LINES = [story.line("storage.gb", "storage.gb by gb", "12.5", "0.02")]

THE_PERIOD = periods.Period(
    id=PERIOD,
    account=story.ACCOUNT,
    package=story.PACKAGE,
    basis="gb",
    meter="storage.gb",
    currency="USD",
    period_start=MONTH,
    period_end=NEXT_MONTH,
    price_version=story.PRICE_VERSION,
    by_runs=Decimal("2.5"),
    reported=Decimal(10),
    runs=1,
    lines=LINES,
    amount=250_000,
    by_runs_amount=50_000,
    postings=[
        periods.PeriodPosting(
            number=1,
            at=story.SETTLED_AT,
            amount=200_000,
            explanation="0.200000 USD charged: 12.5 storage.gb in March 2026 come to 0.250000 USD in all.",
        )
    ],
    deployment=story.DEPLOYMENT,
)

EXAMPLES: tuple[msgspec.Struct, ...] = (
    periods.PeriodCharged(
        period=PERIOD,
        account=story.ACCOUNT,
        package=story.PACKAGE,
        meter="storage.gb",
        number=1,
        period_start=MONTH,
        period_end=NEXT_MONTH,
        lines=LINES,
        amount=Money(amount=250_000),
        difference=Money(amount=200_000),
        platform_cost=Money(amount=0),
        cause="usage revision 3",
        at=story.SETTLED_AT,
        deployment=story.DEPLOYMENT,
    ),
    rentals.CheckRental(
        tenant=story.TENANT, account=story.ACCOUNT, price_version=story.PRICE_VERSION, basis="month"
    ),
    rentals.RentalCheck(price_version=story.PRICE_VERSION, amount=Money(amount=200_000_000)),
    periods.ListPeriods(
        account=story.ACCOUNT,
        tenant=story.TENANT,
        deployment=story.DEPLOYMENT,
        cursor=story.CURSOR,
        limit=20,
    ),
    THE_PERIOD,
    periods.PeriodPage(items=[THE_PERIOD], next_cursor=story.CURSOR),
)
