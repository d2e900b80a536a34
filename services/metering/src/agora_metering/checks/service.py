"""Use cases of checks. One call is one transaction, opened and committed by the caller."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
import structlog
from agora_contracts.meters import CheckTotals, TotalDifference, TotalsCheck
from agora_contracts.problems import AgoraError
from agora_kit.database import Database
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.checks import store
from agora_metering.partitions import store as partitions

log = structlog.get_logger()


async def check_totals(connection: AsyncConnection, query: CheckTotals) -> TotalsCheck:
    """Recompute every total of a UTC day from the stored events, by minute, hour and day.

    Raises:
        AgoraError: `malformed_request` for a day whose events are not kept.
    """
    kept_since = await partitions.kept_since(connection)
    # Usage is accepted up to an hour before its time: the first kept day may have lost its first hour.
    if kept_since is not None and query.day <= kept_since:
        raise AgoraError("malformed_request", f"events are kept since {kept_since}; name a later day")
    try:
        start = datetime.combine(query.day, time(), UTC)
        end = start + timedelta(days=1)
    except OverflowError as error:
        raise AgoraError("malformed_request", "the day is too late") from error
    rows = await store.compare(connection, start, end, query.tenant, limit=query.limit)
    return TotalsCheck(
        day=query.day,
        checked=rows[0].checked if rows else 0,
        differences=[_difference(row) for row in rows if row.differs],
    )


def _difference(row: Row[Any]) -> TotalDifference:
    return TotalDifference(
        tenant=row.tenant,
        meter=row.meter,
        package=row.package,
        deployment=row.deployment,
        start=row.start,
        grain=row.grain,
        kept=row.kept,
        kept_events=row.kept_events,
        recomputed=row.recomputed,
        recomputed_events=row.recomputed_events,
    )


async def check_day(database: Database, day: date) -> None:
    """Check a day on schedule; what differs is logged, one line for each."""
    async with database.system() as connection:
        check = await check_totals(connection, CheckTotals(day=day))
    for one in check.differences:
        log.error("total differs from its events", **msgspec.structs.asdict(one))
    log.info("totals checked", day=day.isoformat(), checked=check.checked, differences=len(check.differences))
