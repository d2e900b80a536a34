"""Batch consumers: everything is applied once, and what cannot be applied harms nothing beside it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import nats
import pytest
from agora_contracts.billing import ChargeSettled
from agora_contracts.catalog import ListingStateChanged, PriceVersionPublished
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope
from agora_contracts.metering import UsageIncomplete
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import METERING_STREAM, event_subject
from agora_kit import durable
from agora_kit.consumer import EventConsumer, Handler
from agora_kit.database import Database
from agora_kit.outbox import Event, encode
from nats.aio.client import Client
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

type Until = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

NAME = "billing-alarms"
STORE = text("INSERT INTO notes (tenant_id, id, body) VALUES (:tenant, :id, :body)")


@pytest.fixture(autouse=True)
def quick_redelivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed back comes again at once."""
    monkeypatch.setattr(durable, "_NAK_SECONDS", (0.01,))


class Notes:
    """A handler that writes a note per event, and fails where a test tells it to.

    A note's id is the event's: applying an event twice would fail on the primary key.
    """

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.tries: dict[str, int] = {}
        self.committed: list[list[str]] = []
        self.fail: Callable[[Envelope[Any]], Exception | None] = lambda envelope: None

    async def apply(self, connection: AsyncConnection, envelopes: Sequence[Envelope[Any]]) -> Any:
        """Write the notes; the callback notes which batch was committed."""
        self.batches.append(len(envelopes))
        for envelope in envelopes:
            self.tries[envelope.id] = self.tries.get(envelope.id, 0) + 1
        for envelope in envelopes:
            body = msgspec.json.encode(envelope.data).decode()
            await connection.execute(STORE, {"tenant": envelope.tenant, "id": envelope.id, "body": body})
            if (error := self.fail(envelope)) is not None:
                raise error
        return lambda: self.committed.append([envelope.id for envelope in envelopes])


@pytest.fixture
def notes() -> Notes:
    """A fresh handler."""
    return Notes()


def an_alarm(name: str, *, run: str = "run_1", tenant: str = "ten_1") -> Event:
    """An alarm whose event id is `name`."""
    data = UsageIncomplete(run=run, expected=1, counted=0, missing=[])
    return Event(tenant=tenant, entity=run, data=data, id=name)


async def publish(client: Client, *events: Event) -> None:
    """Publish events as the relay does, but for the deduplication by message id."""
    for event in events:
        _, subject, payload = encode(event)
        await client.jetstream().publish(subject, payload)


@asynccontextmanager
async def consuming(
    client: Client,
    database: Database,
    handler: Notes | Handler,
    *events: type[msgspec.Struct],
    **options: Any,
) -> AsyncIterator[EventConsumer]:
    """A consumer that runs; of alarms unless other events are named."""
    apply = handler.apply if isinstance(handler, Notes) else handler
    consumer = EventConsumer(NAME, events or (UsageIncomplete,), apply, **options)
    task = asyncio.create_task(consumer.run(client, database))
    try:
        yield consumer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def noted(database: Database) -> list[str]:
    """The ids of all notes, in order."""
    async with database.system() as connection:
        return list((await connection.execute(text("SELECT id FROM notes ORDER BY id"))).scalars())


async def buried(database: Database) -> list[tuple[str, str]]:
    """Consumer and reason of all dead letters."""
    async with database.system() as connection:
        rows = await connection.execute(text("SELECT consumer, reason FROM dead_letters ORDER BY id"))
        return [(row.consumer, row.reason) for row in rows]


async def settled(client: Client, stream: str = METERING_STREAM.name) -> bool:
    """Whether every message was delivered and acknowledged."""
    return await durable.is_caught_up(client, stream, NAME)


async def test_a_backlog_is_applied_in_batches(
    client: Client, database: Database, notes: Notes, until: Until
):
    """
    What piled up is applied whole, many events to a transaction.
    """
    names = [f"e{number:03}" for number in range(200)]
    await publish(client, *(an_alarm(name) for name in names))

    async with consuming(client, database, notes, batch_max=100):
        await until(lambda: settled(client))

    assert names == await noted(database)
    assert 200 == sum(notes.batches)
    assert 100 >= max(notes.batches)
    assert 20 > len(notes.batches)


async def test_an_event_that_comes_twice_is_applied_once(
    client: Client, database: Database, notes: Notes, until: Until
):
    """
    The same event in one batch, in a later batch, or after the durable was lost changes nothing.
    """
    await publish(client, an_alarm("a"), an_alarm("a"), an_alarm("b"))
    async with consuming(client, database, notes):
        await until(lambda: settled(client))
        await publish(client, an_alarm("a"))
        await until(lambda: settled(client))
    await client.jetstream().delete_consumer(METERING_STREAM.name, NAME)

    async with consuming(client, database, notes):
        await until(lambda: settled(client))

    assert ["a", "b"] == await noted(database)
    assert {"a": 1, "b": 1} == notes.tries
    assert [] == await buried(database)


async def test_two_replicas_share_the_work(client: Client, database: Database, until: Until):
    """
    Two processes on one durable apply every event once between them.
    """
    names = [f"e{number:03}" for number in range(60)]
    one, other = Notes(), Notes()

    async with (
        consuming(client, database, one, batch_max=5),
        consuming(client, database, other, batch_max=5),
    ):
        await publish(client, *(an_alarm(name) for name in names))
        await until(lambda: settled(client))

    assert names == await noted(database)
    assert [] == await buried(database)


async def test_an_event_that_is_refused_becomes_a_dead_letter(
    client: Client, database: Database, notes: Notes, until: Until
):
    """
    What the handler will never accept is kept with its reason; its neighbours of the batch are applied.
    """
    refusal = AgoraError("not_found", "no run run_1 here\0")
    notes.fail = lambda envelope: refusal if envelope.id == "bad" else None
    await publish(client, an_alarm("a"), an_alarm("bad"), an_alarm("c"))

    async with consuming(client, database, notes):
        await until(lambda: settled(client))

    assert ["a", "c"] == await noted(database)
    assert [(NAME, "no run run_1 here\\0")] == await buried(database)
    assert ["a", "c"] == sorted(name for batch in notes.committed for name in batch)


async def test_what_cannot_be_decoded_becomes_a_dead_letter(
    client: Client, database: Database, notes: Notes, until: Until
):
    """
    Bytes that are not the contract's are kept with the place of the fault; their neighbours are applied.
    """
    subject = event_subject("ten_1", EVENTS[UsageIncomplete].path)
    _, _, payload = encode(an_alarm("bad"))
    await client.jetstream().publish(subject, b"not json")
    await client.jetstream().publish(subject, payload.replace(b'"expected":1', b'"expected":"one"'))
    await publish(client, an_alarm("good"))

    async with consuming(client, database, notes):
        await until(lambda: settled(client))

    assert ["good"] == await noted(database)
    (_, garbage), (_, wrong) = await buried(database)
    assert "cannot be decoded" in garbage
    assert "$.data.expected" in wrong


@pytest.mark.parametrize("events", [(UsageIncomplete,), (ListingStateChanged, PriceVersionPublished)])
async def test_a_later_version_is_left_alone(
    client: Client, database: Database, notes: Notes, until: Until, events: tuple[type[msgspec.Struct], ...]
):
    """
    An event of another type on the same subject is for whoever understands it: no note and no dead letter.
    """
    spec = EVENTS[events[0]]
    envelope = {"type": spec.type.replace(".v1", ".v2"), "id": "later", "tenant": "ten_1"}
    later = envelope | {"source": "agora/x", "time": "2026-03-02T09:15:00Z", "data": {"changed": True}}
    await client.jetstream().publish(event_subject("ten_1", spec.path), msgspec.json.encode(later))

    async with consuming(client, database, notes, *events):
        await until(lambda: settled(client, spec.stream.name))

    assert ([], []) == (await noted(database), await buried(database))


async def test_several_types_reach_one_handler(
    client: Client, database: Database, notes: Notes, until: Until
):
    """
    A consumer of two events gets each decoded as its own type, and no third one.
    """
    state = ListingStateChanged(package="echo", version="1.0.0", state="retired")
    await publish(client, Event(tenant="platform", entity="echo", data=state, id="state"))
    await client.jetstream().publish(event_subject("platform", "catalog.package.published"), b"{}")

    async with consuming(client, database, notes, ListingStateChanged, PriceVersionPublished):
        await until(lambda: settled(client, "CATALOG"))

    assert (["state"], []) == (await noted(database), await buried(database))


def test_a_consumer_reads_one_stream():
    """
    Events of two streams cannot share a consumer; that is told when it is made.
    """
    with pytest.raises(ValueError, match="a consumer reads one stream"):
        EventConsumer(NAME, [UsageIncomplete, ChargeSettled], Notes().apply)


async def test_a_passing_failure_is_tried_again(
    client: Client, database: Database, notes: Notes, until: Until
):
    """
    While a dependency is away the batch is handed back whole, and applied when it is there again.
    """
    notes.fail = lambda envelope: ConnectionError("away") if sum(notes.tries.values()) < 9 else None
    await publish(client, an_alarm("a"), an_alarm("b"), an_alarm("c"))

    async with consuming(client, database, notes):
        await until(lambda: settled(client))

    assert ["a", "b", "c"] == await noted(database)
    assert [] == await buried(database)


async def test_a_mistake_in_the_handler_is_tried_five_times(
    client: Client, database: Database, notes: Notes, until: Until
):
    """
    An error that nobody foresaw may pass; after five deliveries it becomes a dead letter.
    """
    notes.fail = lambda envelope: KeyError("a mistake") if envelope.id == "bad" else None
    await publish(client, an_alarm("bad"), an_alarm("good"))

    async with consuming(client, database, notes):
        await until(lambda: settled(client))

    assert ["good"] == await noted(database)
    ((_, reason),) = await buried(database)
    assert "a mistake" in reason
    assert 5 <= notes.tries["bad"]


async def test_a_tenant_on_another_tenants_subject_is_refused(
    client: Client, database: Database, notes: Notes, until: Until
):
    """
    What a sender may say hangs on the subject's tenant: an envelope that names another is not applied.
    """
    _, _, payload = encode(an_alarm("stolen", tenant="ten_2"))
    subject = event_subject("ten_1", EVENTS[UsageIncomplete].path)
    await client.jetstream().publish(subject, payload)

    async with consuming(client, database, notes):
        await until(lambda: settled(client))

    ((_, reason),) = await buried(database)
    assert "says tenant 'ten_2' on another tenant's subject" == reason
    assert [] == await noted(database)


async def test_what_follows_the_commit_is_not_done_without_it(
    client: Client, database: Database, notes: Notes, until: Until
):
    """
    The callback runs once per committed batch, and never for one that was rolled back.
    """
    notes.fail = lambda envelope: ConnectionError("away") if notes.tries[envelope.id] == 1 else None
    await publish(client, an_alarm("a"))

    async with consuming(client, database, notes):
        await until(lambda: settled(client))

    assert ({"a": 2}, [["a"]]) == (notes.tries, notes.committed)


async def test_batches_are_applied_side_by_side(client: Client, database: Database, until: Until):
    """
    Where the order does not matter a batch begins before the one before it has ended, no more of them than asked for;
    a stop lets all of them end.
    """
    at_work, most = 0, 0
    both, stopping = asyncio.Event(), asyncio.Event()

    async def slow(connection: AsyncConnection, envelopes: Sequence[Envelope[Any]]) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        if at_work == 2:
            both.set()
        await stopping.wait()
        await Notes().apply(connection, envelopes)
        at_work -= 1

    await publish(client, *(an_alarm(name) for name in "abcdef"))
    async with consuming(client, database, slow, batch_max=2, linger_seconds=0, batches_at_once=2):
        async with asyncio.timeout(20):
            await both.wait()
        asyncio.get_running_loop().call_later(0.05, stopping.set)

    assert 2 == most
    # How many came in time for the two batches is JetStream's affair; all of those are in.
    assert 2 <= len(await noted(database)) <= 4
    async with consuming(client, database, Notes()):
        await until(lambda: settled(client))
    assert list("abcdef") == await noted(database)


async def test_a_stop_lets_the_batch_at_hand_end(client: Client, database: Database, until: Until):
    """
    Cancelled in the middle of a batch, a consumer commits and acknowledges it before it ends.
    """
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(connection: AsyncConnection, envelopes: Sequence[Envelope[Any]]) -> None:
        entered.set()
        await leave.wait()
        await connection.execute(STORE, {"tenant": "ten_1", "id": envelopes[0].id, "body": ""})

    await publish(client, an_alarm("a"))
    task = asyncio.create_task(EventConsumer(NAME, [UsageIncomplete], slow).run(client, database))
    await asyncio.wait_for(entered.wait(), 20)
    task.cancel()
    await asyncio.sleep(0)
    leave.set()
    await asyncio.gather(task, return_exceptions=True)

    assert ["a"] == await noted(database)
    assert await until(lambda: settled(client))


async def test_without_an_inbox_the_handler_sees_events_again(
    client: Client, database: Database, until: Until
):
    """
    A handler that deduplicates by means of its own is given everything.
    """
    seen: list[str] = []

    async def see(_: AsyncConnection, envelopes: Sequence[Envelope[Any]]) -> None:
        seen.extend(envelope.id for envelope in envelopes)

    await publish(client, an_alarm("a"))
    async with consuming(client, database, see, inbox=False):
        await until(lambda: settled(client))
    await client.jetstream().delete_consumer(METERING_STREAM.name, NAME)

    async with consuming(client, database, see, inbox=False):
        await until(lambda: settled(client))

    assert ["a", "a"] == seen


async def test_a_stop_is_a_stop_though_the_batch_at_hand_fails(
    database: Database, client: Client, nats_url: str
):
    """
    A batch that cannot be acknowledged any more while the consumer is stopped does not keep it alive.
    """
    connection = await nats.connect(nats_url)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(_: AsyncConnection, __: Sequence[Envelope[Any]]) -> None:
        entered.set()
        await leave.wait()

    task = asyncio.create_task(EventConsumer(NAME, (UsageIncomplete,), slow).run(connection, database))
    await publish(client, an_alarm("a"))
    await asyncio.wait_for(entered.wait(), 20)
    task.cancel()
    await connection.close()
    leave.set()

    done, _ = await asyncio.wait({task}, timeout=20)
    task.cancel()
    assert {task} == done
    assert task.cancelled()
