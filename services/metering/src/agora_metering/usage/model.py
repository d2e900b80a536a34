"""The rules of usage events: which of them are one and the same."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from agora_contracts.envelope import Envelope
from agora_contracts.usage import UsageRecorded

type EventKey = tuple[str, str, str]
"""An event's id, source and tenant: what makes it one event."""


class Taken(Enum):
    """What became of an event that was taken in."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """It is stored already, and says the same: counted once."""
    COLLISION = "collision"
    """Another one is stored under its id, which stands; this one is not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What an event says, besides its key."""

    run: str | None
    deployment: str | None
    package: str | None
    meter: str
    quantity: Decimal
    at: datetime
    dimensions: dict[str, str]


def key_of(event: Envelope[Any]) -> EventKey:
    """What makes the event one event."""
    return event.id, event.source, event.tenant


def body_of(event: Envelope[UsageRecorded]) -> Body:
    """What the event says."""
    fact = event.data
    return Body(
        run=fact.run,
        deployment=fact.deployment,
        package=fact.package,
        meter=fact.meter,
        quantity=fact.quantity,
        at=event.time,
        dimensions=fact.dimensions,
    )


def outcomes(
    events: Sequence[Envelope[UsageRecorded]],
    stored_now: Collection[EventKey],
    bodies: Mapping[EventKey, Body],
) -> list[Taken]:
    """What became of each event of a batch, in order.

    Args:
        stored_now: keys of those that the batch has stored; of several with one key, the first is the one stored.
        bodies: what is stored now under each key.
    """
    left = set(stored_now)
    taken: list[Taken] = []
    for event in events:
        key = key_of(event)
        if key in left:
            left.discard(key)
            taken.append(Taken.ACCEPTED)
        else:
            taken.append(Taken.DUPLICATE if bodies[key] == body_of(event) else Taken.COLLISION)
    return taken
