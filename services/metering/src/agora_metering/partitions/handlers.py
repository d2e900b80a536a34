"""Partitions, kept up again and again."""

from agora_contracts.envelope import utc_now
from agora_kit.service import Service

from agora_metering.partitions import service as use_cases
from agora_metering.partitions.model import RETENTION_MONTHS_MIN
from agora_metering.settings import MeteringSettings


def register(service: Service, settings: MeteringSettings) -> None:
    """Make partitions ahead, and drop the old ones if a retention is set.

    Raises:
        ValueError: the retention is too short, or nobody may drop a partition.
    """
    database = service.database
    months, owner_url = settings.usage_retention_months, settings.database_owner_url

    async def keep_up() -> None:
        await use_cases.keep_up(database, await use_cases.earlier_clock(database, utc_now()))

    service.every(settings.partition_sweep_seconds, "usage partitions", keep_up)
    if months is None:
        return
    if months < RETENTION_MONTHS_MIN:
        raise ValueError(
            f"AGORA_USAGE_RETENTION_MONTHS must be at least {RETENTION_MONTHS_MIN}, not {months}"
        )
    if owner_url is None:
        raise ValueError(
            "AGORA_USAGE_RETENTION_MONTHS needs AGORA_DATABASE_OWNER_URL: only the owner drops tables"
        )

    async def drop_old() -> None:
        await use_cases.drop_old(database, owner_url, months)

    service.every(settings.partition_sweep_seconds, "usage retention", drop_old)
