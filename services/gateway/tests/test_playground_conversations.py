"""The playground with an agent that converses: what is said there is kept, and found again."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from agora_contracts.catalog import ConversationFields, GetPackage, PackageDetail
from agora_contracts.conversations import (
    Conversation,
    ConversationMessage,
    DeleteConversation,
    GetConversation,
    MessagePosted,
    PostMessage,
    StartConversation,
)
from agora_contracts.problems import AgoraError
from agora_contracts.runs import CancelRun, GetRun, ListRunEvents
from agora_gateway.app import Gateway

from .conftest import Customer, Others
from .made_up_run import RUN, accepted, finished, started, until_followed
from .test_playground import Agent, say, until_frame
from .test_sockets import opened, with_key

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class Converser(Agent):
    """Execution and catalog with an agent that converses. Every run has the id `RUN`."""

    def __init__(self, others: Others, tenant: str) -> None:
        super().__init__(others, tenant)
        self.conversations: dict[str, Conversation] = {}
        self.posted: list[PostMessage] = []
        self.ended = False
        self.refuses: AgoraError | None = None

    async def detail(self, query: GetPackage) -> PackageDetail:
        found = await super().detail(query)
        fields = ConversationFields(input="text", output="text")
        return msgspec.structs.replace(
            found, manifest=msgspec.structs.replace(found.manifest, conversation=fields)
        )

    async def begin(self, command: StartConversation) -> Conversation:
        made = Conversation(
            id=command.conversation,
            tenant=command.tenant,
            title="",
            package=command.package or "",
            input=command.input,
            messages=0,
            created_at=AT,
            updated_at=AT,
        )
        return self.conversations.setdefault(made.id, made)

    async def find(self, query: GetConversation) -> Conversation:
        if query.conversation not in self.conversations:
            raise AgoraError("not_found", "no such conversation")
        return self.conversations[query.conversation]

    async def delete(self, command: DeleteConversation) -> Conversation:
        assert command.only_empty
        return self.conversations.pop(command.conversation)

    async def post(self, command: PostMessage) -> MessagePosted:
        if self.refuses is not None:
            raise self.refuses
        if command.message not in {one.message for one in self.posted}:
            await self.journal.write(accepted())
        self.posted.append(command)
        message = ConversationMessage(
            id=command.message,
            conversation=command.conversation,
            seq=1,
            role="user",
            content=command.content,
            run=RUN,
            at=AT,
        )
        reply = msgspec.structs.replace(
            message, id=f"msg_{'9' * 32}", seq=2, role="assistant", content="Hello, Ada"
        )
        return MessagePosted(message=message, run=RUN, reply=reply if self.ended else None)


@pytest.fixture
async def converser(customer: Customer, others: Others) -> Converser:
    """The agent `echo`, which converses."""
    made = Converser(others, customer.id)
    await others.answer(
        (GetPackage, made.detail),
        (StartConversation, made.begin),
        (GetConversation, made.find),
        (DeleteConversation, made.delete),
        (PostMessage, made.post),
        (CancelRun, made.cancel),
        (GetRun, made.get),
        (ListRunEvents, made.journal.read),
    )
    await made.writer.listen()
    return made


async def test_what_is_said_is_posted_and_its_reply_shown(
    customer: Customer, converser: Converser, gateway: Gateway
):
    """
    A message begins a conversation and is posted into it; the assistant's message completes it.
    """
    async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
        await say(socket, type="user_message", content="Hi", message_id="one", input={"steps": 1})
        begun = await until_frame(socket, "message_started")
        await until_followed(gateway)
        converser.ended = True
        await converser.journal.write(started(2))
        await converser.journal.write(finished(3))
        end = (await until_frame(socket, "message_complete"))[-1]

    [conversation] = converser.conversations.values()
    first = converser.posted[0]
    assert {"steps": 1} == conversation.input
    assert (conversation.id, first.message, RUN) == (
        begun[-1]["conversation_id"],
        begun[-1]["message_id"],
        begun[-1]["run_id"],
    )
    assert (f"msg_{'9' * 32}", "Hello, Ada", "succeeded") == (
        end["message_id"],
        end["content"],
        end["status"],
    )
    assert {(customer.key_id, "Hi", first.fingerprint)} == {
        (one.requested_by, one.content, one.fingerprint) for one in converser.posted
    }


async def test_a_message_sent_again_into_its_conversation_is_the_same(
    customer: Customer, converser: Converser, gateway: Gateway
):
    """
    On a new socket a later message that names its conversation, and the first one with the name or without, are known.
    """
    name: dict[str, Any] = {}
    sent: list[tuple[str, dict[str, Any]]] = [("one", {}), ("one", name), ("two", name), ("two", name)]
    for message, fields in sent:
        async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
            await say(socket, type="user_message", content=message, message_id=message, **fields)
            name["conversation_id"] = (await until_frame(socket, "message_started"))[-1]["conversation_id"]

    asked = [(one.conversation, one.message, one.fingerprint) for one in converser.posted]
    assert (asked[0], asked[2]) == (asked[1], asked[3])
    assert 1 == len(converser.conversations)


async def test_a_conversation_goes_on_over_another_socket(
    customer: Customer, converser: Converser, gateway: Gateway
):
    """
    A conversation is found by its id; one that is not there, or is another agent's, and another input are refused.
    """
    async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
        await say(socket, type="user_message", content="Hi", message_id="one")
        known = (await until_frame(socket, "message_started"))[-1]["conversation_id"]
    elsewhere = f"conv_{'e' * 32}"
    converser.conversations[elsewhere] = msgspec.structs.replace(
        converser.conversations[known], id=elsewhere, package="another"
    )
    async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
        codes: list[str] = []
        for fields in (
            {"conversation_id": f"conv_{'0' * 32}"},
            {"conversation_id": elsewhere},
            {"conversation_id": "mine"},
            {"conversation_id": known, "input": {"steps": 2}},
        ):
            more: dict[str, Any] = fields
            await say(socket, type="user_message", content="Hi", **more)
            codes.append((await until_frame(socket, "error"))[-1]["code"])
        await say(socket, type="user_message", content="Hi again", conversation_id=known)
        joined = (await until_frame(socket, "message_started"))[-1]

    assert ["not_found", "not_found", "not_found", "invalid_input"] == codes
    assert known == joined["conversation_id"]
    assert ["Hi", "Hi again"] == [one.content for one in converser.posted]


async def test_a_refused_first_message_leaves_no_conversation(
    customer: Customer, converser: Converser, gateway: Gateway
):
    """
    The next message on the socket begins another one, with another input; where the platform was away it stays.
    """
    async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
        converser.refuses = AgoraError("insufficient_credit", "0.01 USD are needed")
        await say(socket, type="user_message", content="Hi", input={"steps": 1})
        refused = await until_frame(socket, "error")
        left = dict(converser.conversations)
        converser.refuses = AgoraError("unavailable", "billing does not answer")
        await say(socket, type="user_message", content="Hi", input={"steps": 2})
        away = await until_frame(socket, "error")
        converser.refuses = None
        await say(socket, type="user_message", content="Hi", input={"steps": 2})
        taken = await until_frame(socket, "message_started")

    assert ("insufficient_credit", {}) == (refused[-1]["code"], left)
    assert "conversation_started" not in {one["type"] for one in refused}
    assert "conversation_started" in {one["type"] for one in away}
    [conversation] = converser.conversations.values()
    assert ({"steps": 2}, conversation.id) == (conversation.input, taken[-1]["conversation_id"])


async def test_a_message_id_that_was_used_is_told_as_such(
    customer: Customer, converser: Converser, gateway: Gateway
):
    """
    The error names the frame's field, not a header that no frame has.
    """
    converser.refuses = AgoraError(
        "idempotency_conflict", "this Idempotency-Key was used for another message"
    )
    async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
        await say(socket, type="user_message", content="Hi", message_id="one")
        told = (await until_frame(socket, "error"))[-1]

    assert ("idempotency_conflict", True) == (told["code"], "message_id" in told["error"])
