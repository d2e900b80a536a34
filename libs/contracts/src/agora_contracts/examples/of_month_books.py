"""Examples of what the books have of months."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from agora_contracts import month_books
from agora_contracts.examples import story

MONTH = month_books.MonthKey(
    tenant=story.TENANT,
    deployment=story.DEPLOYMENT,
    meter="gigabytes",
    period_start=datetime(2026, 3, 1, tzinfo=UTC),
)
EXAMPLES: tuple[msgspec.Struct, ...] = (
    month_books.DescribeMonths(months=[MONTH]),
    month_books.MonthsDescribed(
        items=[month_books.MonthBooks(month=MONTH, revision=3, quantity=Decimal("12.5"), rated=True)]
    ),
)
