"""Corrections, as they come over NATS."""

from agora_contracts.envelope import utc_now
from agora_contracts.usage_ingest import CorrectUsage, UsageCorrection
from agora_kit.service import Service

from agora_metering.corrections import service as use_cases


def register(service: Service) -> None:
    """Book corrections."""
    database = service.database

    async def correct_usage(command: CorrectUsage) -> UsageCorrection:
        # The system role: its totals may be made by the platform's meters as well.
        async with database.system() as connection:
            return await use_cases.correct(connection, command, utc_now())

    service.broker.answer(CorrectUsage, correct_usage)
