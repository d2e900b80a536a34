"""Use cases of usage. One call is one transaction, opened and committed by the caller."""

from collections.abc import Sequence

from agora_contracts.envelope import Envelope
from agora_contracts.execution import UsageRecorded
from agora_contracts.metering import QueryUsage, UsageReport
from agora_contracts.problems import AgoraError, FieldError
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.runs.service import close_after_usage, lock_tenants_for_usage
from agora_metering.usage import model, store


async def take_in_usage(connection: AsyncConnection, events: Sequence[Envelope[UsageRecorded]]) -> None:
    """Count each event once, and close the ended runs whose last event was among them.

    Raises:
        AgoraError: `run_ended`, when an event exceeds what its run said at its end it had used.
    """
    await lock_tenants_for_usage(connection, {event.tenant for event in events})
    runs = await store.take_in(connection, events)
    await close_after_usage(connection, runs)


async def query_usage(connection: AsyncConnection, query: QueryUsage) -> UsageReport:
    """Sum a tenant's usage over every hour that the range touches, filtered and grouped.

    Raises:
        AgoraError: `malformed_request`, with the fields at fault.
    """
    if faults := model.query_faults(query):
        raise AgoraError("malformed_request", "the query cannot be answered", errors=faults)
    try:
        start, end = model.first_hour(query.start), model.hour_after(query.end)
    except OverflowError as error:
        fault = FieldError(field="end", detail="must lie before the end of the year 9999")
        raise AgoraError("malformed_request", "the query cannot be answered", errors=[fault]) from error
    rows = await store.query_totals(connection, query, model.grouping(query), start=start, end=end)
    return UsageReport(items=rows[: query.limit], truncated=len(rows) > query.limit)
