"""Months of usage as the public API shows them."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from agora_contracts.billing import QuoteLine
from agora_contracts.money import PublicMoney
from agora_contracts.periods import Period, PeriodPage

from agora_gateway.edge.shapes import public_money


class PeriodPostingShape(msgspec.Struct, frozen=True, kw_only=True):
    """One charge for a month beside those of its runs; negative when something went back."""

    number: int
    at: datetime
    amount: PublicMoney
    explanation: str


class PeriodShape(msgspec.Struct, frozen=True, kw_only=True):
    """A calendar month (UTC) of one meter: used by runs, reported outside of them, and what that comes to.

    `amount` was charged in all: `by_runs_amount` by its runs, the rest by `postings`. `lines` add up to it after one
    rounding.
    """

    id: str
    package: str
    deployment: str | None
    basis: str
    meter: str
    period_start: datetime
    period_end: datetime
    price_version: str
    runs: int
    by_runs: Decimal
    reported: Decimal
    lines: list[QuoteLine]
    amount: PublicMoney
    by_runs_amount: PublicMoney
    postings: list[PeriodPostingShape]


class PeriodPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """Months, newest first."""

    items: list[PeriodShape]
    next_cursor: str | None = None


def period_page_shape(page: PeriodPage) -> PeriodPageShape:
    """A page of months for the public."""
    return PeriodPageShape(items=[_period_shape(one) for one in page.items], next_cursor=page.next_cursor)


def _period_shape(period: Period) -> PeriodShape:
    currency = period.currency
    return PeriodShape(
        id=period.id,
        package=period.package,
        deployment=period.deployment,
        basis=period.basis,
        meter=period.meter,
        period_start=period.period_start,
        period_end=period.period_end,
        price_version=period.price_version,
        runs=period.runs,
        by_runs=period.by_runs,
        reported=period.reported,
        lines=period.lines,
        amount=public_money(period.amount, currency),
        by_runs_amount=public_money(period.by_runs_amount, currency),
        postings=[
            PeriodPostingShape(
                number=one.number,
                at=one.at,
                amount=public_money(one.amount, currency),
                explanation=one.explanation,
            )
            for one in period.postings
        ],
    )


# --- examples of the documentation ---------------------------------------------------------------

A_PERIOD_PAGE = PeriodPageShape(
    items=[
        PeriodShape(
            id="per_0190a5b07c3a7d4e8f00112233445566",
            package="data-processor",
            deployment="dep_0190a5b07c3a7d4e8f00112233445566",
            basis="gb",
            meter="storage.gb",
            period_start=datetime(2026, 1, 1, tzinfo=UTC),
            period_end=datetime(2026, 2, 1, tzinfo=UTC),
            price_version="price_0190a5b07c3a7d4e8f00112233445566",
            runs=1,
            by_runs=Decimal("2.5"),
            reported=Decimal(10),
            lines=[
                QuoteLine(
                    meter="storage.gb",
                    description="storage.gb by gb",
                    quantity=Decimal("12.5"),
                    unit_price=Decimal("0.02"),
                    amount=Decimal("0.25"),
                )
            ],
            amount=PublicMoney(amount="0.250000"),
            by_runs_amount=PublicMoney(amount="0.050000"),
            postings=[
                PeriodPostingShape(
                    number=1,
                    at=datetime(2026, 1, 5, 9, 0, tzinfo=UTC),
                    amount=PublicMoney(amount="0.200000"),
                    explanation="0.200000 USD charged: 12.5 storage.gb in January 2026 come to 0.250000 USD in all.",
                )
            ],
        )
    ]
)
