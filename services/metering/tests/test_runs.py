"""Ended runs on a real database: closed once and exactly, an alarm for what is missing."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from agora_contracts.billing import TRANSACTIONS_MAX, Quantity
from agora_contracts.envelope import Envelope
from agora_contracts.metering import GetRunTotals, RunTotals, RunUsageClosed, UsageIncomplete
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunError
from agora_contracts.usage import ListRunUsage, RunUsageIds
from agora_kit.database import Database
from agora_metering.runs.model import Completeness, EndedRun, completeness
from agora_metering.runs.service import AskUsage, get_run_totals, look_into_incomplete, take_in_ends
from agora_metering.usage.handlers import take_in_usage
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

_NOW = 0.0


async def take_in(database: Database, *events: Envelope[Any]) -> None:
    """Take usage in, one batch."""
    async with database.system() as connection:
        await take_in_usage(connection, events)


async def end(database: Database, *events: Envelope[Any]) -> None:
    """Take ends of runs in, one batch; what is incomplete is due at once."""
    async with database.system() as connection:
        await take_in_ends(connection, events, incomplete_after_seconds=_NOW)


async def emitted[Data: msgspec.Struct](database: Database, kind: type[Data]) -> list[Data]:
    """What was emitted of a kind, in order."""
    async with database.system() as connection:
        payloads = (await connection.execute(text("SELECT payload FROM outbox ORDER BY seq"))).scalars().all()
    envelopes = [msgspec.json.decode(payload, type=Envelope[msgspec.Raw]) for payload in payloads]
    found = [one for one in envelopes if one.type.split(".")[2] == _WORD[kind]]
    return [msgspec.json.decode(one.data, type=kind) for one in found]


_WORD = {RunUsageClosed: "closed", UsageIncomplete: "incomplete"}


async def totals(database: Database, tenant: str = "ten_1", run: str = "run_1") -> RunTotals:
    """Ask for a run's totals, as the tenant's own role."""
    async with database.transaction(tenant) as connection:
        return await get_run_totals(connection, GetRunTotals(run=run, tenant=tenant))


async def test_a_run_closes_at_its_end(database: Database, messages: Callable[..., Any]) -> None:
    """
    Usage that is complete when the run ends is closed at once, with totals by meter and what the end said.
    """
    ours = messages()
    await take_in(
        database, ours.usage("evt_1", "0.5"), ours.usage("evt_2", 2, "pages"), ours.usage("evt_3", "0.7")
    )
    error = RunError(code="terminated", detail="by the operator")
    await end(
        database, ours.finished(3, outcome="failed", deliverable="partial", delivered_units=2, error=error)
    )

    (closed,) = await emitted(database, RunUsageClosed)
    quantities = [
        Quantity(meter="pages", quantity=Decimal(2), events=1, transactions=[Decimal(2)]),
        Quantity(
            meter="tasks", quantity=Decimal("1.2"), events=2, transactions=[Decimal("0.5"), Decimal("0.7")]
        ),
    ]
    assert (1, quantities) == (closed.revision, closed.totals)
    assert ("failed", "partial", 2, "terminated") == (
        closed.outcome,
        closed.deliverable,
        closed.delivered_units,
        closed.error_code,
    )
    assert RunTotals(run="run_1", closed=True, revision=1, expected=3, counted=3, totals=quantities) == (
        await totals(database)
    )


async def test_transactions_are_listed_while_they_are_few(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    Up to a thousand events of a meter are told one by one, in the order of their times; of more only their number.
    """
    few, many = messages(), messages("ten_1", "run_2")
    times = [few.usage("evt_0").time + timedelta(seconds=seconds) for seconds in range(TRANSACTIONS_MAX + 1)]
    await take_in(
        database,
        *(few.usage(f"evt_{n}", n, time=times[-n]) for n in range(1, TRANSACTIONS_MAX + 1)),
        *(many.usage(f"evt_many_{n}", n, time=time) for n, time in enumerate(times)),
    )

    (listed,) = (await totals(database)).totals
    assert (TRANSACTIONS_MAX, [Decimal(1000), Decimal(999)]) == (listed.events, listed.transactions[:2])
    (counted,) = (await totals(database, run="run_2")).totals
    assert (TRANSACTIONS_MAX + 1, []) == (counted.events, counted.transactions)


async def test_a_run_closes_with_its_last_usage(database: Database, messages: Callable[..., Any]) -> None:
    """
    An end that comes before the usage waits for it; the last event closes the run.
    """
    ours = messages()
    await end(database, ours.finished(2))
    await take_in(database, ours.usage("evt_1"))
    assert [] == await emitted(database, RunUsageClosed)
    assert (False, 0, 2, 1) == (
        (now := await totals(database)).closed,
        now.revision,
        now.expected,
        now.counted,
    )
    await take_in(database, ours.usage("evt_2"))

    (closed,) = await emitted(database, RunUsageClosed)
    (counted,) = closed.totals
    assert ("tasks", Decimal(2), 2) == (counted.meter, counted.quantity, counted.events)


async def test_a_run_without_usage_closes_too(database: Database, messages: Callable[..., Any]) -> None:
    """
    Zero events are a count like any other: the run is closed at its end, with nothing.
    """
    await end(database, messages().finished(0, outcome="failed", deliverable="empty"))

    (closed,) = await emitted(database, RunUsageClosed)
    assert (1, []) == (closed.revision, closed.totals)


async def test_everything_twice_closes_once(database: Database, messages: Callable[..., Any]) -> None:
    """
    Repeated usage and repeated ends, in any batch, tell billing once.
    """
    ours = messages()
    for _ in range(2):
        await take_in(database, ours.usage("evt_1"), ours.usage("evt_1"))
        await end(database, ours.finished(1), ours.finished(1))

    assert 1 == len(await emitted(database, RunUsageClosed))


async def test_usage_beyond_the_count_is_refused(database: Database, messages: Callable[..., Any]) -> None:
    """
    A new event for a run that is complete is refused and counted nowhere; repetitions stay harmless.
    """
    ours = messages()
    await take_in(database, ours.usage("evt_1"))
    await end(database, ours.finished(1))
    with pytest.raises(AgoraError, match="beyond them") as refused:
        await take_in(database, ours.usage("evt_late"))
    await take_in(database, ours.usage("evt_1"))

    assert "run_ended" == refused.value.slug
    assert (1, 1) == ((await totals(database)).counted, len(await emitted(database, RunUsageClosed)))


async def test_a_corrected_end_opens_the_next_revision(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    An end that declares more usage reopens the run; once that is there it closes under revision 2, with all
    of it. One that declares less changes nothing.
    """
    ours = messages()
    await take_in(database, ours.usage("evt_1"))
    await end(database, ours.finished(1))
    await end(database, ours.finished(3))
    await take_in(database, ours.usage("evt_2"))
    assert (False, 1) == ((now := await totals(database)).closed, now.revision)
    await end(database, ours.finished(2))
    await take_in(database, ours.usage("evt_3"))

    first, second = await emitted(database, RunUsageClosed)
    assert (1, [Decimal(1)]) == (first.revision, [one.quantity for one in first.totals])
    assert (2, [Decimal(3)]) == (second.revision, [one.quantity for one in second.totals])


async def test_last_usage_and_end_at_once(database: Database, messages: Callable[..., Any]) -> None:
    """
    Where the last usage and the end are in transactions at the same time, the run is closed, and once.
    """
    runs = [messages("ten_1", f"run_{number}") for number in range(30)]

    async def both(ours: Any) -> None:
        await asyncio.gather(
            take_in(database, ours.usage(f"evt_{ours.run}_1")),
            end(database, ours.finished(2)),
            take_in(database, ours.usage(f"evt_{ours.run}_2")),
        )

    await asyncio.gather(*(both(ours) for ours in runs))

    closed = await emitted(database, RunUsageClosed)
    assert sorted(ours.run for ours in runs) == sorted(one.run for one in closed)
    assert {Decimal(2)} == {one.totals[0].quantity for one in closed}


async def test_last_events_at_once(database: Database, messages: Callable[..., Any]) -> None:
    """
    Two replicas that take in the last two events of an ended run at the same time close it, once.
    """
    runs = [messages("ten_1", f"run_{number}") for number in range(20)]
    await end(database, *(ours.finished(2) for ours in runs))
    batches = [[ours.usage(f"evt_{ours.run}_{half}") for ours in runs] for half in range(2)]
    await asyncio.gather(*(take_in(database, *batch) for batch in batches))

    assert 20 == len(await emitted(database, RunUsageClosed))


async def test_a_run_is_its_tenants_own(database: Database, messages: Callable[..., Any]) -> None:
    """
    Usage that another tenant books on the same run id neither counts for it nor is seen; its totals are
    unknown to others.
    """
    ours, theirs = messages(), messages("ten_2", "run_1")
    await end(database, ours.finished(1))
    await take_in(database, theirs.usage("evt_1", 9))
    assert [] == await emitted(database, RunUsageClosed)
    await take_in(database, ours.usage("evt_1"))

    assert 1 == len(await emitted(database, RunUsageClosed))
    assert Decimal(1) == (await totals(database)).totals[0].quantity
    for tenant, run in (("ten_3", "run_1"), ("ten_1", "run_unknown")):
        with pytest.raises(AgoraError) as refused:
            await totals(database, tenant, run)
        assert "not_found" == refused.value.slug


# --- the alarm -----------------------------------------------------------------------------------


def knows(*ids: str) -> AskUsage:
    """An execution that says which usage events it has recorded."""

    async def answer(query: ListRunUsage) -> RunUsageIds:
        return RunUsageIds(run=query.run, ids=list(ids))

    return answer


async def silent(_: ListRunUsage) -> RunUsageIds:
    """An execution that does not answer."""
    raise AgoraError("unavailable", "execution does not answer")


async def sweep(database: Database, ask: AskUsage) -> None:
    """Look into what is due; what is still incomplete is due again at once."""
    await look_into_incomplete(database, ask, incomplete_after_seconds=_NOW)


async def test_the_alarm_names_what_is_missing(database: Database, messages: Callable[..., Any]) -> None:
    """
    A run whose usage is not complete in time raises the alarm once, again when something changed, and none
    once a replay has mended it.
    """
    ours = messages()
    await take_in(database, ours.usage("evt_1"))
    await end(database, ours.finished(3))
    ask = knows("evt_1", "evt_2", "evt_3")
    for _ in range(3):
        await sweep(database, ask)
    await take_in(database, ours.usage("evt_3"))
    for _ in range(2):
        await sweep(database, ask)
    await take_in(database, *(ours.usage(f"evt_{number}") for number in (1, 2, 3)))
    await sweep(database, ask)

    alarms = await emitted(database, UsageIncomplete)
    assert [(3, 1, ["evt_2", "evt_3"]), (3, 2, ["evt_2"])] == [
        (alarm.expected, alarm.counted, alarm.missing) for alarm in alarms
    ]
    assert 1 == len(await emitted(database, RunUsageClosed))


async def test_more_usage_than_the_end_said_raises_the_alarm(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    Usage that came before an end which declares less is not closed silently: nobody can say which is wrong.
    """
    ours = messages()
    await take_in(database, ours.usage("evt_1"), ours.usage("evt_2"))
    await end(database, ours.finished(1))
    await sweep(database, knows("evt_1"))

    (alarm,) = await emitted(database, UsageIncomplete)
    assert (1, 2, []) == (alarm.expected, alarm.counted, alarm.missing)
    assert [] == await emitted(database, RunUsageClosed)


async def test_runs_before_their_deadline_are_left_alone(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    Neither a run that may still become complete nor one that is complete is asked about.
    """
    waiting, complete = messages(), messages("ten_1", "run_2")
    async with database.system() as connection:
        await take_in_ends(
            connection, [waiting.finished(1), complete.finished(0)], incomplete_after_seconds=3600
        )
    asked: list[str] = []

    async def ask(query: ListRunUsage) -> RunUsageIds:
        asked.append(query.run)
        return RunUsageIds(run=query.run, ids=[])

    await sweep(database, ask)

    assert [] == asked


async def test_an_execution_that_does_not_answer_is_asked_again(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    While execution is away no alarm is raised and no other run is held up; it comes with the next sweep.
    """
    await end(database, messages().finished(1), messages("ten_1", "run_2").finished(1))
    await sweep(database, silent)
    assert [] == await emitted(database, UsageIncomplete)
    await sweep(database, knows("evt_1"))

    assert ["run_1", "run_2"] == sorted(alarm.run for alarm in await emitted(database, UsageIncomplete))


@given(expected=st.integers(0, 5), counted=st.integers(0, 5), closed=st.none() | st.integers(0, 5))
def test_a_count_is_one_of_four_things(expected: int, counted: int, closed: int | None) -> None:
    """
    A run is closed when and only when exactly its count is there and was not told yet.
    """
    run = EndedRun(
        tenant="ten_1",
        run="run_1",
        expected=expected,
        outcome="succeeded",
        deliverable="full",
        finished_at=datetime.min,
        closed_count=closed,
    )

    state = completeness(run, counted)
    assert (state is Completeness.MISSING) == (counted < expected)
    assert (state is Completeness.SURPLUS) == (counted > expected)
    assert (state is Completeness.COMPLETE) == (counted == expected != closed)


async def test_many_equal_transactions_are_told_as_groups(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    Of more than a thousand events of a meter it is told how many have which quantity, unless these are too many, too.
    """
    ours = messages()
    await take_in(
        database,
        *(ours.usage(f"evt_{n}", n % 3 + 1) for n in range(TRANSACTIONS_MAX + 2)),
        *(ours.usage(f"evt_other_{n}", n, "pages") for n in range(TRANSACTIONS_MAX + 1)),
    )

    pages, tasks = (await totals(database)).totals
    assert (TRANSACTIONS_MAX + 1, [], []) == (pages.events, pages.transactions, pages.groups)
    assert [(1, 334), (2, 334), (3, 334)] == [(int(one.quantity), one.count) for one in tasks.groups]
    assert (TRANSACTIONS_MAX + 2, []) == (tasks.events, tasks.transactions)
