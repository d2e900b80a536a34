"""The conversation that a run belongs to, as its steps see it."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from agora.ports import Message

HISTORY_MESSAGES_MAX = 50
HISTORY_BYTES_MAX = 256 * 1024
"""What a step is given of a conversation at most: the newest messages that fit."""


class Conversation(Protocol):
    """The messages before the one that this run answers, which is in its input."""

    async def messages(self, limit: int = 20) -> list[Message]:
        """The newest `limit` messages, at most 50 and 256 KB, oldest first; none in a run outside a conversation.

        Every attempt at a step sees the same ones. A message that could not be answered has no answer after it.
        """
        ...


class GivenConversation:
    """A conversation whose messages are known: for a run alone, and for one outside a conversation.

    Args:
        messages: those before the run's own, oldest first.
    """

    def __init__(self, messages: Sequence[Message] = ()) -> None:
        self._messages = list(messages)

    async def messages(self, limit: int = 20) -> list[Message]:
        """See `Conversation.messages`."""
        return newest(self._messages, limit)


def newest(messages: Sequence[Message], limit: int) -> list[Message]:
    """The newest messages that fit into what a step is given, oldest first."""
    taken: list[Message] = []
    size = 0
    for message in reversed(messages):
        size += len(msgspec.json.encode(message.content))
        if len(taken) >= min(limit, HISTORY_MESSAGES_MAX) or size > HISTORY_BYTES_MAX:
            break
        taken.append(message)
    return taken[::-1]
