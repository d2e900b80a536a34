"""Following runs: one gapless stream of events, whatever is lost, whoever leaves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
from agora_contracts import execution
from agora_contracts.billing import Quantity
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope
from agora_contracts.execution import (
    ListRunEvents,
    RunEvent,
    RunEventList,
    RunProgress,
)
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import event_subject, live_subject
from agora_gateway.app import Gateway
from agora_gateway.runs.feeds import WAITING_MAX, Feed, LiveEvent

from .conftest import Customer, Others, until

type NewCustomer = Callable[..., Awaitable[Customer]]

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
RUN = f"run_{'a' * 32}"
HALF = Money(amount=500_000)


class Journal:
    """A run's journal at execution's place: what is written is also published, unless it gets lost."""

    def __init__(self, others: Others, tenant: str) -> None:
        self._others = others
        self._tenant = tenant
        self.entries: list[tuple[msgspec.Struct, str]] = []

    async def read(self, query: ListRunEvents) -> RunEventList:
        if query.run != RUN or query.tenant != self._tenant:
            raise AgoraError("not_found", "there is no such run")
        found = [
            RunEvent(seq=seq, type=kind, time=AT, data=msgspec.to_builtins(fact))
            for seq, (fact, kind) in enumerate(self.entries, start=1)
            if seq > query.after
        ]
        complete = bool(self.entries) and self.entries[-1][1] == "run.charged"
        return RunEventList(items=found[: query.limit], complete=complete)

    async def write(self, fact: msgspec.Struct, *, lose: bool = False) -> None:
        spec = EVENTS[type(fact)]
        self.entries.append((fact, spec.path.removeprefix("execution.")))
        if lose:
            return
        envelope = Envelope(
            id=f"evt_{len(self.entries)}",
            source="agora/execution",
            type=spec.type,
            subject=RUN,
            time=AT,
            tenant=self._tenant,
            data=fact,
        )
        await self._others.publish(event_subject(self._tenant, spec.path), envelope)

    async def write_all(self, *, lose: bool = False) -> None:
        for fact in (accepted(), started(2), step(3), finished(4), charged(5)):
            await self.write(fact, lose=lose)


def accepted() -> execution.RunAccepted:
    return execution.RunAccepted(
        run=RUN,
        account="acc_1",
        package="echo",
        version="1.0.0",
        price_version="price_1",
        basis="task",
        hold_epoch=1,
        quoted=HALF,
    )


def started(seq: int) -> execution.RunStarted:
    return execution.RunStarted(run=RUN, seq=seq)


def step(seq: int) -> execution.StepRecorded:
    usage = [Quantity(meter="tasks", quantity=Decimal("1.5"))]
    return execution.StepRecorded(
        run=RUN, step=f"echo:{seq}", seq=seq, node="echo", title="Echo", visit=1, branch="", usage=usage
    )


def finished(seq: int) -> execution.RunFinished:
    return execution.RunFinished(
        run=RUN,
        outcome="succeeded",
        deliverable="full",
        usage_count=1,
        at=AT,
        package="echo",
        version="1.0.0",
        seq=seq,
    )


def charged(seq: int) -> execution.RunCharged:
    return execution.RunCharged(run=RUN, seq=seq, revision=1, amount=HALF, lines=[])


@pytest.fixture
async def journal(customer: Customer, others: Others) -> Journal:
    """The journal of the customer's run, empty."""
    made = Journal(others, customer.id)
    await others.answer((ListRunEvents, made.read))
    return made


async def read_events(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """The events of a stream as they arrive."""
    event: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


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


async def test_a_stream_resumes_where_the_reader_stopped(customer: Customer, journal: Journal):
    """
    Only what comes after the last event that arrived is told again, by the header or by `after`.
    """
    await journal.write_all()

    by_header = await follow(customer, headers={"Last-Event-ID": "3"})
    by_parameter = await follow(customer, params={"after": 3})

    assert ["4", "5"] == [event["id"] for event in by_header] == [event["id"] for event in by_parameter]


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
        await _until_followed(gateway)
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
        await _until_followed(gateway)
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
        await _until_followed(gateway)

    await until(lambda: not gateway.feeds.count)


async def test_streams_end_when_the_gateway_stops(customer: Customer, journal: Journal, gateway: Gateway):
    """
    A gateway that is asked to stop ends its streams, so that readers resume at another replica.
    """
    await journal.write(accepted())
    async with customer.http.stream("GET", f"/runs/{RUN}/events") as response:
        events = read_events(response)
        await anext(events)
        await _until_followed(gateway)
        stopping = asyncio.create_task(gateway.stop())
        async with asyncio.timeout(10):
            rest = [event async for event in events]
        await stopping
    await gateway.start()

    assert [] == rest


async def test_a_slow_reader_costs_no_memory():
    """
    Beyond its bound a feed forgets what waits and says so once; the stream then reads the journal.
    """
    feed = Feed()
    for seq in range(WAITING_MAX + 1):
        feed.put(LiveEvent(type="step.recorded", seq=seq, data={}))

    assert await feed.next(0) is None
    latest = await feed.next(0)
    assert isinstance(latest, LiveEvent)
    assert WAITING_MAX == latest.seq


async def _until_followed(gateway: Gateway) -> None:
    await until(lambda: bool(gateway.feeds.count))
    await gateway.broker.client.flush()
