"""The roller, again and again."""

from agora_kit.service import Service

from agora_metering.settings import MeteringSettings
from agora_metering.totals import service as use_cases


def register(service: Service, settings: MeteringSettings) -> None:
    """Keep the totals up."""
    database = service.database

    async def roll() -> None:
        await use_cases.roll(database)

    service.every(settings.roll_seconds, "roll totals", roll)
