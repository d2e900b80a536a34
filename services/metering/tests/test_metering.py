"""Metering as a running service, on a real stream: what it emits, refuses, answers, and survives."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import nats
import pytest
from agora_contracts.metering import GetRunTotals, QueryUsage, RunTotals, RunUsageClosed, UsageIncomplete
from agora_contracts.meters import CheckTotals, CreateMeter, GetMeter, ListMeters, Meter, TotalsCheck
from agora_contracts.periods import PeriodTotal
from agora_contracts.platform import DeadLetter, ListDeadLetters, ReplayDeadLetters
from agora_contracts.problems import AgoraError
from agora_contracts.usage import ListRunUsage, RunUsageIds
from agora_kit.broker import Broker
from agora_kit.durable import is_caught_up
from agora_metering.app import build
from agora_metering.settings import MeteringSettings

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
TOTALS = GetRunTotals(run="run_1", tenant="ten_1")


@pytest.fixture
async def execution(nats_url: str) -> AsyncIterator[list[str]]:
    """An execution that answers with the usage ids in this list."""
    ids: list[str] = []
    broker = Broker(nats_url, "execution")

    async def answer(query: ListRunUsage) -> RunUsageIds:
        return RunUsageIds(run=query.run, ids=ids)

    broker.answer(ListRunUsage, answer)
    await broker.start()
    yield ids
    await broker.stop()


async def until_counted(asker: Broker, count: int) -> RunTotals:
    """The run's totals, once so many of its events are counted."""
    async with asyncio.timeout(20):
        while True:
            try:
                totals: RunTotals = await asker.ask(TOTALS)
                if totals.counted >= count:
                    return totals
            except AgoraError as error:
                if error.slug != "not_found":
                    raise
            await asyncio.sleep(0.02)


async def until_refused(asker: Broker, count: int) -> list[DeadLetter]:
    """The dead letters, oldest first, once there are so many."""
    async with asyncio.timeout(20):
        while True:
            page = await asker.ask_shared(ListDeadLetters(), "metering")
            if len(page.items) >= count:
                return list(reversed(page.items))
            await asyncio.sleep(0.02)


@pytest.mark.emits.with_args(RunUsageClosed)
async def test_a_run_is_closed_over_the_stream(
    asker: Broker, messages: Callable[..., Any], say: Callable[..., Any], told: Callable[..., Any]
) -> None:
    """
    The end before its usage, and the usage twice: billing is told once, and totals and report agree.
    """
    ours = messages()
    events = [ours.usage("evt_1", "0.5"), ours.usage("evt_2", 3, "pages")]
    await say(ours.finished(2), *events, *events)

    (closed,) = await told(RunUsageClosed, 1)
    assert ("ten_1", "run_1", 1) == (closed.tenant, closed.subject, closed.sequence)
    totals = await asker.ask(TOTALS)
    assert (True, 2, closed.data.totals) == (totals.closed, totals.counted, totals.totals)
    day = QueryUsage(tenant="ten_1", start=events[0].time, end=events[0].time.replace(hour=23))
    rows = (await asker.ask(day)).items
    assert [("pages", Decimal(3)), ("tasks", Decimal("0.5"))] == [(row.meter, row.quantity) for row in rows]


@pytest.mark.emits.with_args(UsageIncomplete)
async def test_missing_usage_raises_the_alarm_and_a_replay_mends_it(
    asker: Broker,
    execution: list[str],
    messages: Callable[..., Any],
    say: Callable[..., Any],
    told: Callable[..., Any],
) -> None:
    """
    An event that got lost on its way is named by the alarm; sent again, it closes the run.
    """
    execution += ["evt_1", "evt_2"]
    ours = messages()
    await say(ours.usage("evt_1"))
    await until_counted(asker, 1)
    await say(ours.finished(2))
    (alarm,) = await told(UsageIncomplete, 1)
    assert (2, 1, ["evt_2"]) == (alarm.data.expected, alarm.data.counted, alarm.data.missing)
    await say(ours.usage("evt_1"), ours.usage("evt_2"), ours.finished(2))

    (closed,) = await told(RunUsageClosed, 1)
    assert Decimal(2) == closed.data.totals[0].quantity


def changed(envelope: Any, **changes: Any) -> bytes:
    """An envelope in bytes, with fields of its data or of itself replaced by what no sender should say."""
    plain = msgspec.to_builtins(envelope)
    for name, value in changes.items():
        (plain["data"] if name in plain["data"] else plain)[name] = value
    return msgspec.json.encode(plain)


async def test_malformed_events_are_dead_letters(
    asker: Broker, messages: Callable[..., Any], say: Callable[..., Any]
) -> None:
    """
    What cannot be read, or says a quantity that is none, is kept with its reason; its neighbours count.
    """
    ours = messages()
    sound = ours.usage("evt_1")
    malformed = {
        b"{nonsense": "malformed",
        b'{"id": "evt_2"}': "missing required field",
        changed(sound, quantity="NaN"): "quantity must be from 0",
        changed(sound, quantity="-1"): "quantity must be from 0",
        changed(sound, quantity="0.0000000000001"): "in steps of",
        changed(sound, quantity="1e400"): "quantity must be from 0",
        changed(sound, quantity=True): "Expected `decimal`",
        changed(sound, meter=""): "length >= 1",
        changed(sound, time="2026-03-01T12:00:00"): "timezone",
        changed(sound, tenant="ten_2"): "another tenant's subject",
    }
    for raw in malformed:
        await say(raw=raw)
    await say(sound, ours.usage("evt_3"))

    assert 2 == (await until_counted(asker, 2)).counted
    letters = await until_refused(asker, len(malformed))
    assert len(malformed) == len(letters)
    # Batches are applied side by side, so that refusals come in no order.
    reasons = [letter.reason for letter in letters]
    assert all(any(reason in one for one in reasons) for reason in malformed.values())


async def test_what_the_database_cannot_hold_is_a_dead_letter(
    asker: Broker, messages: Callable[..., Any], say: Callable[..., Any]
) -> None:
    """
    A null character in a name passes the contract and not the database; only that event is refused.
    """
    ours = messages()
    await say(ours.usage("evt_1"), ours.usage("evt_2", meter="a\x00b"), ours.usage("evt_3"))

    assert 2 == (await until_counted(asker, 2)).counted
    (letter,) = await until_refused(asker, 1)
    assert "0x00" in letter.reason


async def test_an_event_under_anothers_id_is_a_dead_letter_and_stays_one(
    asker: Broker, messages: Callable[..., Any], say: Callable[..., Any]
) -> None:
    """
    Of two events with one id the first counts, the other is kept with the reason, its neighbours count, and a replay
    of it is refused again.
    """
    ours = messages()
    await say(ours.usage("evt_1", 5))
    await until_counted(asker, 1)
    await say(ours.usage("evt_1", 6), ours.usage("evt_2", 7))

    totals = await until_counted(asker, 2)
    assert [Decimal(12)] == [one.quantity for one in totals.totals]
    (letter,) = await until_refused(asker, 1)
    assert "id_collision" in letter.reason
    replayed = await asker.ask_shared(ReplayDeadLetters(ids=[letter.id]), "metering")
    assert (0, [letter.id]) == (replayed.accepted, replayed.refused)
    assert 2 == (await asker.ask(TOTALS)).counted


async def test_a_meter_is_defined_back_filled_and_asked_about(
    asker: Broker, messages: Callable[..., Any], say: Callable[..., Any], told: Callable[..., Any]
) -> None:
    """
    Over NATS and by the service's own sweeps: usage from before and after the definition is in the meter's total; the
    month that billing is told is that of the usage itself.
    """
    ours = messages()
    await say(ours.usage("evt_1", 5, "calls", run=None, dimensions={"user": "ann"}))
    (first,) = await told(PeriodTotal, 1)
    assert ("calls", Decimal(5)) == (first.data.meter, first.data.quantity)
    defined = CreateMeter(
        tenant="ten_1", key="users", unit="users", aggregation="unique_count", event="calls", value="user"
    )
    meter: Meter = await asker.ask(defined)
    async with asyncio.timeout(20):
        while meter.state != "active":
            await asyncio.sleep(0.02)
            meter = await asker.ask(GetMeter(tenant="ten_1", key="users"))
    await say(ours.usage("evt_2", 1, "calls", run=None, dimensions={"user": "bob"}))
    (listed,) = (await asker.ask(ListMeters(tenant="ten_1"))).items
    assert ("users", "active", 100) == (listed.key, listed.state, listed.progress_percent)
    start, end = NOON.replace(hour=0), NOON.replace(hour=23)
    query = QueryUsage(tenant="ten_1", meter="users", group_by=[], start=start, end=end)
    async with asyncio.timeout(20):
        rows = (await asker.ask(query)).items
        while [(Decimal(2), 2)] != [(row.quantity, row.events) for row in rows]:
            await asyncio.sleep(0.02)
            rows = (await asker.ask(query)).items
    # No price rates what a tenant defines for itself: billing is told of recorded usage alone.
    assert {"calls"} == {one.data.meter for one in await told(PeriodTotal, 2)}
    check: TotalsCheck = await asker.ask(CheckTotals(day=NOON.date()))
    assert (True, []) == (check.checked > 0, check.differences)


async def test_usage_after_the_end_is_a_dead_letter_and_stays_one(
    asker: Broker, messages: Callable[..., Any], say: Callable[..., Any], told: Callable[..., Any]
) -> None:
    """
    An event beyond the run's count is refused with the reason, its neighbours count, and a replay of the
    dead letter is refused again.
    """
    ours, other = messages(), messages("ten_1", "run_2")
    await say(ours.usage("evt_1"), ours.finished(1), other.finished(1))
    await told(RunUsageClosed, 1)
    await say(ours.usage("evt_late"), other.usage("evt_other"))

    await told(RunUsageClosed, 2)
    (letter,) = await until_refused(asker, 1)
    assert "beyond them" in letter.reason
    replayed = await asker.ask_shared(ReplayDeadLetters(ids=[letter.id]), "metering")
    assert (0, [letter.id]) == (replayed.accepted, replayed.refused)
    assert 1 == (await asker.ask(TOTALS)).counted


async def test_a_restart_doubles_nothing(
    settings: MeteringSettings,
    nats_url: str,
    messages: Callable[..., Any],
    say: Callable[..., Any],
    told: Callable[..., Any],
) -> None:
    """
    Every event delivered again after a restart, as after a crash between commit and acknowledgement, changes
    neither totals nor what billing was told.
    """
    ours = messages()
    asker = Broker(nats_url, "gateway")
    counts: list[int] = []
    for _ in range(2):
        service = build(settings)
        await service.start()
        await asker.start()
        if not counts:
            await say(*(ours.usage(f"evt_{number}") for number in range(20)), ours.finished(20))
        await told(RunUsageClosed, 1)
        # Of both consumers, what was sent last is acknowledged last.
        await until_acknowledged(nats_url)
        counts.append((await until_counted(asker, 20)).counted)
        await service.stop()
        await forget_acknowledgements(nats_url)
    await asker.stop()

    assert [20, 20] == counts
    connection = await nats.connect(nats_url)
    assert 1 == (await connection.jetstream().stream_info("METERING")).state.messages
    await connection.close()


async def until_acknowledged(nats_url: str) -> None:
    """Wait until metering has acknowledged all that is on its streams."""
    connection = await nats.connect(nats_url)
    async with asyncio.timeout(20):
        for stream, durable in (("USAGE", "metering-usage"), ("RUNS", "metering-run-finished")):
            while True:
                if await is_caught_up(connection, stream, durable):
                    break
                await asyncio.sleep(0.02)
    await connection.close()


async def forget_acknowledgements(nats_url: str) -> None:
    """Make the stream deliver everything again."""
    connection = await nats.connect(nats_url)
    await connection.jetstream().delete_consumer("USAGE", "metering-usage")
    await connection.jetstream().delete_consumer("RUNS", "metering-run-finished")
    await connection.close()
