"""Conversations: messages, each answered by a run."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from agora.client.transport import new_key, segment
from agora.client.types import Page, PublicMoney, RunError

if TYPE_CHECKING:
    from agora.client.transport import Transport

WAIT_SECONDS_MAX = 20
"""How long one request waits for a reply; `say` asks again."""


class ConversationState(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. While a run is `running`, no other message is taken."""

    id: str
    package: str
    messages: int
    created_at: datetime
    updated_at: datetime
    title: str = ""
    version: str | None = None
    deployment: str | None = None
    input: dict[str, Any] = {}
    running: str | None = None


class ConversationMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the `user`, or of the `assistant`; `error` says why there is no answer."""

    id: str
    seq: int
    role: str
    content: str
    run: str
    at: datetime
    error: RunError | None = None


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was posted, the run that answers it, and the reply once that has ended."""

    message: ConversationMessage
    run: str
    reply: ConversationMessage | None = None


class Conversations:
    """`client.conversations`."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def start(
        self,
        target: str,
        *,
        title: str = "",
        version: str | None = None,
        input: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> ConversationState:
        """Begin a conversation with a package, or on a rental (`dep_…`). Nothing runs yet.

        Args:
            target: a package's id, or a deployment's.
            title: a title of your own.
            version: the package's version; the newest at each message by default.
            input: what the input of each run holds beside the message.
            idempotency_key: the same key again gives the same conversation.
        """
        body: dict[str, Any] = {"title": title, "input": input or {}}
        if target.startswith("dep_"):
            body["deployment"] = target
        else:
            body |= {"package": target, "version": version}
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        return await self._transport.call(
            ConversationState, "POST", "/conversations", body=body, headers=headers
        )

    async def list(
        self,
        *,
        package: str | None = None,
        deployment: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[ConversationState]:
        """A page of conversations, the one with the newest message first."""
        query = {"package": package, "deployment": deployment, "cursor": cursor, "limit": limit}
        return await self._transport.call(Page[ConversationState], "GET", "/conversations", query=query)

    async def get(self, conversation: str) -> ConversationState:
        """One conversation."""
        return await self._transport.call(ConversationState, "GET", f"/conversations/{segment(conversation)}")

    async def messages(
        self, conversation: str, *, cursor: str | None = None, limit: int = 50
    ) -> Page[ConversationMessage]:
        """A page of a conversation's messages, oldest first."""
        query = {"cursor": cursor, "limit": limit}
        return await self._transport.call(
            Page[ConversationMessage], "GET", f"/conversations/{segment(conversation)}/messages", query=query
        )

    async def post(
        self,
        conversation: str,
        content: str,
        *,
        max_cost: PublicMoney | None = None,
        idempotency_key: str | None = None,
        wait_seconds: int = 0,
    ) -> Posted:
        """Post a message, once per key; with `wait_seconds` (at most 60) wait so long for its reply."""
        body: dict[str, Any] = {"content": content}
        if max_cost is not None:
            body["max_cost"] = max_cost
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        if wait_seconds:
            headers["Prefer"] = f"wait={wait_seconds}"
        return await self._transport.call(
            Posted,
            "POST",
            f"/conversations/{segment(conversation)}/messages",
            body=body,
            headers=headers,
            read_seconds=30.0 + wait_seconds,
        )

    async def say(
        self,
        conversation: str,
        content: str,
        *,
        max_cost: PublicMoney | None = None,
        idempotency_key: str | None = None,
    ) -> ConversationMessage:
        """Post a message and wait for the reply, however long its run takes."""
        key = idempotency_key or new_key()
        while True:
            posted = await self.post(
                conversation, content, max_cost=max_cost, idempotency_key=key, wait_seconds=WAIT_SECONDS_MAX
            )
            if posted.reply is not None:
                return posted.reply

    async def delete(self, conversation: str) -> ConversationState:
        """Delete a conversation with its messages; its runs stay."""
        return await self._transport.call(
            ConversationState, "DELETE", f"/conversations/{segment(conversation)}"
        )
