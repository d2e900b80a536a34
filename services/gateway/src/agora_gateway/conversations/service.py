"""Posting a message and waiting for its reply, over a command that may have to be repeated."""

import time

from agora_contracts.conversations import MessagePosted, PostMessage
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker
from msgspec.structs import replace

_SLICE_SECONDS = 4
"""A wait is asked for in slices, so that one lost to a restart costs seconds and not the whole wait."""


async def post_message(broker: Broker, command: PostMessage, seconds: int) -> MessagePosted:
    """Post a message and wait up to `seconds` for the reply: the same command again waits for the same run.

    A part that does not answer meanwhile is no error here: the run is known, and the caller looks again.
    """
    end = time.monotonic() + seconds
    posted: MessagePosted = await broker.ask(replace(command, wait_seconds=min(seconds, _SLICE_SECONDS)))
    while posted.reply is None and (left := end - time.monotonic()) > 0:
        wait = max(1, min(int(left), _SLICE_SECONDS))
        try:
            posted = await broker.ask(replace(command, wait_seconds=wait))
        except AgoraError as error:
            if error.slug not in ("unavailable", "deadline_exceeded", "overloaded"):
                raise
            return posted
    return posted
