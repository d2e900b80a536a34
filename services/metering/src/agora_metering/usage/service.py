"""Use cases of usage events. One call is one transaction, opened and committed by the caller."""

from collections.abc import Sequence

from agora_contracts.envelope import Envelope
from agora_contracts.subjects import PLATFORM_TENANT
from agora_contracts.usage import UsageRecorded
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.meters.store import definitions_of
from agora_metering.runs.service import close_after_usage, lock_tenants_for_usage
from agora_metering.usage import model, store
from agora_metering.usage.model import Taken


async def take_in(connection: AsyncConnection, events: Sequence[Envelope[UsageRecorded]]) -> list[Taken]:
    """Count each event once, and close the ended runs whose last event was among them.

    Returns what became of each event, in order.

    Raises:
        AgoraError: `run_ended`, when an event exceeds what its run said at its end it had used.
    """
    tenants = {event.tenant for event in events}
    # Whoever defines a meter, or ends a run, takes the tenant's lock alone: what is read after it stays true.
    await lock_tenants_for_usage(connection, tenants | {PLATFORM_TENANT})
    month = await store.lock_month(connection)
    definitions = await definitions_of(connection, tenants)
    stored = await store.take_in(connection, events, month=month, definitions=definitions)
    await close_after_usage(connection, stored.runs)
    if stored.keys is None:
        return [Taken.ACCEPTED] * len(events)
    bodies = await store.stored_bodies(connection, {model.key_of(event) for event in events}, month=month)
    return model.outcomes(events, stored.keys, bodies)
