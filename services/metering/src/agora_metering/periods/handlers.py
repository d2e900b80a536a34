"""Months that changed, told again and again."""

from agora_kit.service import Service

from agora_metering.periods import service as use_cases
from agora_metering.settings import MeteringSettings


def register(service: Service, settings: MeteringSettings) -> None:
    """Tell what deployments' months have come to."""
    database = service.database

    async def tell() -> None:
        more = True
        while more:
            async with database.system() as connection:
                told = await use_cases.tell_changed(connection, seconds_between=settings.period_seconds)
            more = told == use_cases.TELL_LIMIT

    service.every(min(settings.roll_seconds, settings.period_seconds), "tell periods", tell)
