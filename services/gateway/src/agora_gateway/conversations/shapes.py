"""Conversations as the public API shows them."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from agora_contracts.conversations import (
    Content,
    Conversation,
    ConversationMessage,
    MessagePosted,
    Role,
    Title,
)
from agora_contracts.runs import RunError

from agora_gateway.edge.shapes import MoneyBody


class ConversationBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With whom to converse: exactly one of `package` and `deployment`.

    `version` is a package's; the newest at each message without it. `input` is what the input of each run holds
    beside the message.
    """

    package: str | None = None
    version: str | None = None
    deployment: str | None = None
    title: Title = ""
    input: dict[str, Any] = {}


class MessageBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message of the user. `max_cost` is the hard budget of the run that answers it."""

    content: Content
    max_cost: MoneyBody | None = None


class ConversationShape(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. While a run is `running` no other message is taken; `messages` counts both sides'."""

    id: str
    title: str
    package: str
    version: str | None
    deployment: str | None
    input: dict[str, Any]
    messages: int
    running: str | None
    created_at: datetime
    updated_at: datetime


class ConversationPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of conversations, the one with the newest message first."""

    items: list[ConversationShape]
    next_cursor: str | None = None


class MessageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A message. `run` answers the user's message, or wrote the assistant's; `error` says why there is no answer."""

    id: str
    seq: int
    role: Role
    content: str
    run: str
    at: datetime
    error: RunError | None


class MessagePageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of messages, oldest first."""

    items: list[MessageShape]
    next_cursor: str | None = None


class PostedShape(msgspec.Struct, frozen=True, kw_only=True):
    """The message, the run that answers it, and the `reply` once that run has ended."""

    message: MessageShape
    run: str
    reply: MessageShape | None


def conversation_shape(found: Conversation) -> ConversationShape:
    """A conversation for its tenant."""
    return ConversationShape(
        id=found.id,
        title=found.title,
        package=found.package,
        version=found.version,
        deployment=found.deployment,
        input=found.input,
        messages=found.messages,
        running=found.running,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def message_shape(message: ConversationMessage) -> MessageShape:
    """A message for its tenant."""
    return MessageShape(
        id=message.id,
        seq=message.seq,
        role=message.role,
        content=message.content,
        run=message.run,
        at=message.at,
        error=message.error,
    )


def posted_shape(posted: MessagePosted) -> PostedShape:
    """A posted message for its tenant."""
    return PostedShape(
        message=message_shape(posted.message),
        run=posted.run,
        reply=None if posted.reply is None else message_shape(posted.reply),
    )


# --- examples of the documentation ---------------------------------------------------------------

_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_LATER = datetime(2026, 1, 5, 9, 0, 1, tzinfo=UTC)
_RUN = "run_0190a5b07c3a7d4e8f00112233445566"
A_BODY = ConversationBody(package="echo", title="A first try")
A_MESSAGE_BODY = MessageBody(content="Hello, who is there?")
A_CONVERSATION = ConversationShape(
    id="conv_0190a5b07c3a7d4e8f00112233445566",
    title="A first try",
    package="echo",
    version=None,
    deployment=None,
    input={},
    messages=2,
    running=None,
    created_at=_AT,
    updated_at=_AT,
)
A_PAGE = ConversationPageShape(items=[A_CONVERSATION])
A_MESSAGE = MessageShape(
    id="msg_0190a5b07c3a7d4e8f00112233445566",
    seq=1,
    role="user",
    content="Hello, who is there?",
    run=_RUN,
    at=_AT,
    error=None,
)
A_REPLY = MessageShape(
    id="msg_0190a5b07c3a7d4e8f00112233445577",
    seq=2,
    role="assistant",
    content="Hello, who is there?",
    run=_RUN,
    at=_LATER,
    error=None,
)
A_MESSAGE_PAGE = MessagePageShape(items=[A_MESSAGE, A_REPLY])
A_POSTED = PostedShape(message=A_MESSAGE, run=_RUN, reply=A_REPLY)
