"""Outbox and relay: what is committed is published, in order, whatever fails in between."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from agora_contracts.envelope import Envelope
from agora_contracts.metering import UsageIncomplete
from agora_contracts.subjects import METERING_STREAM
from agora_kit import lost_streams
from agora_kit import relay as relay_module
from agora_kit.database import Database
from agora_kit.outbox import PAYLOAD_BYTES_MAX, Event, emit, republish, republish_since
from agora_kit.provision import DatabaseUrls
from agora_kit.relay import Relay, ensure_stream, ensure_streams
from agora_local.parts import Nats
from agora_local.ports import free_ports
from agora_local.testing import own_folder
from nats.aio.client import Client
from nats.js.errors import NotFoundError
from sqlalchemy import text

type Until = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


def an_event(run: str = "run_1", expected: int = 1, **more: Any) -> Event:
    """An alarm about a run; `expected` tells events of one run apart."""
    data = UsageIncomplete(run=run, expected=expected, counted=0, missing=[])
    return Event(tenant="ten_1", entity=run, data=data, **more)


@asynccontextmanager
async def relaying(database: Database, client: Client, sweep_seconds: float = 0.1) -> AsyncIterator[None]:
    """A relay that runs."""
    task = asyncio.create_task(Relay(database, client, sweep_seconds=sweep_seconds).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def write(database: Database, *events: Event) -> None:
    """Emit events in one transaction."""
    async with database.system() as connection:
        await emit(connection, events)


async def published(client: Client) -> list[Envelope[UsageIncomplete]]:
    """Everything that the stream stores, in its order."""
    stream = client.jetstream()
    state = (await stream.stream_info(METERING_STREAM.name)).state
    decode = msgspec.json.Decoder(Envelope[UsageIncomplete]).decode
    messages = [
        await stream.get_msg(METERING_STREAM.name, number)
        for number in range(state.first_seq, state.last_seq + 1)
        if state.messages
    ]
    return [decode(message.data or b"") for message in messages]


async def unpublished(database: Database) -> int:
    """How many rows wait."""
    async with database.system() as connection:
        result = await connection.execute(text("SELECT count(*) FROM outbox WHERE published_at IS NULL"))
        return int(result.scalar_one())


async def all_published(database: Database) -> bool:
    """Whether no row waits."""
    return await unpublished(database) == 0


async def test_committed_events_are_published_in_order(database: Database, client: Client, until: Until):
    """
    Events of several transactions arrive in the order of their commits, with what identifies them.
    """
    for number in range(5):
        await write(database, an_event(expected=number, sequence=number + 1))

    async with relaying(database, client):
        await until(lambda: all_published(database))

    found = await published(client)
    assert [0, 1, 2, 3, 4] == [one.data.expected for one in found]
    assert [1, 2, 3, 4, 5] == [one.sequence for one in found]
    assert {("agora/metering", "agora.usage.incomplete.v1", "ten_1", "run_1")} == {
        (one.source, one.type, one.tenant, one.subject) for one in found
    }


async def test_what_is_rolled_back_is_never_published(database: Database, client: Client, until: Until):
    """
    An event belongs to its transaction: without the commit nobody hears of it.
    """
    with pytest.raises(ZeroDivisionError):
        async with database.system() as connection:
            await emit(connection, [an_event(expected=1)])
            raise ZeroDivisionError
    await write(database, an_event(expected=2))

    async with relaying(database, client):
        await until(lambda: all_published(database))

    assert [2] == [one.data.expected for one in await published(client)]


async def test_a_commit_wakes_the_relay(database: Database, client: Client, until: Until):
    """
    The relay need not wait for its sweep: with a sweep an hour away an event still goes out.
    """
    async with relaying(database, client, sweep_seconds=3600):
        await write(database, an_event(expected=1))
        await until(lambda: all_published(database))
        await write(database, an_event(expected=2))
        await until(lambda: all_published(database))

    assert [1, 2] == [one.data.expected for one in await published(client)]


async def test_the_sweep_finds_what_no_notification_told(
    database: Database, urls: DatabaseUrls, client: Client, until: Until
):
    """
    A row that was written without a notification is published by the next sweep.
    """
    owner = Database(urls.owner, urls.owner, pool_size=1)
    async with owner.system() as connection:
        await connection.execute(text("ALTER TABLE outbox DISABLE TRIGGER outbox_written"))
    await owner.close()

    async with relaying(database, client):
        await write(database, an_event())
        await until(lambda: all_published(database))

    assert 1 == len(await published(client))


async def test_publishing_again_within_the_window_stores_nothing_twice(
    database: Database, client: Client, until: Until
):
    """
    A relay that died between publishing and noting it publishes again; the stream drops the second copy.
    """
    await write(database, an_event(expected=1), an_event(expected=2), an_event(run="run_2", expected=3))
    async with relaying(database, client):
        await until(lambda: all_published(database))
        async with database.system() as connection:
            assert 2 == await republish(connection, "run_1")
        await until(lambda: all_published(database))

    assert [1, 2, 3] == [one.data.expected for one in await published(client)]


async def test_publishing_again_does_not_wait_for_the_relay(database: Database):
    """
    What the relay is just noting as published is on its way: counted, and not waited for, in whatever order
    the two would lock rows.
    """
    await write(database, an_event(expected=1), an_event(expected=2))
    async with database.system() as noting:
        await noting.execute(text("UPDATE outbox SET published_at = now()"))
        async with asyncio.timeout(5), database.system() as asking:
            count = await republish(asking, "run_1")

    assert 2 == count
    assert 0 == await unpublished(database)


async def test_a_lost_stream_is_rebuilt_from_the_outbox(database: Database, client: Client, until: Until):
    """
    The outbox is the truth: what it wrote since a moment can all be published again.
    """
    await write(database, an_event(expected=1), an_event(expected=2))
    async with relaying(database, client):
        await until(lambda: all_published(database))
        await client.jetstream().delete_stream(METERING_STREAM.name)
        await ensure_stream(client.jetstream(), METERING_STREAM)
        async with database.system() as connection:
            since = (await connection.execute(text("SELECT min(created_at) FROM outbox"))).scalar_one()
            assert 2 == await republish_since(connection, since)
        await until(lambda: all_published(database))

    assert [1, 2] == [one.data.expected for one in await published(client)]


async def test_a_stream_that_is_gone_is_made_again_with_all_it_had(
    database: Database, client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """
    Nobody has to ask: the relay finds its stream gone with the next event, makes it, and publishes everything that
    went into the lost one; what a stream has that is not lost is left alone.
    """
    monkeypatch.setattr(lost_streams, "_CLOCKS", timedelta(0))
    await write(database, an_event(expected=1), an_event(expected=2))
    async with relaying(database, client):
        await until(lambda: all_published(database))
        await client.jetstream().delete_stream(METERING_STREAM.name)
        await write(database, an_event(expected=3))

        async def rebuilt() -> bool:
            try:
                return len(await published(client)) == 3
            except NotFoundError:
                return False

        await until(rebuilt)
        await until(lambda: all_published(database))
    async with relaying(database, client):
        await write(database, an_event(expected=4))
        await until(lambda: all_published(database))

    assert [1, 2, 3, 4] == sorted(one.data.expected for one in await published(client))


async def test_what_no_stream_stores_is_not_noted_as_published(database: Database, client: Client):
    """
    Without an acknowledgement a row stays on its way, and the relay says so.
    """
    await client.jetstream().delete_stream(METERING_STREAM.name)
    await write(database, an_event())

    session = await database.listen_connection()
    with pytest.raises(ConnectionError, match="1 of 1 events were not acknowledged"):
        await Relay(database, client).publish_pending(session)
    await session.close()

    assert 1 == await unpublished(database)


async def test_published_events_expire_and_waiting_ones_do_not(database: Database, client: Client):
    """
    After the retention a published row is deleted; one that never got out stays, however old.
    """
    await write(database, an_event(expected=1), an_event(expected=2), an_event(expected=3))
    async with database.system() as connection:
        await connection.execute(
            text(
                "UPDATE outbox SET created_at = now() - interval '15 days', published_at = CASE seq"
                " WHEN 1 THEN now() - interval '15 days' WHEN 2 THEN now() - interval '13 days' END"
            )
        )

    await Relay(database, client).expire()

    async with database.system() as connection:
        left = (await connection.execute(text("SELECT seq FROM outbox ORDER BY seq"))).scalars().all()
    assert [2, 3] == left


async def test_expiry_leaves_nothing_for_the_next_hour(
    database: Database, client: Client, monkeypatch: pytest.MonkeyPatch
):
    """
    More old rows than a slice holds go in one round; of the inbox, what no event can repeat any more goes too.
    """
    await write(database, *(an_event(expected=number) for number in range(25)))
    async with database.system() as connection:
        await connection.execute(text("UPDATE outbox SET published_at = now() - interval '15 days'"))
        await connection.execute(
            text(
                "INSERT INTO inbox (consumer, message_id, received_at)"
                " SELECT 'billing-alarms', 'evt_' || n, now() - make_interval(days => n) FROM generate_series(40, 60) n"
            )
        )
    for name in ("_EXPIRE_OUTBOX", "_EXPIRE_INBOX"):
        statement = str(getattr(relay_module, name)).replace("LIMIT 10000", "LIMIT 10")
        monkeypatch.setattr(relay_module, name, text(statement))

    await Relay(database, client).expire()

    async with database.system() as connection:
        assert 0 == (await connection.execute(text("SELECT count(*) FROM outbox"))).scalar_one()
        days = (
            await connection.execute(
                text("SELECT (extract(epoch FROM now() - received_at) / 86400)::int FROM inbox ORDER BY 1")
            )
        ).scalars()
    assert [40, 41, 42] == list(days)


async def test_nothing_is_piled_up_while_nats_is_away(database: Database, own_nats: Nats, until: Until):
    """
    Without a connection nothing is handed to the client, whose places for unacknowledged messages would run out.
    """
    connection = await nats.connect(own_nats.url, max_reconnect_attempts=-1, reconnect_time_wait=0.05)
    await ensure_streams(connection.jetstream())
    relay = Relay(database, connection)
    await write(database, an_event(expected=1))
    await asyncio.to_thread(own_nats.stop)

    async def away() -> bool:
        return not connection.is_connected

    await until(away)
    session = await database.listen_connection()
    with pytest.raises(ConnectionError):
        await relay.publish_pending(session)
    assert 0 == connection.pending_data_size
    await asyncio.to_thread(own_nats.start)

    async def published_again() -> bool:
        if not connection.is_connected or await relay.publish_pending(session):
            return False
        return await all_published(database)

    await until(published_again)
    await session.close()
    await connection.close()


async def test_one_relay_publishes_and_another_takes_over(database: Database, client: Client, until: Until):
    """
    A second replica waits, and goes on when the first has ended.
    """
    async with relaying(database, client):
        await write(database, an_event(expected=1))
        await until(lambda: all_published(database))
        async with relaying(database, client):
            await write(database, an_event(expected=2))
            await until(lambda: all_published(database))
    async with relaying(database, client):
        await write(database, an_event(expected=3))
        await until(lambda: all_published(database))

    assert [1, 2, 3] == [one.data.expected for one in await published(client)]


async def test_more_than_a_batch_goes_out_in_order(database: Database, client: Client, until: Until):
    """
    What piled up while nobody relayed is published batch after batch.
    """
    await write(database, *(an_event(expected=number) for number in range(2500)))

    async with relaying(database, client):
        await until(lambda: all_published(database))

    assert 2500 == (await client.jetstream().stream_info(METERING_STREAM.name)).state.messages
    last = await client.jetstream().get_msg(METERING_STREAM.name, 2500)
    assert b'"expected":2499' in (last.data or b"")


async def test_an_event_too_large_to_send_is_refused_at_once(database: Database):
    """
    Whoever emits it hears of it; in the outbox it would hold up every event behind it.
    """
    large = UsageIncomplete(run="run_1", expected=1, counted=0, missing=["x" * PAYLOAD_BYTES_MAX])

    with pytest.raises(ValueError, match="put what is large into a file"):
        await write(database, Event(tenant="ten_1", entity="run_1", data=large))

    assert await all_published(database)


@pytest.fixture
def own_nats() -> Iterator[Nats]:
    """A NATS server that this test may kill."""
    with own_folder() as folder:
        port, monitor_port = free_ports(2)
        with Nats(Path(folder) / "nats", port, monitor_port) as server:
            yield server


async def test_a_killed_server_loses_no_event(database: Database, own_nats: Nats, until: Until):
    """
    While NATS is away events wait in the outbox; when it is back they arrive, in order, once.
    """
    options: dict[str, Any] = {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.1}
    client = await nats.connect(own_nats.url, error_cb=_silent, **options)
    try:
        await ensure_streams(client.jetstream())
        async with relaying(database, client):
            await write(database, an_event(expected=1))
            await until(lambda: all_published(database))
            await asyncio.to_thread(own_nats.kill)
            await write(database, an_event(expected=2))
            await write(database, an_event(expected=3))
            await asyncio.sleep(0.5)
            assert 2 == await unpublished(database)
            await asyncio.to_thread(own_nats.start)
            await until(lambda: all_published(database))
            assert [1, 2, 3] == [one.data.expected for one in await published(client)]
    finally:
        await client.close()


async def _silent(error: Exception) -> None:
    """The client would print what this test provokes."""


async def test_streams_are_brought_to_what_the_catalogue_says(client: Client):
    """
    Making streams again changes nothing, and a changed setting is taken over without losing messages.
    """
    stream = client.jetstream()
    await stream.publish("agora.evt.ten_1.metering.usage.incomplete", b"{}")
    await ensure_streams(stream)
    shorter = msgspec.structs.replace(METERING_STREAM, retention_days=7)

    await ensure_stream(stream, shorter)

    info = await stream.stream_info(METERING_STREAM.name)
    assert (7 * 86_400, 1) == (info.config.max_age, info.state.messages)
