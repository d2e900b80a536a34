"""What billing says of deployments' months to whoever reconciles."""

from decimal import Decimal

from agora_contracts.month_books import DescribeMonths, MonthKey

from .conftest import TENANT, Platform
from .test_periods import DEPLOYMENT, MONTH, by_the_month, hired, pinned, told, total


def month(meter: str = "tasks", deployment: str = DEPLOYMENT, tenant: str = TENANT) -> MonthKey:
    """A meter of a deployment in this month."""
    return MonthKey(tenant=tenant, deployment=deployment, meter=meter, period_start=MONTH)


async def test_months_are_described(platform: Platform):
    """
    The newest total that was taken up, in the order asked; a meter without a price is not rated, an unknown deployment may
    be, and another tenant's month is none of this one's.
    """
    await pinned(platform, by_the_month())
    await platform.fund(10_000_000)
    await hired(platform)
    await platform.publish(TENANT, total(8))
    await told(platform, 1)
    await platform.publish(TENANT, total(9, revision=3))
    await told(platform, 2)
    asked = [month("views"), month(), month(deployment="dep_none"), month(tenant="ten_other")]

    described = await platform.ask(DescribeMonths(months=asked))

    assert asked == [one.month for one in described.items]
    assert [(0, 0, False), (3, 9, True), (0, 0, True), (0, 0, True)] == [
        (one.revision, int(one.quantity), one.rated) for one in described.items
    ]
    assert Decimal(9) == described.items[1].quantity
