"""The catalogue of messages as data: who says what, who listens, on which stream.

The AsyncAPI page, the JSON Schemas, NATS permissions and the contract gates are all made from these
tables. A message that is not listed here cannot be sent: the kit's broker and outbox look it up.
"""

from agora_contracts.catalogue.commands import (
    COMMANDS,
    PROCESSES,
    SERVICES,
    SHARED_COMMANDS,
    SHARED_VERBS,
    CommandSpec,
    shared_subject,
)
from agora_contracts.catalogue.events import (
    EVENTS,
    EXTERNAL_CONSUMERS,
    LIVE_MESSAGES,
    EventSpec,
    event_by_type,
)

__all__ = [
    "COMMANDS",
    "EVENTS",
    "EXTERNAL_CONSUMERS",
    "LIVE_MESSAGES",
    "PROCESSES",
    "SERVICES",
    "SHARED_COMMANDS",
    "SHARED_VERBS",
    "CommandSpec",
    "EventSpec",
    "event_by_type",
    "shared_subject",
]
