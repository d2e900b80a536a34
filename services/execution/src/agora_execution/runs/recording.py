"""What changes a run, each as a group commit: accepted, begun, a step recorded, ended, charged.

Each writer takes a batch in one transaction with the runs' rows locked in the order of their ids. Coming
second changes nothing: a recorded step, an ended run and a charge are what they were.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.billing import ChargeAdjusted, ChargeSettled
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.refunds import ChargeRefunded
from agora_contracts.runs import Run, RunAccepted, RunCharged, RunFinished, RunStarted, StepRecorded
from agora_contracts.usage import UsageRecorded
from agora_kit.database import Database
from agora_kit.group_commit import GroupCommit
from agora_kit.outbox import Event
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.approvals import store as approvals
from agora_execution.memory import recording as memory
from agora_execution.runs import queries, store, store_at_once
from agora_execution.runs.model import (
    STARTED_SEQ,
    Ending,
    LockedRun,
    NewRun,
    StepRecord,
    StepResult,
    accepted_run,
    totals,
)
from agora_execution.runs.store import JournalEntry

type Charge = ChargeSettled | ChargeAdjusted | ChargeRefunded


class Recorder:
    """The writers of one process."""

    def __init__(self, database: Database) -> None:
        self._accept = GroupCommit(database, accept_runs, autocommit=True)
        self._begin_fresh = GroupCommit(database, begin_fresh_runs, autocommit=True)
        self._begin = GroupCommit(database, begin_runs)
        self._record = GroupCommit(database, record_steps)
        self._finish_fresh = GroupCommit(database, finish_fresh_runs, autocommit=True)
        self._end = GroupCommit(database, end_runs)

    async def accept(self, run: NewRun) -> Run:
        """Accept a run, or return the one that has its id already.

        Raises:
            AgoraError: `idempotency_conflict`, when that one was asked for differently.
        """
        return await self._accept.submit(run)

    async def begin(self, run: str, tenant: str) -> str:
        """Mark a run as running. Returns `begun`, `known` (begun before), `ended` or `cancelled`."""
        if await self._begin_fresh.submit((run, tenant)):
            return "begun"
        return await self._begin.submit(run)

    async def record(self, result: StepResult) -> StepRecord:
        """Record a step's result and usage together, once per logical step."""
        return await self._record.submit(result)

    async def finish(self, run: LockedRun, result: StepResult, ending: Ending) -> StepRecord:
        """Record the only step of a run that has just begun, and end the run with it.

        A run that was cancelled or taken further meanwhile gets the step, as `record` does, and does not end.
        """
        # What is kept in memory goes along with the step in `record`.
        if not result.memory and await self._finish_fresh.submit((run, result, ending)):
            return StepRecord(state="recorded", update=result.update, outcome=ending.outcome)
        return await self._record.submit(result)

    async def end(self, ending: Ending) -> bool:
        """End a run, once. Returns whether this call ended it."""
        return await self._end.submit(ending)


async def accept_runs(connection: AsyncConnection, new: Sequence[NewRun]) -> list[Run | AgoraError]:
    """Write accepted runs with their first journal entry and `RunAccepted`."""
    first = {run.id: run for run in reversed(new)}
    offered = list(first.values())
    facts = [
        RunAccepted(
            run=run.id,
            account=run.account,
            package=run.package,
            version=run.version,
            price_version=run.price_version,
            basis=run.basis,
            hold_epoch=run.hold_epoch,
            quoted=Money(amount=run.quoted, currency=run.currency),
            deployment=run.deployment,
            seq=1,
            api_key=run.requested_by or None,
            run_limit=None if run.max_cost is None else Money(amount=run.max_cost, currency=run.currency),
            parent=run.parent_id,
        )
        for run in offered
    ]
    accepted = await store_at_once.accept(
        connection,
        offered,
        [
            _entry(run.id, run.tenant, 1, "run.accepted", run.accepted_at, fact)
            for run, fact in zip(offered, facts, strict=True)
        ],
        [
            _event(run.id, run.tenant, fact, 1, run.accepted_at)
            for run, fact in zip(offered, facts, strict=True)
        ],
    )
    taken = [run_id for run_id in first if run_id not in accepted]
    older = await queries.runs_with_fingerprints(connection, taken) if taken else {}
    written = {run.id: (accepted_run(run), run.fingerprint) for run in offered if run.id in accepted} | older
    return [_accepted(run, written[run.id]) for run in new]


def _accepted(asked: NewRun, written: tuple[Run, str]) -> Run | AgoraError:
    run, fingerprint = written
    if fingerprint != asked.fingerprint or run.tenant != asked.tenant:
        return AgoraError(
            "idempotency_conflict", "this Idempotency-Key was used for another request; use a new key"
        )
    return run


async def begin_fresh_runs(
    connection: AsyncConnection, runs: Sequence[tuple[str, str]]
) -> list[bool | AgoraError]:
    """Mark runs, by id and tenant, as running; False for one of which more is known than that it was accepted."""
    at = utc_now()
    entries, events = [], []
    for run, tenant in dict.fromkeys(runs):
        fact = RunStarted(run=run, seq=STARTED_SEQ)
        entries.append(_entry(run, tenant, fact.seq, "run.started", at, fact))
        events.append(_event(run, tenant, fact, fact.seq, at))
    begun = await store_at_once.begin(connection, at, entries, events)
    answers: list[bool | AgoraError] = []
    for run, _ in runs:
        answers.append(run in begun)
        # Only the first of several who ask at once has begun it: to the others it is known.
        begun.discard(run)
    return answers


async def begin_runs(connection: AsyncConnection, ids: Sequence[str]) -> list[str | AgoraError]:
    """Mark runs as running."""
    locked = await store.lock_runs(connection, ids)
    at = utc_now()
    fresh = [run for run in locked.values() if run.status == "accepted" and not run.cancel_requested]
    entries, events = [], []
    for run in fresh:
        fact = RunStarted(run=run.id, seq=run.take_seq())
        entries.append(_entry(run.id, run.tenant, fact.seq, "run.started", at, fact))
        events.append(_event(run.id, run.tenant, fact, fact.seq, at))
    if fresh:
        await store.save_started(connection, fresh, at)
        await store.journal(connection, entries, events)
    return [_begun(locked.get(run_id), fresh) for run_id in ids]


def _begun(run: LockedRun | None, fresh: Sequence[LockedRun]) -> str | AgoraError:
    if run is None:
        return AgoraError("not_found", "no such run")
    if run.ended:
        return "ended"
    if run.cancel_requested:
        return "cancelled"
    return "begun" if run in fresh else "known"


async def record_steps(
    connection: AsyncConnection, results: Sequence[StepResult]
) -> list[StepRecord | AgoraError]:
    """Write steps, their journal entries and their usage events."""
    locked = await store.lock_runs(connection, (one.run for one in results))
    known = await store.known_steps(connection, results)
    answers: list[StepRecord | AgoraError] = []
    recorded: list[tuple[StepResult, LockedRun, int]] = []
    entries: list[JournalEntry] = []
    events: list[Event] = []
    for result in results:
        run = locked.get(result.run)
        if run is None:
            answers.append(AgoraError("not_found", f"no run {result.run}"))
        elif result.step in known:
            update, *taken_by = known[result.step]
            # The same attempt again, as when the answer to its COMMIT was lost, is what was recorded.
            if taken_by != [result.attempt, result.started_at]:
                await store.record_platform_cost(connection, result, run, "repeated")
            answers.append(
                StepRecord(
                    state="known",
                    update=update,
                    cancel_requested=run.cancel_requested,
                    pause_requested=run.pause_requested,
                    outcome=run.status if run.ended else None,
                    model_cost_micros=run.model_cost_micros,
                )
            )
        elif run.ended:
            await store.record_platform_cost(connection, result, run, "late")
            answers.append(StepRecord(state="ended"))
        else:
            known[result.step] = (result.update, result.attempt, result.started_at)
            fact = _take_up(run, result)
            recorded.append((result, run, fact.seq))
            entries.append(_entry(run.id, run.tenant, fact.seq, "step.recorded", result.finished_at, fact))
            events.append(_event(run.id, run.tenant, fact, fact.seq, result.finished_at))
            events.extend(_usage_events(run, result))
            answers.append(
                StepRecord(
                    state="recorded",
                    update=result.update,
                    cancel_requested=run.cancel_requested,
                    pause_requested=run.pause_requested,
                    model_cost_micros=run.model_cost_micros,
                )
            )
    if recorded:
        await store.insert_steps(connection, recorded)
        await memory.keep(connection, recorded)
        await store.save_progress(connection, list({run.id: run for _, run, _ in recorded}.values()))
        await store.journal(connection, entries, events)
    return answers


async def finish_fresh_runs(
    connection: AsyncConnection, finished: Sequence[tuple[LockedRun, StepResult, Ending]]
) -> list[bool | AgoraError]:
    """Write the only step and the end of runs; False for one that is not as it was when it began."""
    entries: list[JournalEntry] = []
    events: list[Event] = []
    written: list[tuple[LockedRun, StepResult, Ending]] = []
    for fresh, result, ending in finished:
        # A copy: should the statement fail, each is tried again from where it began.
        run = replace(fresh, usage={})
        written.append((run, result, ending))
        step = _take_up(run, result)
        end = _finished(run, ending)
        entries.append(_entry(run.id, run.tenant, step.seq, "step.recorded", result.finished_at, step))
        entries.append(_entry(run.id, run.tenant, end.seq, "run.finished", ending.at, end))
        events.append(_event(run.id, run.tenant, step, step.seq, result.finished_at))
        events.extend(_usage_events(run, result))
        events.append(_event(run.id, run.tenant, end, end.seq, ending.at))
    ended = await store_at_once.finish(connection, written, entries, events)
    return [run.id in ended for run, _, _ in finished]


def _take_up(run: LockedRun, result: StepResult) -> StepRecorded:
    run.steps += 1
    run.add_usage(result.usage)
    by_meter: dict[str, Any] = {}
    for item in result.usage:
        by_meter[item.meter] = by_meter.get(item.meter, 0) + item.quantity
    return StepRecorded(
        run=run.id,
        step=result.step,
        seq=run.take_seq(),
        node=result.node,
        title=result.title,
        visit=result.visit,
        branch=result.branch,
        usage=totals(by_meter),
        summary=result.summary,
    )


def _usage_events(run: LockedRun, result: StepResult) -> list[Event]:
    return [
        Event(
            tenant=run.tenant,
            entity=run.id,
            id=item.id,
            at=result.finished_at,
            data=UsageRecorded(
                meter=item.meter,
                quantity=item.quantity,
                run=run.id,
                deployment=run.deployment,
                package=run.package,
                step=result.step,
                dimensions=item.dimensions,
            ),
        )
        for item in result.usage
    ]


async def end_runs(connection: AsyncConnection, endings: Sequence[Ending]) -> list[bool | AgoraError]:
    """End runs with `RunFinished`; one that has ended stays as it ended."""
    locked = await store.lock_runs(connection, (one.run for one in endings))
    ended: list[tuple[Ending, LockedRun]] = []
    answers: list[bool | AgoraError] = []
    entries: list[JournalEntry] = []
    events: list[Event] = []
    for ending in endings:
        run = locked.get(ending.run)
        if run is None:
            answers.append(AgoraError("not_found", f"no run {ending.run}"))
            continue
        if run.ended:
            answers.append(False)
            continue
        fact = _finished(run, ending)
        run.status = ending.outcome
        ended.append((ending, run))
        entries.append(_entry(run.id, run.tenant, fact.seq, "run.finished", ending.at, fact))
        events.append(_event(run.id, run.tenant, fact, fact.seq, ending.at))
        answers.append(True)
    if ended:
        await store.save_ended(connection, ended)
        await store.journal(connection, entries, events)
        await approvals.cancel_pending(connection, [run.id for _, run in ended], utc_now(), "platform")
    return answers


def _finished(run: LockedRun, ending: Ending) -> RunFinished:
    return RunFinished(
        run=run.id,
        outcome=ending.outcome,
        deliverable=ending.deliverable,
        usage_count=run.usage_count,
        at=ending.at,
        package=run.package,
        version=run.version,
        delivered_units=ending.delivered_units,
        deployment=run.deployment,
        error=ending.error,
        seq=run.take_seq(),
    )


async def take_up_charges(connection: AsyncConnection, envelopes: Sequence[Envelope[Any]]) -> list[str]:
    """Journal what billing settled, adjusted or refunded. Returns the runs whose cost was taken up.

    Charges stand by their revision and refunds by their number, each for itself: what is not newer than what
    stands changes nothing, so both may come again and in any order.
    """
    charges: list[Charge] = [envelope.data for envelope in envelopes]
    locked = await store.lock_runs(connection, (charge.run for charge in charges))
    taken: dict[str, LockedRun] = {}
    entries: list[JournalEntry] = []
    events: list[Event] = []
    for charge in sorted(charges, key=_place):
        run = locked.get(charge.run)
        if run is None:
            raise AgoraError("not_found", f"a charge for the unknown run {charge.run}")
        if not _is_news(run, charge):
            continue
        taken[run.id] = run
        if (cost := run.cost) is None:
            continue  # refunded before its charge has come, which will tell of both
        fact = RunCharged(
            run=run.id,
            seq=run.take_seq(),
            revision=run.charge_revision,
            amount=Money(amount=cost, currency=charge.amount.currency),
            lines=[] if isinstance(charge, ChargeRefunded) else charge.lines,
            refunded=Money(amount=run.refunded, currency=charge.amount.currency),
        )
        entries.append(_entry(run.id, run.tenant, fact.seq, "run.charged", charge.at, fact))
        events.append(_event(run.id, run.tenant, fact, fact.seq, charge.at))
    if taken:
        await store.save_charges(connection, list(taken.values()), entries, events)
    return [run.id for run in taken.values() if run.cost is not None]


def _place(charge: Charge) -> tuple[bool, int]:
    return (True, charge.number) if isinstance(charge, ChargeRefunded) else (False, charge.revision)


def _is_news(run: LockedRun, charge: Charge) -> bool:
    """Take a charge or refund up, unless a newer one stands. Returns whether it was taken."""
    if isinstance(charge, ChargeRefunded):
        if charge.number <= run.refund_number:
            return False
        run.refund_number, run.refunded = charge.number, charge.refunded.amount
        return True
    if charge.revision <= run.charge_revision:
        return False
    run.charge_revision, run.charged = charge.revision, charge.amount.amount
    return True


def _entry(run: str, tenant: str, seq: int, kind: str, at: datetime, fact: msgspec.Struct) -> JournalEntry:
    return JournalEntry(run=run, seq=seq, tenant=tenant, type=kind, at=at, data=fact)


def _event(run: str, tenant: str, fact: msgspec.Struct, seq: int, at: datetime) -> Event:
    # The id is the place in the journal: the same fact can never be published under two ids.
    return Event(tenant=tenant, entity=run, data=fact, id=f"{run}.{seq}", sequence=seq, at=at)
