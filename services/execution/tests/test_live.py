"""What steps tell live: in order, in few messages, kept for who comes later, and never in their way."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from agora import Progress
from agora.context import ToolUse
from agora.live import TextWritten
from agora_contracts.live import (
    TEXT_CHARACTERS_MAX,
    LiveMessage,
    TextDelta,
    TextSnapshot,
    ToolFinished,
    ToolStarted,
    decode_live,
)
from agora_contracts.runs import RunProgress
from agora_contracts.subjects import live_ask_subject, live_subject
from agora_execution.runs.live import KEPT_CHARACTERS_MAX, LiveRuns, LiveStep
from agora_kit.broker import Broker
from nats.aio.msg import Msg

TENANT, RUN, STEP = "ten_1", f"run_{'b' * 32}", "write/1"


class Reader:
    """Hears a run's live messages, and asks for its texts."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._heard: asyncio.Queue[LiveMessage] = asyncio.Queue()

    async def listen(self) -> None:
        """Hear from now on."""
        await self._broker.client.subscribe(live_subject(TENANT, RUN), cb=self._hear)
        await self._broker.round_trip()

    async def _hear(self, message: Msg) -> None:
        self._heard.put_nowait(decode_live(message.data))

    async def next(self) -> Any:
        """The next message; its type is what the test expects."""
        async with asyncio.timeout(10):
            return await self._heard.get()

    async def until_length(self, characters: int) -> list[Any]:
        """Messages of text until so many characters have come."""
        found: list[Any] = []
        while sum(len(one.text) for one in found) < characters:
            found.append(await self.next())
        return found

    async def ask(self, tenant: str = TENANT, run: str = RUN) -> None:
        """Ask for the texts so far."""
        await self._broker.client.publish(live_ask_subject(tenant, run))
        await self._broker.round_trip()

    @property
    def silent(self) -> bool:
        """Whether nothing waits to be read."""
        return self._heard.empty()


@pytest.fixture
async def broker(nats_url: str) -> AsyncIterator[Broker]:
    """The worker's connection."""
    made = Broker(nats_url, "worker")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def reader(nats_url: str) -> AsyncIterator[Reader]:
    """Somebody who listens, on a connection of their own."""
    connection = Broker(nats_url, "gateway")
    await connection.start()
    made = Reader(connection)
    await made.listen()
    yield made
    await connection.stop()


@pytest.fixture
def runs(broker: Broker) -> LiveRuns:
    """What tells."""
    return LiveRuns(broker)


def called(runs: LiveRuns, step: str = STEP) -> LiveStep:
    """A step is called."""
    return runs.step(TENANT, RUN, step, "write")


def write(step: LiveStep, text: str, stream: str = "answer") -> None:
    """The step writes."""
    step.text(TextWritten(text=text, stream=stream))


async def test_what_is_written_at_once_is_sent_together(runs: LiveRuns, reader: Reader):
    """
    Pieces that come faster than they are sent make one delta, in order with what stands between them.
    """
    step = called(runs)
    write(step, "Hel")
    write(step, "lo")
    step.progress(Progress(message="half", fraction=0.5))
    write(step, "!")
    first, between, last = await reader.next(), await reader.next(), await reader.next()

    assert [(0, "Hello"), (5, "!")] == [(first.offset, first.text), (last.offset, last.text)]
    assert isinstance(between, RunProgress)
    assert ("half", 0.5, STEP) == (between.message, between.fraction, between.step)


async def test_a_lone_piece_is_sent_at_once(runs: LiveRuns, reader: Reader):
    """
    Nothing waits for company: each piece that is alone is a message.
    """
    step = called(runs)
    for text in ("one ", "two "):
        write(step, text)
        assert text == (await reader.next()).text


async def test_streams_of_a_step_have_their_own_offsets(runs: LiveRuns, reader: Reader):
    """
    What is thought stands beside the answer.
    """
    step = called(runs)
    write(step, "hm", "thinking")
    write(step, "Yes")
    write(step, ", but", "thinking")
    found = [await reader.next() for _ in range(3)]

    assert [("thinking", 0), ("answer", 0), ("thinking", 2)] == [(one.stream, one.offset) for one in found]


async def test_who_asks_gets_the_text_so_far_in_the_order_of_its_deltas(runs: LiveRuns, reader: Reader):
    """
    A snapshot has everything that was sent before it, and the next delta begins where it ends.
    """
    step = called(runs)
    write(step, "Hello")
    await reader.next()
    await reader.ask()
    snapshot = await reader.next()
    write(step, ", world")
    delta = await reader.next()

    assert (
        TextSnapshot(
            run=RUN, step=STEP, node="write", stream="answer", take=delta.take, offset=0, text="Hello"
        )
        == snapshot
    )
    assert (5, ", world") == (delta.offset, delta.text)


async def test_a_long_text_comes_in_parts(runs: LiveRuns, reader: Reader):
    """
    No message is too large for NATS, neither of a delta nor of a snapshot.
    """
    text = "0123456789" * (TEXT_CHARACTERS_MAX // 4)
    write(called(runs), text)
    deltas = await reader.until_length(len(text))
    await reader.ask()
    parts = await reader.until_length(len(text))

    for found in (deltas, parts):
        assert text == "".join(one.text for one in found)
        assert [index * TEXT_CHARACTERS_MAX for index in range(len(found))] == [one.offset for one in found]
    assert [TextSnapshot, TextDelta] == [type(parts[0]), type(parts[1])]


async def test_of_a_very_long_text_the_end_is_kept(runs: LiveRuns, reader: Reader):
    """
    Memory is bounded: the snapshot begins where the text is still kept.
    """
    step = called(runs)
    for _ in range(2 * KEPT_CHARACTERS_MAX // 1000):
        write(step, "x" * 1000)
        await asyncio.sleep(0)
    await reader.until_length(2 * KEPT_CHARACTERS_MAX // 1000 * 1000)
    await reader.ask()
    snapshot = await reader.next()

    assert isinstance(snapshot, TextSnapshot)
    assert snapshot.offset > 0
    assert runs.characters <= KEPT_CHARACTERS_MAX * 9 // 8


async def test_another_call_of_the_step_begins_anew(runs: LiveRuns, reader: Reader):
    """
    What an attempt wrote that failed is forgotten, and the next one has a higher take.
    """
    write(called(runs), "Hullo")
    failed = await reader.next()
    write(called(runs), "Hello")
    again = await reader.next()
    await reader.ask()
    snapshot = await reader.next()

    assert again.take > failed.take
    assert (0, "Hello", again.take) == (snapshot.offset, snapshot.text, snapshot.take)


async def test_tools_in_use_are_told_to_who_asks(runs: LiveRuns, reader: Reader):
    """
    A tool's start and end carry one call; only what is in use is told again.
    """
    step = called(runs)
    used = ToolUse(call=1, tool="look_up", title="Look up", arguments={"city": "Bern"})
    step.tool(used)
    step.tool(msgspec.structs.replace(used, ended=True, result=["3000"]))
    step.tool(ToolUse(call=2, tool="store", title="Store", arguments={}))
    first, ended, second = await reader.next(), await reader.next(), await reader.next()
    write(step, "x")
    await reader.next()
    await reader.ask()
    again = [await reader.next() for _ in range(2)]

    assert ({"city": "Bern"}, ["3000"]) == (first.arguments, ended.result)
    assert isinstance(ended, ToolFinished)
    assert first.call == ended.call != second.call
    assert [second] == [one for one in again if isinstance(one, ToolStarted)]


async def test_what_is_too_large_to_be_watched_is_left_out(runs: LiveRuns, reader: Reader):
    """
    Neither large arguments nor results that cannot be shown at all get into the way of a step.
    """
    step = called(runs)
    used = ToolUse(call=1, tool="look_up", title="Look up", arguments={"text": "x" * 100_000})
    step.tool(used)
    step.tool(msgspec.structs.replace(used, ended=True, result=object(), error="x" * 10_000))
    begun, ended = await reader.next(), await reader.next()

    assert ({}, True) == (begun.arguments, begun.shortened)
    assert (None, True, 500) == (ended.result, ended.shortened, len(ended.error))


async def test_half_a_character_does_not_stop_a_text(runs: LiveRuns, reader: Reader):
    """
    A lone surrogate, as a cut emoji leaves it, is replaced by a question mark.
    """
    write(called(runs), "a\ud83db")

    assert "a?b" == (await reader.next()).text


async def test_a_step_may_tell_from_another_thread(runs: LiveRuns, reader: Reader):
    """
    Work that an agent does in a thread tells as well, in its order.
    """
    step = called(runs)

    def work() -> None:
        write(step, "one ")
        write(step, "two ")

    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.to_thread(thread.join)
    found = await reader.until_length(8)

    assert "one two " == "".join(one.text for one in found)


async def test_a_run_that_has_ended_keeps_nothing(runs: LiveRuns, reader: Reader):
    """
    What waits is still sent; then nobody answers for it.
    """
    write(called(runs), "Hello")
    runs.ended(RUN)
    last = await reader.next()
    await reader.ask()
    write(called(runs, "other/1"), "x")
    behind = await reader.next()

    assert ("Hello", "x") == (last.text, behind.text)
    assert 1 == runs.characters


async def test_another_tenants_question_is_not_answered(runs: LiveRuns, reader: Reader):
    """
    The run's texts are its tenant's alone.
    """
    step = called(runs)
    write(step, "Hello")
    await reader.next()
    await reader.ask(tenant="ten_2")
    write(step, "!")
    behind = await reader.next()

    assert isinstance(behind, TextDelta)
    assert reader.silent


async def test_a_step_that_writes_without_end_does_not_fill_the_memory(runs: LiveRuns, reader: Reader):
    """
    What cannot be sent in time is left out, the offsets say so, and who asks gets the end of it.
    """
    step = called(runs)
    for _ in range(20):
        write(step, "y" * KEPT_CHARACTERS_MAX)
    write(step, "end")
    kept = runs.characters
    found = await reader.next()
    await reader.ask()
    while not isinstance(found, TextSnapshot):
        found = await reader.next()
    text = found.text
    while not text.endswith("end"):
        text += (await reader.next()).text

    assert kept <= KEPT_CHARACTERS_MAX * 9 // 8 + len("end")
    assert found.offset + len(text) == 20 * KEPT_CHARACTERS_MAX + len("end")
