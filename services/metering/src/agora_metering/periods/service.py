"""Use cases of periods. One call is one transaction, opened and committed by the caller."""

from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.periods import store
from agora_metering.totals.store import lock_roller

TELL_LIMIT = 500
"""The most months that are told in one transaction."""


async def tell_changed(connection: AsyncConnection, *, seconds_between: float) -> int:
    """Tell what months have come to that changed, each at most every so many seconds. Returns how many were told."""
    # Totals are cleared under this lock, too, once their meter is known as one that is built: none is half of itself.
    await lock_roller(connection, wait=True)
    claimed = await store.claim_changed(connection, seconds_between=seconds_between, limit=TELL_LIMIT)
    if claimed:
        totals = await store.totals_of(connection, claimed)
        await emit(
            connection,
            [
                Event(
                    tenant=one.tenant,
                    entity=one.deployment,
                    data=one.fact,
                    id=one.event_id,
                    sequence=one.revision,
                )
                for one in totals
            ],
        )
    return len(claimed)
