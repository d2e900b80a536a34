"""Usage events as they come over NATS."""

from collections.abc import Sequence

import msgspec
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import event_subject
from agora_contracts.usage import UsageRecorded
from agora_kit import dead_letters
from agora_kit.dead_letters import Refused
from agora_kit.service import Service
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.settings import MeteringSettings
from agora_metering.usage import service as use_cases
from agora_metering.usage.model import Taken

_PURPOSE = "usage"
_encoder = msgspec.json.Encoder(decimal_format="string")


def register(service: Service, settings: MeteringSettings) -> None:
    """Take usage in, in batches, two of them at a time."""
    # No inbox: the primary key of usage_events deduplicates, by tenant, source and id.
    service.broker.consume(
        _PURPOSE,
        [UsageRecorded],
        take_in_usage,
        inbox=False,
        batch_max=settings.usage_batch_max,
        batches_at_once=2,
    )


async def take_in_usage(connection: AsyncConnection, events: Sequence[Envelope[UsageRecorded]]) -> None:
    """Count each event once. One whose id is another event's becomes a dead letter, without its neighbours.

    Raises:
        AgoraError: `run_ended`; `conflict` for a colliding event that comes alone.
    """
    taken = await use_cases.take_in(connection, events)
    collided = [event for event, what in zip(events, taken, strict=True) if what is Taken.COLLISION]
    if collided and len(events) == 1:
        raise AgoraError("conflict", _collision(collided[0]))
    await dead_letters.bury(connection, [_refusal(event) for event in collided])


def _collision(event: Envelope[UsageRecorded]) -> str:
    return f"id_collision: {event.source} has recorded another event under the id {event.id}; the first one stands"


def _refusal(event: Envelope[UsageRecorded]) -> Refused:
    return Refused(
        consumer=f"metering-{_PURPOSE}",
        subject=event_subject(event.tenant, EVENTS[UsageRecorded].path),
        message_id=f"{event.source}:{event.id}",
        tenant=event.tenant,
        reason=_collision(event),
        payload=_encoder.encode(event),
    )
