"""NATS in: what the books have, asked for by whoever reconciles."""

from decimal import Decimal

from agora_contracts.month_books import DescribeMonths, MonthsDescribed
from agora_contracts.reconciliation import (
    AuditBooks,
    BookFault,
    BooksAudited,
    ChargesDescribed,
    DescribeCharges,
)
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_billing.audit.service import verify
from agora_billing.prices.service import Prices
from agora_billing.reconciliation import service, store


def register(broker: Broker, database: Database, prices: Prices) -> None:
    """Answer what the books have, and audit them. Of all tenants: only other services ask."""

    async def describe(query: DescribeCharges) -> ChargesDescribed:
        async with database.system() as connection:
            return ChargesDescribed(items=await store.books_of(connection, query.runs))

    async def months(query: DescribeMonths) -> MonthsDescribed:
        async with database.system() as connection:
            return await service.months(connection, prices, query)

    async def audit(_: AuditBooks) -> BooksAudited:
        report = await verify(database)
        return BooksAudited(
            postings=report.postings,
            faults=[
                BookFault(
                    rule=one.rule,
                    subject=one.subject,
                    expected=Decimal(one.expected),
                    found=Decimal(one.found),
                    detail=one.detail,
                )
                for one in report.faults
            ],
        )

    broker.answer(DescribeCharges, describe)
    broker.answer(DescribeMonths, months)
    broker.answer(AuditBooks, audit)
