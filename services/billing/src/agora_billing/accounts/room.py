"""Telling those who wait that there is more to spend."""

from datetime import datetime

from agora_contracts.ids import derived
from agora_contracts.spending import SpendingRoomCause, SpendingRoomGrew
from agora_kit.outbox import Event


def room_grew(
    tenant: str,
    account: str,
    cause: SpendingRoomCause,
    what: str,
    now: datetime,
    *,
    budget: str | None = None,
) -> Event:
    """The event that there is more to spend on an account, to be emitted in the transaction that makes it so.

    Args:
        what: names the one thing that has made it grow, so that it is told once.
    """
    fact = SpendingRoomGrew(account=account, cause=cause, at=now, budget=budget)
    event_id = derived("evt", "room_grew", cause, what)
    return Event(tenant=tenant, entity=account, data=fact, id=event_id, at=now)
