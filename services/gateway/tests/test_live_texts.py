"""Texts as they are written: seen live, without a gap and without a repetition, however a reader comes and goes."""

from typing import Any

import msgspec
import pytest
from agora_contracts.live import TextDelta, TextSnapshot, ToolFinished, ToolStarted
from agora_contracts.subjects import live_subject
from agora_gateway.app import Gateway
from agora_gateway.runs.model import ASK_SECONDS, PATIENCE_SECONDS, Tracks
from agora_gateway.runs.routes import RESPONSE_BYTES_MAX
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Customer, Others, until
from .made_up_run import (
    RUN,
    Journal,
    Writer,
    accepted,
    charged,
    finished,
    journal_of,
    read_events,
    started,
    until_followed,
)


@pytest.fixture
async def journal(customer: Customer, others: Others) -> Journal:
    """The journal of the customer's run, empty."""
    return await journal_of(customer, others)


@pytest.fixture
async def writer(customer: Customer, journal: Journal, others: Others) -> Writer:
    """A worker that writes and answers."""
    made = Writer(others, customer.id)
    await made.listen()
    return made


def delta(offset: int, text: str, take: int = 1) -> TextDelta:
    return TextDelta(run=RUN, step="s", node="n", stream="answer", take=take, offset=offset, text=text)


def snapshot(text: str, take: int = 1, offset: int = 0) -> TextSnapshot:
    return TextSnapshot(run=RUN, step="s", node="n", stream="answer", take=take, offset=offset, text=text)


# --- what one reader is to get -------------------------------------------------------------------


def test_a_reader_from_the_beginning_gets_each_delta():
    """
    Where nothing is missing, a message is shown as it came.
    """
    tracks = Tracks()
    first, second = delta(0, "Hello"), delta(5, ", world")

    assert [first, second] == [tracks.show_text(first, 0), tracks.show_text(second, 0)]


def test_a_delta_that_comes_twice_is_shown_once():
    """
    What the reader has already is left out, wholly or in part.
    """
    tracks = Tracks()
    tracks.show_text(delta(0, "Hello"), 0)

    assert tracks.show_text(delta(0, "Hello"), 0) is None
    assert delta(5, "!") == tracks.show_text(delta(3, "lo!"), 0)


def test_a_late_reader_waits_for_the_beginning():
    """
    It asks at once; what comes before the snapshot is in the snapshot, and deltas go on behind it.
    """
    tracks = Tracks()
    asked = tracks.asks(0)
    early = tracks.show_text(delta(5, " there"), 0.01)
    whole = tracks.show_text(snapshot("Hello there"), 0.02)
    late = tracks.show_text(delta(11, "!"), 0.03)

    assert (True, None, snapshot("Hello there"), delta(11, "!")) == (asked, early, whole, late)


def test_a_gap_is_asked_for_and_closed():
    """
    After a lost message nothing is shown that would not fit, until a snapshot brings what is missing.
    """
    tracks = Tracks()
    tracks.asks(0)
    tracks.show_text(delta(0, "one "), 1)
    lost = tracks.show_text(delta(8, "three "), 2)

    assert lost is None
    assert tracks.asks(2)
    assert not tracks.asks(2.1)
    assert delta(4, "two three ") == tracks.show_text(snapshot("one two three "), 2.2)


def test_a_question_without_an_answer_is_asked_again_and_given_up():
    """
    Nobody may have the beginning any more: then the text is shown from where it is seen.
    """
    tracks = Tracks()
    tracks.asks(0)
    assert tracks.show_text(delta(10, "tail"), 1) is None
    assert tracks.asks(1)
    assert tracks.show_text(delta(14, " end"), 1 + ASK_SECONDS) is None
    assert tracks.asks(1 + ASK_SECONDS)
    late = delta(18, "!")

    assert late == tracks.show_text(late, 1 + PATIENCE_SECONDS)


def test_a_snapshot_for_somebody_else_shows_only_what_is_new():
    """
    Who has the text up to some place gets what is behind it, as a delta.
    """
    tracks = Tracks()
    tracks.show_text(delta(0, "Hello"), 0)

    assert tracks.show_text(snapshot("Hello"), 0) is None
    assert delta(5, " there") == tracks.show_text(snapshot("Hello there"), 0)


def test_another_take_begins_the_text_anew():
    """
    A step that is called again replaces what it wrote; what comes late of the call before is not shown.
    """
    tracks = Tracks()
    tracks.show_text(delta(0, "Hullo"), 0)
    again = delta(0, "Hello", take=2)

    assert again == tracks.show_text(again, 0)
    assert tracks.show_text(delta(5, " wurld"), 0) is None
    assert tracks.show_text(snapshot("Hullo wurld"), 0) is None


def test_a_tool_that_is_told_again_is_shown_once():
    """
    A snapshot for another reader repeats the tools in use.
    """
    tracks = Tracks()
    begun = ToolStarted(run=RUN, step="s", node="n", call="1", tool="look_up")
    ended = ToolFinished(run=RUN, step="s", node="n", call="1", tool="look_up")

    assert [True, False, True] == [tracks.show_tool(begun), tracks.show_tool(begun), tracks.show_tool(ended)]


@given(
    pieces=st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=30),
    lost=st.sets(st.integers(0, 29)),
    joins=st.integers(0, 29),
    snapshots=st.sets(st.integers(0, 29)),
)
def test_whatever_is_lost_a_reader_has_the_text_in_the_end(
    pieces: list[str], lost: set[int], joins: int, snapshots: set[int]
):
    """
    From any join, with any messages lost and any snapshots for others, what is shown is at every moment the beginning
    of the text, and the last snapshot completes it.
    """
    tracks = Tracks()
    seen, written = "", ""
    for number, piece in enumerate(pieces):
        message = delta(len(written), piece)
        written += piece
        if number < joins:
            continue
        for one in [message] if number not in lost else []:
            seen = _applied(seen, tracks.show_text(one, 0))
        if number in snapshots:
            seen = _applied(seen, tracks.show_text(snapshot(written), 0))
        assert written.startswith(seen)
    seen = _applied(seen, tracks.show_text(snapshot(written), 0))

    assert written == seen


def _applied(seen: str, shown: TextDelta | TextSnapshot | None) -> str:
    if shown is None:
        return seen
    if isinstance(shown, TextSnapshot):
        return shown.text
    assert len(seen) == shown.offset
    return seen + shown.text


# --- over the wire -------------------------------------------------------------------------------


async def test_text_is_seen_while_it_is_written(
    customer: Customer, journal: Journal, writer: Writer, gateway: Gateway
):
    """
    Deltas come live with their offsets and without an id, between the durable events.
    """
    await journal.write(accepted())
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as response:
        events = read_events(response)
        await anext(events)
        await until_followed(gateway)
        await writer.write("Hello")
        await writer.write(", world")
        first, second = await anext(events), await anext(events)
        await journal.write(started(2))
        durable = await anext(events)

    assert [("content_delta", None), ("content_delta", None), ("run.started", "2")] == [
        (one["event"], one.get("id")) for one in (first, second, durable)
    ]
    assert [(0, "Hello"), (5, ", world")] == [_delta_of(first), _delta_of(second)]


async def test_who_comes_in_the_middle_gets_the_text_so_far(
    customer: Customer, journal: Journal, writer: Writer, gateway: Gateway
):
    """
    A reader that connects, or comes back, has a snapshot first; readers that are there already see nothing twice; and
    all of them share one subscription.
    """
    await journal.write(accepted())
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as one:
        early = read_events(one)
        await anext(early)
        await until_followed(gateway)
        await writer.write("Hello")
        assert (0, "Hello") == _delta_of(await anext(early))
        async with customer.http.stream("GET", f"/runs/{RUN}/events", headers={"Last-Event-ID": "1"}) as two:
            late = read_events(two)
            whole = await anext(late)
            subscriptions = gateway.feeds.runs
            await writer.write(", world")
            behind, live = await anext(late), await anext(early)

    assert ("content_snapshot", "Hello") == (whole["event"], msgspec.json.decode(whole["data"])["content"])
    assert (5, ", world") == _delta_of(behind) == _delta_of(live)
    assert 1 == subscriptions


async def test_a_lost_delta_is_made_good_by_a_snapshot(
    customer: Customer, journal: Journal, writer: Writer, gateway: Gateway
):
    """
    A gap is never shown: the stream asks, and goes on with what is missing.
    """
    await journal.write(accepted())
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as response:
        events = read_events(response)
        await anext(events)
        await until_followed(gateway)
        await until(lambda: writer.asked > 0)
        await writer.write("one ")
        await anext(events)
        await writer.write("two ", lose=True)
        await writer.write("three ")
        await writer.write("four ")
        seen = "one "
        while len(seen) < len("one two three four "):
            offset, text = _delta_of(await anext(events))
            assert len(seen) == offset
            seen += text

    assert "one two three four " == seen


async def test_a_restarted_gateway_goes_on_with_the_text(
    customer: Customer, journal: Journal, writer: Writer, gateway: Gateway
):
    """
    After a restart a reader comes back with the last id, and finds the text so far and then the rest.
    """
    await journal.write(accepted())
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as response:
        events = read_events(response)
        await anext(events)
        await until_followed(gateway)
        await writer.write("Hello")
        await anext(events)
        await gateway.stop()
        assert [] == [event async for event in events]
    await gateway.start()
    await writer.write(", there")
    async with customer.http.stream("GET", f"/runs/{RUN}/events", headers={"Last-Event-ID": "1"}) as response:
        events = read_events(response)
        whole = await anext(events)
        await journal.write(started(2))
        await journal.write(finished(3))
        await journal.write(charged(4))
        rest = [event["event"] async for event in events]

    assert "Hello, there" == msgspec.json.decode(whole["data"])["content"]
    assert ["run.started", "run.finished", "run.charged"] == rest


async def test_a_stream_ends_after_so_many_bytes_whether_they_are_read_or_not(
    customer: Customer, journal: Journal, writer: Writer, gateway: Gateway, others: Others
):
    """
    What waits for a reader who takes nothing is bounded: the stream ends, and the reader comes back to go on.
    """
    await journal.write(accepted())
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as response:
        await until_followed(gateway)
        while gateway.feeds.count:
            await writer.write("x" * 20_000)
            await others.flush()
        told = b"".join([part async for part in response.aiter_raw()])
    writer.again()
    await writer.write("the rest")
    async with customer.http.stream("GET", f"/runs/{RUN}/events", headers={"Last-Event-ID": "1"}) as response:
        again = await anext(read_events(response))

    assert RESPONSE_BYTES_MAX <= len(told) < RESPONSE_BYTES_MAX + 100_000
    assert "the rest" == msgspec.json.decode(again["data"])["content"]


async def test_tools_are_seen_as_they_are_used(
    customer: Customer, journal: Journal, others: Others, gateway: Gateway
):
    """
    A tool's start tells its arguments, its end the result, both under the same call.
    """
    await journal.write(accepted())
    subject = live_subject(customer.id, RUN)
    call: dict[str, Any] = {"run": RUN, "step": "s", "node": "n", "call": "s#1.1", "tool": "look_up"}
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as response:
        events = read_events(response)
        await anext(events)
        await until_followed(gateway)
        await others.publish(subject, ToolStarted(**call, title="Look up", arguments={"city": "Bern"}))
        await others.publish(subject, ToolFinished(**call, result=["3000"]))
        begun, ended = await anext(events), await anext(events)

    assert ["tool_use_start", "tool_use_complete"] == [begun["event"], ended["event"]]
    shown = msgspec.json.decode(begun["data"])
    assert ("look_up", {"city": "Bern"}, "s#1.1") == (
        shown["tool_name"], shown["arguments"], shown["call"],
    )  # fmt: skip
    assert ["3000"] == msgspec.json.decode(ended["data"])["result"]


async def test_a_revoked_key_ends_the_stream(
    customer: Customer, journal: Journal, writer: Writer, gateway: Gateway
):
    """
    A stream that was opened with a key ends soon after the key is revoked, and says why.
    """
    await journal.write(accepted())
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as response:
        events = read_events(response)
        await anext(events)
        await until_followed(gateway)
        (await customer.http.delete(f"/api-keys/{customer.key_id}")).raise_for_status()
        last: dict[str, str] = {}
        while last.get("event") != "problem":
            await writer.write("still there? ")
            last = await anext(events)
        rest = [event async for event in events]

    assert msgspec.json.decode(last["data"])["type"].endswith("/key_revoked")
    assert [] == rest


def _delta_of(event: dict[str, str]) -> tuple[int, str]:
    data = msgspec.json.decode(event["data"])
    return data["offset"], data["delta"]
