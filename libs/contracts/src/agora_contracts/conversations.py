"""Messages of conversations: a tenant's exchanges with a package or a rental, each message answered by a run."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agora_contracts.money import Money
from agora_contracts.runs import RunError

Role = Literal["user", "assistant"]

CONTENT_CHARACTERS_MAX = 100_000
"""The longest message."""

Title = Annotated[str, Meta(max_length=200)]
Content = Annotated[str, Meta(min_length=1, max_length=CONTENT_CHARACTERS_MAX)]


class StartConversation(msgspec.Struct, frozen=True, kw_only=True):
    """Begin a conversation with a package or a rental, exactly one of which is set. Once per id.

    `input` is what the input of each of its runs holds beside the message's content. `fingerprint` is the hash of
    the request: the same id with another one conflicts.
    """

    conversation: str
    tenant: str
    account: str
    fingerprint: str
    package: str | None = None
    version: str | None = None
    deployment: str | None = None
    title: Title = ""
    input: dict[str, Any] = {}
    requested_by: str = ""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. `running` is the run that works on its newest message; no other is taken until it has ended.

    `messages` counts both sides' messages. `updated_at` is when the newest message was posted.
    """

    id: str
    tenant: str
    title: str
    package: str
    messages: int
    created_at: datetime
    updated_at: datetime
    version: str | None = None
    deployment: str | None = None
    input: dict[str, Any] = {}
    running: str | None = None


class GetConversation(msgspec.Struct, frozen=True, kw_only=True):
    """Read one conversation."""

    conversation: str
    tenant: str


class ListConversations(msgspec.Struct, frozen=True, kw_only=True):
    """List a tenant's conversations, the one with the newest message first."""

    tenant: str
    package: str | None = None
    deployment: str | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class ConversationPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of conversations."""

    items: list[Conversation]
    next_cursor: str | None = None


class DeleteConversation(msgspec.Struct, frozen=True, kw_only=True):
    """Delete a conversation with its messages; refused while a run works on it. The runs stay.

    `only_empty` deletes it only while no message was posted into it.
    """

    conversation: str
    tenant: str
    only_empty: bool = False


class PostMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Add a message of the user to a conversation and start the run that answers it: both, or neither. Once per id.

    `message` is made by whoever asks, from the conversation and the caller's key: the same one with another
    `fingerprint` conflicts. `max_cost` is the run's own hard budget. `wait_seconds` holds the answer back until the
    run has ended and is charged, at most so long.
    """

    conversation: str
    message: str
    tenant: str
    account: str
    content: Content
    fingerprint: str
    requested_by: str = ""
    max_cost: Money | None = None
    wait_seconds: Annotated[int, Meta(ge=0, le=60)] = 0


class ConversationMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a conversation; `seq` counts from 1. `run` answers the user's message, or wrote the assistant's.

    A run that did not succeed leaves a message of the assistant with `error`, which its content says in words.
    """

    id: str
    conversation: str
    seq: int
    role: Role
    content: str
    run: str
    at: datetime
    error: RunError | None = None


class MessagePosted(msgspec.Struct, frozen=True, kw_only=True):
    """The user's message, the id of the run that answers it, and the `reply` if that has come already."""

    message: ConversationMessage
    run: str
    reply: ConversationMessage | None = None


class ListMessages(msgspec.Struct, frozen=True, kw_only=True):
    """List a conversation's messages, oldest first."""

    conversation: str
    tenant: str
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class MessagePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of messages."""

    items: list[ConversationMessage]
    next_cursor: str | None = None
