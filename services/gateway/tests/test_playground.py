"""The playground: a conversation over one socket, each message answered by a run."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from agora_contracts.catalog import GetPackage, PackageDetail
from agora_contracts.examples import EXAMPLES
from agora_contracts.live import ToolFinished, ToolStarted
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import CancelRun, GetRun, ListRunEvents, Run, RunError, StartRun
from agora_contracts.subjects import live_subject
from agora_gateway.app import Gateway
from agora_gateway.playground import service as playground
from agora_gateway.playground.model import answer_text, message_field
from websockets.asyncio.client import ClientConnection

from .conftest import Customer, Others
from .made_up_run import RUN, Journal, Writer, accepted, finished, started, until_followed
from .test_sockets import closed_with, frame, opened, with_key

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
TALKER = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "steps": {"type": "integer"}},
    "required": ["text"],
}


class Agent:
    """Execution and catalog, as far as a playground needs them. Every run has the id `RUN`."""

    def __init__(self, others: Others, tenant: str) -> None:
        self.journal = Journal(others, tenant)
        self.writer = Writer(others, tenant)
        self.started: list[StartRun] = []
        self.cancelled: list[CancelRun] = []
        self.schema: dict[str, Any] = TALKER
        self.executable = True
        self.end: dict[str, Any] = {"status": "succeeded", "output": {"text": "Hello, Ada"}}

    async def detail(self, query: GetPackage) -> PackageDetail:
        if query.package != "echo":
            raise AgoraError("not_found", f"there is no package {query.package}")
        (example, *_) = EXAMPLES[PackageDetail]
        assert isinstance(example, PackageDetail)
        replace = msgspec.structs.replace
        return replace(
            example,
            summary=replace(example.summary, id="echo", title="Echo", executable=self.executable),
            schemas=replace(example.schemas, input=self.schema),
        )

    async def start(self, command: StartRun) -> Run:
        self.started.append(command)
        await self.journal.write(accepted())
        return self._run(status="accepted")

    async def cancel(self, command: CancelRun) -> Run:
        self.cancelled.append(command)
        return self._run(status="running")

    async def get(self, query: GetRun) -> Run:
        return self._run(**self.end)

    def _run(self, **fields: Any) -> Run:
        return Run(
            id=RUN,
            tenant="ten",
            package="echo",
            version="1.0.0",
            basis="task",
            accepted_at=AT,
            quoted=Money(amount=1),
            **fields,
        )


@pytest.fixture
async def agent(customer: Customer, others: Others) -> Agent:
    """The agent `echo`, ready to be talked to."""
    made = Agent(others, customer.id)
    await others.answer(
        (GetPackage, made.detail),
        (StartRun, made.start),
        (CancelRun, made.cancel),
        (GetRun, made.get),
        (ListRunEvents, made.journal.read),
    )
    await made.writer.listen()
    return made


@pytest.fixture
async def talk(customer: Customer, agent: Agent, gateway: Gateway) -> AsyncIterator[ClientConnection]:
    """A socket to the agent, just opened."""
    async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
        yield socket


async def say(socket: ClientConnection, **fields: Any) -> None:
    """Send a frame."""
    await socket.send(msgspec.json.encode(fields).decode())


async def until_frame(socket: ClientConnection, kind: str) -> list[dict[str, Any]]:
    """Frames up to the first of a type, that one included."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["type"] != kind:
        found.append(await frame(socket))
    return found


async def test_a_message_is_answered_while_the_answer_is_written(
    talk: ClientConnection, agent: Agent, customer: Customer, others: Others, gateway: Gateway
):
    """
    The protocol from the agent's loading to the whole answer, text and tools in the order in which they come.
    """
    loaded = await frame(talk)
    await say(talk, type="user_message", content="Hi, I am Ada")
    begun = await until_frame(talk, "message_started")
    await until_followed(gateway)
    await agent.writer.write("Hello, ")
    call: dict[str, Any] = {"run": RUN, "step": "s", "node": "n", "call": "s#1.1", "tool": "look_up"}
    await others.publish(live_subject(customer.id, RUN), ToolStarted(**call))
    await others.publish(live_subject(customer.id, RUN), ToolFinished(**call, result=7))
    await agent.writer.write("Ada")
    await others.flush()
    shown = [*await until_frame(talk, "content_delta"), *await until_frame(talk, "content_delta")]
    await agent.journal.write(started(2))
    await agent.journal.write(finished(3))
    end = await until_frame(talk, "message_complete")

    assert ("agent_loaded", "echo", "Echo") == (loaded["type"], loaded["agent_id"], loaded["title"])
    conversation = next(one for one in begun if one["type"] == "conversation_started")["conversation_id"]
    assert conversation.startswith("conv_")
    live = [one for one in shown if one["type"] != "run_event"]
    assert ["content_delta", "tool_use_start", "tool_use_complete", "content_delta"] == [
        one["type"] for one in live
    ]
    assert ["Hello, ", "Ada"] == [one["delta"] for one in live if one["type"] == "content_delta"]
    assert ("look_up", 7) == (live[1]["tool_name"], live[2]["result"])
    complete = end[-1]
    assert ("succeeded", "Hello, Ada", conversation, RUN) == (
        complete["status"], complete["content"], complete["conversation_id"], complete["run_id"],
    )  # fmt: skip
    (command,) = agent.started
    assert ({"text": "Hi, I am Ada"}, "echo", customer.account) == (
        command.input, command.package, command.account,
    )  # fmt: skip


async def test_an_agent_that_writes_nothing_has_its_answer_shown(
    talk: ClientConnection, agent: Agent, gateway: Gateway
):
    """
    The answer comes in one piece before the message is complete.
    """
    await say(talk, type="user_message", content="Hi")
    await until_frame(talk, "message_started")
    await until_followed(gateway)
    await agent.journal.write(started(2))
    await agent.journal.write(finished(3))
    frames = await until_frame(talk, "message_complete")

    assert ["Hello, Ada"] == [one["delta"] for one in frames if one["type"] == "content_delta"]


async def test_a_run_that_fails_is_told(talk: ClientConnection, agent: Agent, gateway: Gateway):
    """
    Its reason comes as an error; the message is complete without content, and the socket goes on.
    """
    agent.end = {"status": "failed", "error": RunError(code="step_failed", detail="the step failed")}
    await say(talk, type="user_message", content="Hi")
    await until_frame(talk, "message_started")
    await until_followed(gateway)
    await agent.journal.write(finished(2))
    frames = await until_frame(talk, "message_complete")
    await say(talk, type="cancel")
    answer = await frame(talk)

    (error,) = [one for one in frames if one["type"] == "error"]
    assert ("the step failed", "step_failed", "failed") == (
        error["error"], error["code"], frames[-1]["status"],
    )  # fmt: skip
    assert "conflict" == answer["code"]


async def test_one_message_is_answered_at_a_time(talk: ClientConnection, agent: Agent):
    """
    Another one meanwhile is refused; the run can be cancelled.
    """
    await say(talk, type="user_message", content="Hi")
    await until_frame(talk, "message_started")
    await say(talk, type="user_message", content="And?")
    refused = await until_frame(talk, "error")
    await say(talk, type="cancel")
    async with asyncio.timeout(60):
        while not agent.cancelled:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert "conflict" == refused[-1]["code"]
    assert 1 == len(agent.started)


async def test_a_message_sent_again_is_the_same_message(customer: Customer, agent: Agent, gateway: Gateway):
    """
    A client that lost its connection sends its message under the same id, and the same run answers.
    """
    conversations = []
    for _ in range(2):
        async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
            await say(socket, type="user_message", content="Hi", message_id="one")
            frames = await until_frame(socket, "message_started")
            conversations.append(frames[-1]["conversation_id"])

    first, second = agent.started
    assert (first.run_id, first.fingerprint) == (second.run_id, second.fingerprint)
    assert conversations[0] == conversations[1]


async def test_an_idle_socket_closes_when_its_key_is_revoked(
    customer: Customer, agent: Agent, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
):
    """
    Nothing has to be said for that: the socket tells why, and closes.
    """
    monkeypatch.setattr(playground, "LOOK_SECONDS", 0.05)
    async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
        await until_frame(socket, "agent_loaded")
        (await customer.http.delete(f"/api-keys/{customer.key_id}")).raise_for_status()
        told = (await until_frame(socket, "error"))[-1]
        closed = await closed_with(socket)

    assert ("key_revoked", 4401) == (told["code"], closed)


async def test_a_socket_on_which_nothing_is_said_for_long_closes(
    customer: Customer, agent: Agent, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
):
    """
    An answer under way keeps it open, however long it takes; after it the time begins anew.
    """
    monkeypatch.setattr(playground, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(playground, "IDLE_SECONDS", 0.3)
    async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
        await say(socket, type="user_message", content="Hi")
        await until_frame(socket, "message_started")
        await until_followed(gateway)
        await asyncio.sleep(0.6)
        await agent.journal.write(started(2))
        await agent.journal.write(finished(3))
        await until_frame(socket, "message_complete")
        closed = await closed_with(socket)

    assert 1000 == closed


@pytest.mark.parametrize("named", [True, False])
async def test_a_later_message_sent_again_on_another_socket_is_the_same_run(
    customer: Customer, agent: Agent, gateway: Gateway, named: bool
):
    """
    The second message of a socket that broke is the same run on the next one, with its conversation named or without;
    so is the first one with the name that it was told. Other content under the same id is another request.
    """
    async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
        await say(socket, type="user_message", content="Hi", message_id="one")
        known = (await until_frame(socket, "message_started"))[-1]["conversation_id"]
        await until_followed(gateway)
        await agent.journal.write(started(2))
        await agent.journal.write(finished(3))
        await until_frame(socket, "message_complete")
        await say(socket, type="user_message", content="Again", message_id="two")
        await until_frame(socket, "message_started")
    name = {"conversation_id": known} if named else {}
    for content, message in (("Hi", "one"), ("Again", "two"), ("Otherwise", "two")):
        async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
            await say(socket, type="user_message", content=content, message_id=message, **name)
            await until_frame(socket, "message_started")

    asked = [(one.run_id, one.fingerprint) for one in agent.started]
    first, second, first_again, second_again, other = asked
    assert (first, second) == (first_again, second_again)
    assert (second[0], False) == (other[0], second[1] == other[1])
    assert first[0] != second[0]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{", "malformed_request"),
        ("[]", "invalid_input"),
        ('{"type": "shout", "content": "Hi"}', "invalid_input"),
        ('{"type": "user_message"}', "invalid_input"),
        ('{"type": "user_message", "content": ""}', "invalid_input"),
        ('{"type": "user_message", "content": "Hi", "loud": true}', "invalid_input"),
        ('{"type": "user_message", "content": "Hi", "conversation_id": "mine"}', "not_found"),
        ('{"type": "user_message", "content": "Hi", "message_id": "a b"}', "invalid_input"),
        (
            '{"type": "user_message", "content": "Hi", "max_cost": {"amount": "x", "currency": "USD"}}',
            "invalid_input",
        ),
    ],
)
async def test_a_malformed_frame_is_refused_and_nothing_starts(
    talk: ClientConnection, agent: Agent, sent: str, code: str
):
    """
    The error says what is wrong; the socket stays open and takes the next message.
    """
    await frame(talk)
    await talk.send(sent)
    refused = await until_frame(talk, "error")
    await say(talk, type="user_message", content="Hi")
    await until_frame(talk, "message_started")

    assert code == refused[-1]["code"]
    assert 1 == len(agent.started)


async def test_an_agent_that_is_not_there_cannot_be_talked_to(
    customer: Customer, agent: Agent, gateway: Gateway
):
    """
    The socket says so and closes.
    """
    async with opened(gateway, "/playground/nobody", **with_key(customer)) as socket:
        told = await frame(socket)
        closed = await closed_with(socket)

    assert ("not_found", 4404) == (told["code"], closed)


async def test_an_agent_that_takes_more_than_a_message_is_started_otherwise(
    customer: Customer, agent: Agent, gateway: Gateway
):
    """
    Where no one field takes the message, the error names the route that starts the package.
    """
    agent.schema = {"type": "object", "properties": {"rows": {"type": "array"}}, "required": ["rows"]}
    async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
        told = await frame(socket)
        closed = await closed_with(socket)

    assert ("not_executable", 4409) == (told["code"], closed)
    assert "/packages/echo/execute" in told["error"]


async def test_an_agent_that_cannot_be_executed_cannot_be_talked_to(
    customer: Customer, agent: Agent, gateway: Gateway
):
    """
    Of a package that is only announced the socket says that, and not how it could be started.
    """
    agent.executable = False
    async with opened(gateway, "/playground/echo", **with_key(customer)) as socket:
        told = await frame(socket)
        closed = await closed_with(socket)

    assert ("not_executable", 4409) == (told["code"], closed)
    assert ("cannot be executed" in told["error"], "POST" in told["error"]) == (True, False)


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        (TALKER, "text"),
        ({"$ref": "#/$defs/Input", "$defs": {"Input": TALKER}}, "text"),
        ({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["b"]}, "b"),
        ({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}, None),
        (
            {"properties": {"mode": {"type": "string", "enum": ["x"]}, "question": {"type": "string"}}},
            "question",
        ),
        ({"properties": {"file": {"type": "string", "format": "agora-file"}}}, None),
        ({}, None),
    ],
)
def test_the_field_that_takes_the_message(schema: dict[str, Any], field: str | None):
    """
    The only required text, else the only text; neither choices nor files are texts.
    """
    assert field == message_field(schema)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (None, ""),
        ({"deliverable": "full", "text": "Hi"}, "Hi"),
        ({"answer": "42", "reason": "because"}, "42"),
        ({"deliverable": "full", "note": "Hi"}, "Hi"),
        ({"count": 3}, '{\n  "count": 3\n}'),
    ],
)
def test_what_of_an_output_is_the_answer(output: dict[str, Any] | None, text: str):
    """
    A field that is called so, else the only text, else everything.
    """
    assert text == answer_text(output)
