"""Following runs: one gapless stream of events, whatever is lost, whoever leaves."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from agora_contracts.live import TextDelta
from agora_contracts.runs import RunProgress
from agora_contracts.subjects import live_subject
from agora_gateway.app import Gateway
from agora_gateway.runs.feeds import WAITING_MAX, Feed, Heard, LiveEvent
from agora_gateway.runs.model import Skipped

from .conftest import Customer, Others, until
from .made_up_run import (
    RUN,
    Journal,
    accepted,
    charged,
    finished,
    journal_of,
    read_events,
    started,
    step,
    until_followed,
)

type NewCustomer = Callable[..., Awaitable[Customer]]


@pytest.fixture
async def journal(customer: Customer, others: Others) -> Journal:
    """The journal of the customer's run, empty."""
    return await journal_of(customer, others)


async def follow(customer: Customer, **options: Any) -> list[dict[str, str]]:
    """Read a stream to its end."""
    async with customer.http.stream("GET", f"/runs/{RUN}/events", **options) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return [event async for event in read_events(response)]


ALL = ["run.accepted", "run.started", "step.recorded", "run.finished", "run.charged"]


async def test_a_finished_run_is_told_from_its_beginning(customer: Customer, journal: Journal):
    """
    The stream of a run that is over has every event once, in order, in public form, and ends.
    """
    await journal.write_all()

    events = await follow(customer)

    assert ALL == [event["event"] for event in events]
    assert ["1", "2", "3", "4", "5"] == [event["id"] for event in events]
    last = msgspec.json.decode(events[-1]["data"])
    assert (RUN, {"amount": "0.500000", "currency": "USD"}) == (last["run"], last["amount"])
    assert "1.5" == msgspec.json.decode(events[2]["data"])["usage"][0]["quantity"]


async def test_a_tenant_has_so_many_streams_at_once(
    new_customer: NewCustomer, others: Others, gateway: Gateway
):
    """
    One more is refused with how long to wait, another tenant is not, and a stream that ended leaves its place.
    """
    gateway.feeds.streams.places_max = 2
    customer, other = await new_customer(), await new_customer()
    journal = await journal_of(customer, others)
    await journal.write(accepted())
    path = f"/runs/{RUN}/events"
    async with customer.http.stream("GET", path), customer.http.stream("GET", path):
        await until(lambda: gateway.feeds.streams.count == 2)
        refused = await customer.http.get(path)
        foreign = await other.http.get(path)
    await until(lambda: gateway.feeds.streams.count == 0)
    await journal.write_all()

    assert (429, "5") == (refused.status_code, refused.headers["retry-after"])
    assert "at most 2 streams" in refused.json()["detail"]
    assert 404 == foreign.status_code
    assert 200 == (await customer.http.get(path)).status_code
    assert 0 == gateway.feeds.streams.count


@pytest.mark.parametrize("finished_before", [True, False])
async def test_a_journal_that_comes_in_small_pages_is_told_whole(
    customer: Customer, journal: Journal, gateway: Gateway, finished_before: bool
):
    """
    Large events come a few to a page: the stream reads on until there are no more, whether the run is over or not.
    """
    journal.page_max = 2
    await journal.write_all(lose=True)
    last = journal.entries.pop()
    if finished_before:
        journal.entries.append(last)
    reading = asyncio.create_task(follow(customer))
    if not finished_before:
        await until_followed(gateway)
        await journal.write(last[0])

    assert ALL == [event["event"] for event in await reading]


async def test_a_stream_resumes_where_the_reader_stopped(customer: Customer, journal: Journal):
    """
    Only what comes after the last event that arrived is told again, by the header or by `after`.
    """
    await journal.write_all()

    by_header = await follow(customer, headers={"Last-Event-ID": "3"})
    by_parameter = await follow(customer, params={"after": 3})

    assert ["4", "5"] == [event["id"] for event in by_header] == [event["id"] for event in by_parameter]


@pytest.mark.parametrize(("headers", "params"), [({"Last-Event-ID": "6"}, {}), ({}, {"after": 999})])
async def test_an_id_that_no_event_has_is_refused(
    customer: Customer, journal: Journal, headers: dict[str, str], params: dict[str, int]
):
    """
    Behind it nothing would come, not even the end of the run; behind the last one the stream ends at once.
    """
    await journal.write_all()
    refused = await customer.http.get(f"/runs/{RUN}/events", headers=headers, params=params)
    ended = await follow(customer, headers={"Last-Event-ID": "5"})

    assert (422, "invalid_input") == (refused.status_code, refused.json()["type"].rpartition("/")[2])
    assert "has no event" in refused.json()["detail"]
    assert [] == ended


async def test_events_arrive_as_they_happen(
    customer: Customer, others: Others, journal: Journal, gateway: Gateway
):
    """
    A reader sees each event when it is published, progress in between without an id, until the charge.
    """
    await journal.write(accepted())
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as response:
        events = read_events(response)
        first = await anext(events)
        await until_followed(gateway)
        await journal.write(started(2))
        second = await anext(events)
        progress = RunProgress(run=RUN, step="echo:3", node="echo", message="half\nway", fraction=0.5)
        await others.publish(live_subject(customer.id, RUN), progress)
        third = await anext(events)
        await journal.write(step(3))
        await journal.write(finished(4))
        await journal.write(charged(5))
        rest = [event async for event in events]

    assert ["run.accepted", "run.started", "progress"] == [first["event"], second["event"], third["event"]]
    assert "id" not in third
    assert 0.5 == msgspec.json.decode(third["data"])["fraction"]
    assert ["3", "4", "5"] == [event["id"] for event in rest]


async def test_what_is_lost_on_the_way_comes_from_the_journal(
    customer: Customer, journal: Journal, gateway: Gateway
):
    """
    An event that never arrives is read from the journal as soon as a later one shows the gap; one that
    arrives twice is told once.
    """
    await journal.write(accepted())
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as response:
        events = read_events(response)
        await anext(events)
        await until_followed(gateway)
        await journal.write(started(2), lose=True)
        await journal.write(step(3), lose=True)
        await journal.write(finished(4))
        journal.entries.pop()
        await journal.write(finished(4))
        await journal.write(charged(5))
        rest = [event["id"] async for event in events]

    assert ["2", "3", "4", "5"] == rest


async def test_another_tenants_run_has_no_stream(new_customer: NewCustomer, journal: Journal):
    """
    Following a run of somebody else is answered as if there were none.
    """
    await journal.write_all()
    stranger = await new_customer()

    answer = await stranger.http.get(f"/runs/{RUN}/events")

    assert 404 == answer.status_code


async def test_a_reader_that_leaves_is_forgotten(customer: Customer, journal: Journal, gateway: Gateway):
    """
    When a reader disconnects its feed is closed, so that nothing piles up for it.
    """
    await journal.write(accepted())
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as response:
        await anext(read_events(response))
        await until_followed(gateway)

    await until(lambda: not gateway.feeds.count)


async def test_streams_end_when_the_gateway_stops(customer: Customer, journal: Journal, gateway: Gateway):
    """
    A gateway that is asked to stop ends its streams, so that readers resume at another replica.
    """
    await journal.write(accepted())
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as response:
        events = read_events(response)
        await anext(events)
        await until_followed(gateway)
        stopping = asyncio.create_task(gateway.stop())
        async with asyncio.timeout(60):
            rest = [event async for event in events]
        await stopping
    await gateway.start()

    assert [] == rest


async def test_a_slow_reader_costs_no_memory():
    """
    Beyond its bound a feed forgets what waits and says once how much that was; the stream then reads the journal.
    """
    feed = Feed()
    for seq in range(WAITING_MAX + 1):
        feed.put(LiveEvent(type="step.recorded", seq=seq, data={}))

    assert Skipped(events=WAITING_MAX, messages=0) == await feed.next(0)
    latest = await feed.next(0)
    assert isinstance(latest, LiveEvent)
    assert WAITING_MAX == latest.seq


async def test_a_slow_reader_of_large_messages_costs_no_memory():
    """
    The bound is in bytes as well: what would exceed it makes the feed forget what waits.
    """
    feed = Feed(bytes_max=1000)
    for text in ("one", "two", "three"):
        delta = TextDelta(run=RUN, step="s", node="n", stream="answer", take=1, offset=0, text=text)
        feed.put(Heard(message=delta, size=400))

    assert Skipped(events=0, messages=2) == await feed.next(0)
    latest = await feed.next(0)
    assert isinstance(latest, Heard)
    assert "three" == latest.message.text  # type: ignore[union-attr]
