"""Use cases of ended runs. One call is one transaction, unless it says otherwise."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta

import structlog
from agora_contracts import metering as contracts
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunFinished
from agora_contracts.usage import ListRunUsage, RunUsageIds
from agora_kit.database import Database
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.runs import model, store
from agora_metering.runs.model import Completeness, Counted, EndedRun
from agora_metering.runs.store import RunKey

log = structlog.get_logger()

SWEEP_LIMIT = 100
"""The most runs that one sweep looks into."""

type AskUsage = Callable[[ListRunUsage], Awaitable[RunUsageIds]]


# --- closing -------------------------------------------------------------------------------------


async def lock_tenants_for_usage(connection: AsyncConnection, tenants: Collection[str]) -> None:
    """Before usage is stored: no run of these tenants ends in another transaction meanwhile."""
    await store.lock_tenants(connection, tenants, shared=True)


async def lock_tenants_alone(connection: AsyncConnection, tenants: Collection[str]) -> None:
    """Keep usage of these tenants (of all of them: the platform's) out until the transaction ends."""
    await store.lock_tenants(connection, tenants, shared=False)


async def close_after_usage(connection: AsyncConnection, keys: Collection[RunKey]) -> None:
    """Close those of the runs whose usage has become complete; `keys` are runs that just got new usage.

    Raises:
        AgoraError: `run_ended`, when a run has more usage now than it said at its end.
    """
    ended = await store.lock_ended(connection, keys)
    # A statement of its own after the lock: it sees what the lock's last holder has committed.
    counted = await store.count_usage(connection, [(run.tenant, run.run) for run in ended])
    for run in ended:
        events = counted[run.tenant, run.run].events
        if model.completeness(run, events) is Completeness.SURPLUS:
            raise AgoraError(
                "run_ended",
                f"run {run.run} said at its end that it recorded {run.expected} usage events; this one is beyond"
                " them. Usage after the end is the platform's cost and is not counted",
            )
    await _close_complete(connection, ended, counted)


async def close_again(connection: AsyncConnection, key: RunKey) -> None:
    """Tell what a closed run's usage came to under its next revision, after a correction; one that is not closed yet
    will tell it when it is."""
    for run in await store.lock_ended(connection, [key]):
        counted = (await store.count_usage(connection, [key]))[key]
        if model.completeness(run, counted.events) is Completeness.TOLD:
            await store.mark_closed(connection, [key])
            await emit(connection, [_closed_event(run, counted)])


async def take_in_ends(
    connection: AsyncConnection, events: Sequence[Envelope[RunFinished]], *, incomplete_after_seconds: float
) -> None:
    """Remember that runs have ended, and close those whose usage is complete already.

    Raises:
        AgoraError: `malformed_request`, for a negative count of usage.
    """
    for event in events:
        if event.data.usage_count < 0:
            raise AgoraError("malformed_request", "usage_count is how many events there are: 0 or more")
    await store.lock_tenants(connection, {event.tenant for event in events}, shared=False)
    check_after = utc_now() + timedelta(seconds=incomplete_after_seconds)
    await store.record_ends(connection, [_ended_run(event) for event in events], check_after=check_after)
    keys = {(event.tenant, event.data.run) for event in events}
    ended = await store.lock_ended(connection, keys)
    await _close_complete(connection, ended, await store.count_usage(connection, keys))


def _ended_run(event: Envelope[RunFinished]) -> EndedRun:
    fact = event.data
    return EndedRun(
        tenant=event.tenant,
        run=fact.run,
        expected=fact.usage_count,
        outcome=fact.outcome,
        deliverable=fact.deliverable,
        delivered_units=fact.delivered_units,
        error_code=None if fact.error is None else fact.error.code,
        finished_at=fact.at,
    )


async def _close_complete(
    connection: AsyncConnection, ended: Sequence[EndedRun], counted: dict[RunKey, Counted]
) -> None:
    complete = [
        run
        for run in ended
        if model.completeness(run, counted[run.tenant, run.run].events) is Completeness.COMPLETE
    ]
    if not complete:
        return
    await store.mark_closed(connection, [(run.tenant, run.run) for run in complete])
    await emit(connection, [_closed_event(run, counted[run.tenant, run.run]) for run in complete])


def _closed_event(run: EndedRun, counted: Counted) -> Event:
    revision = run.revision + 1
    return Event(
        tenant=run.tenant,
        entity=run.run,
        data=contracts.RunUsageClosed(
            run=run.run,
            revision=revision,
            totals=list(counted.totals),
            outcome=run.outcome,
            deliverable=run.deliverable,
            finished_at=run.finished_at,
            delivered_units=run.delivered_units,
            error_code=run.error_code,
        ),
        id=derived("evt", "RunUsageClosed", run.tenant, run.run, str(revision)),
        sequence=revision,
    )


# --- reading -------------------------------------------------------------------------------------


async def get_run_totals(connection: AsyncConnection, query: contracts.GetRunTotals) -> contracts.RunTotals:
    """What was counted for a run so far.

    Raises:
        AgoraError: `not_found` when neither usage nor the end of such a run of this tenant was heard of.
    """
    key = (query.tenant, query.run)
    ended = await store.find_run(connection, key)
    counted = (await store.count_usage(connection, [key]))[key]
    if ended is None and counted.events == 0:
        raise AgoraError("not_found", f"no usage is known of run {query.run[:64]!r}")
    return contracts.RunTotals(
        run=query.run,
        closed=ended is not None and model.completeness(ended, counted.events) is Completeness.TOLD,
        revision=0 if ended is None else ended.revision,
        expected=None if ended is None else ended.expected,
        counted=counted.events,
        totals=list(counted.totals),
    )


# --- what does not become complete ---------------------------------------------------------------


async def look_into_incomplete(database: Database, ask: AskUsage, *, incomplete_after_seconds: float) -> None:
    """Raise the alarm about runs whose usage is not complete in time, once for every change of what is missing.

    Several transactions, none of them open while execution is asked. A run that nobody can be asked about
    now is looked into again after `incomplete_after_seconds`.
    """
    again = utc_now() + timedelta(seconds=incomplete_after_seconds)
    async with database.system() as connection:
        keys = await store.claim_open(connection, check_again_after=again, limit=SWEEP_LIMIT)
    for key in keys:
        try:
            recorded = await ask(ListRunUsage(run=key[1], tenant=key[0]))
        except AgoraError as error:
            log.warning("incomplete run not looked into", run=key[1], reason=str(error))
            continue
        async with database.system() as connection:
            await _raise_alarm(connection, key, recorded)


async def _raise_alarm(connection: AsyncConnection, key: RunKey, recorded: RunUsageIds) -> None:
    # Alone, like an end of a run: usage that is being stored at this moment is not missing.
    await store.lock_tenants(connection, [key[0]], shared=False)
    (run,) = await store.lock_ended(connection, [key])
    ids = await store.usage_ids(connection, key)
    state = model.completeness(run, len(ids))
    if state is Completeness.COMPLETE:
        await _close_complete(connection, [run], await store.count_usage(connection, [key]))
    if state in (Completeness.COMPLETE, Completeness.TOLD):
        return
    missing = sorted(set(recorded.ids) - ids)
    alarm = model.alarm_text(len(ids), missing)
    if alarm == run.alarm:
        return
    await store.note_alarm(connection, key, alarm)
    log.error(
        "usage incomplete",
        tenant=key[0],
        run=key[1],
        expected=run.expected,
        counted=len(ids),
        missing=missing,
    )
    fact = contracts.UsageIncomplete(run=key[1], expected=run.expected, counted=len(ids), missing=missing)
    event_id = derived("evt", "UsageIncomplete", *key, str(run.expected), alarm)
    await emit(connection, [Event(tenant=key[0], entity=key[1], data=fact, id=event_id)])
