"""Checks: asked for by the operator, and of yesterday by a sweep."""

from datetime import timedelta

from agora_contracts.envelope import utc_now
from agora_contracts.meters import CheckTotals, TotalsCheck
from agora_kit.service import Service

from agora_metering.checks import service as use_cases
from agora_metering.settings import MeteringSettings


def register(service: Service, settings: MeteringSettings) -> None:
    """Answer checks, and check the day before again and again."""
    database = service.database

    async def check_totals(query: CheckTotals) -> TotalsCheck:
        async with database.system() as connection:
            return await use_cases.check_totals(connection, query)

    async def check_yesterday() -> None:
        await use_cases.check_day(database, (utc_now() - timedelta(days=1)).date())

    service.broker.answer(CheckTotals, check_totals)
    service.every(settings.check_seconds, "check totals", check_yesterday)
