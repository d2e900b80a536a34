"""Deployments that start and end, and their time, counted again and again."""

from agora_contracts.deployments import DeploymentEnded, DeploymentStarted
from agora_contracts.envelope import utc_now
from agora_kit.service import Service

from agora_metering.rentals import service as use_cases
from agora_metering.settings import MeteringSettings


def register(service: Service, settings: MeteringSettings) -> None:
    """Hear of rentals, and tell what their months have come to."""
    database = service.database

    async def count() -> None:
        more = True
        while more:
            async with database.system() as connection:
                counted = await use_cases.count(
                    connection, utc_now(), seconds_between=settings.rental_seconds
                )
            more = counted == use_cases.COUNT_LIMIT

    # What is known stays, so no inbox is needed.
    service.broker.consume("rentals", [DeploymentStarted, DeploymentEnded], use_cases.take_up, inbox=False)
    service.every(min(settings.rental_seconds, 5.0), "count rentals", count)
