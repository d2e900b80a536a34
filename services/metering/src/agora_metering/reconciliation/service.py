"""Use cases of reconciliation. Several transactions, none of them open while another service is asked."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import batched
from typing import Any

import msgspec
import structlog
from agora_contracts.ids import derived
from agora_contracts.meters import CheckTotals
from agora_contracts.month_books import MONTHS_MAX, DescribeMonths, MonthKey, MonthsDescribed
from agora_contracts.problems import AgoraError
from agora_contracts.reconciliation import (
    DIFFERENCES_MAX,
    AuditBooks,
    BooksAudited,
    ChargesDescribed,
    DescribeCharges,
    Difference,
    EndedRunFacts,
    EndedRunPage,
    ListEndedRuns,
    ListRecordedUsage,
    Reconcile,
    Reconciliation,
    ReconciliationFailed,
    RecordedUsagePage,
)
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.database import Database
from agora_kit.outbox import Event, emit

from agora_metering.checks.service import check_totals
from agora_metering.reconciliation import model, store

log = structlog.get_logger()

type Ask = Callable[[msgspec.Struct], Awaitable[Any]]
type ReadStream = Callable[[datetime], Awaitable[set[str]]]

_TOLD_MAX = 100
_STREAM_MARGIN = timedelta(minutes=5)
"""How far the clock of the stream may be from that of the outbox."""


class Reconciler:
    """Compares what execution, the stream, metering and billing know.

    Args:
        ask: asks another service.
        read_stream: ids of the messages of the stream of usage since a moment.
        kept_days: how long outbox and stream keep what was published; nothing before is compared.
    """

    def __init__(self, database: Database, ask: Ask, read_stream: ReadStream, *, kept_days: int) -> None:
        self._database = database
        self._ask = ask
        self._read_stream = read_stream
        self._kept = timedelta(days=kept_days) - timedelta(hours=1)

    async def reconcile(self, command: Reconcile, now: datetime) -> Reconciliation:
        """Compare everything of a window, joint by joint.

        Raises:
            AgoraError: `invalid_input` for a window that is empty; that a service does not answer.
        """
        until = now - timedelta(seconds=command.grace_seconds)
        since = max(command.since.astimezone(UTC), now - self._kept)
        if since >= until:
            raise AgoraError(
                "invalid_input",
                f"the window from {since:%Y-%m-%dT%H:%M:%SZ} to {until:%Y-%m-%dT%H:%M:%SZ} is empty; name an earlier"
                " `since`, or a shorter grace period",
            )
        differences: list[Difference] = []
        events = await self._compare_events(command.tenant, since, until, differences)
        runs = await self._compare_runs(command.tenant, since, until, differences)
        totals = await self._compare_totals(command.tenant, since, until, differences)
        await self._compare_months(command.tenant, since, until, differences)
        await self._audit(differences)
        return Reconciliation(
            since=since,
            until=until,
            events=events,
            runs=runs,
            totals=totals,
            differences=differences[:DIFFERENCES_MAX],
            truncated=len(differences) > DIFFERENCES_MAX,
        )

    async def run_scheduled(self, *, seconds: float, grace_seconds: float, now: datetime) -> None:
        """Compare what has become old enough since the last time, if that is long enough ago; alarm on differences."""
        async with self._database.system() as connection:
            last = await store.compared_until(connection)
        since = last or now - self._kept
        if (now - since).total_seconds() < seconds + grace_seconds:
            return
        command = Reconcile(since=since, grace_seconds=grace_seconds)
        done = await self.reconcile(command, now)
        async with self._database.system() as connection:
            # Of several replicas that have compared, one says so.
            if not await store.lock_schedule(connection) or await store.compared_until(connection) != last:
                return
            await store.note(connection, done)
            if done.differences:
                await emit(connection, [_alarm(done)])
        for one in done.differences:
            log.error("reconciliation differs", **msgspec.structs.asdict(one))
        log.info(
            "reconciled",
            since=done.since.isoformat(),
            until=done.until.isoformat(),
            events=done.events,
            runs=done.runs,
            differences=len(done.differences),
        )

    # --- joint by joint --------------------------------------------------------------------------

    async def _compare_events(
        self, tenant: str | None, since: datetime, until: datetime, differences: list[Difference]
    ) -> int:
        """Recorded usage, the stream and the stored events; returns how many events were recorded."""
        count = 0
        streamed: set[str] | None = None
        query = ListRecordedUsage(since=since, until=until, tenant=tenant)
        while True:
            page: RecordedUsagePage = await self._ask(query)
            if page.items:
                # After the outbox: what was published by then is on the stream by now.
                if streamed is None or not all(one.id in streamed for one in page.items if one.published):
                    streamed = await self._read_stream(since - _STREAM_MARGIN)
                async with self._database.system() as connection:
                    stored = await store.stored(connection, page.items)
                    missing = [one.id for one in page.items if (one.tenant, one.id) not in stored]
                    refused = await store.refused(connection, missing) if missing else {}
                differences += model.compare_events(page.items, streamed, stored, refused)
                count += len(page.items)
            if page.next_cursor is None or len(differences) > DIFFERENCES_MAX:
                return count
            query = msgspec.structs.replace(query, cursor=page.next_cursor)

    async def _compare_runs(
        self, tenant: str | None, since: datetime, until: datetime, differences: list[Difference]
    ) -> int:
        """Ended runs, what is counted of them, their charges and holds; returns how many runs there were."""
        count = 0
        async for runs in self._ended_runs(ListEndedRuns(since=since, until=until, tenant=tenant)):
            books: ChargesDescribed = await self._ask(DescribeCharges(runs=[one.run for one in runs]))
            by_run = {one.run: one for one in books.items}
            async with self._database.system() as connection:
                counted = await store.counted(connection, [(one.tenant, one.run) for one in runs])
            for one in runs:
                differences += model.compare_run(one, counted.get(one.run), by_run.get(one.run))
            count += len(runs)
            if len(differences) > DIFFERENCES_MAX:
                break
        return count

    async def _ended_runs(self, query: ListEndedRuns) -> AsyncIterator[Sequence[EndedRunFacts]]:
        while True:
            page: EndedRunPage = await self._ask(query)
            if page.items:
                yield page.items
            if page.next_cursor is None:
                return
            query = msgspec.structs.replace(query, cursor=page.next_cursor)

    async def _compare_totals(
        self, tenant: str | None, since: datetime, until: datetime, differences: list[Difference]
    ) -> int:
        """Totals and stored events of the window's days; returns how many totals were recomputed."""
        checked = 0
        for day in _days(since, until):
            async with self._database.system() as connection:
                check = await check_totals(connection, CheckTotals(day=day, tenant=tenant))
            checked += check.checked
            differences += [
                Difference(
                    joint="totals",
                    subject=f"{one.meter}/{one.deployment or one.package or ''}/{one.grain}/{one.start.isoformat()}",
                    detail=f"is {one.kept:f} of {one.kept_events} events, its events say {one.recomputed:f} of"
                    f" {one.recomputed_events}",
                    tenant=one.tenant,
                )
                for one in check.differences
            ]
        return checked

    async def _compare_months(
        self, tenant: str | None, since: datetime, until: datetime, differences: list[Difference]
    ) -> None:
        """Months of deployments as they were told in the window, and as billing has taken them up."""
        async with self._database.system() as connection:
            told = await store.told_months(connection, tenant, since, until)
        for some in batched(told, MONTHS_MAX, strict=False):
            months = [
                MonthKey(tenant=of, deployment=one.deployment, meter=one.meter, period_start=one.period_start)
                for of, one in some
            ]
            books: MonthsDescribed = await self._ask(DescribeMonths(months=months))
            for (of, one), known in zip(some, books.items, strict=True):
                differences += model.compare_month(of, one, known)

    async def _audit(self, differences: list[Difference]) -> None:
        audited: BooksAudited = await self._ask(AuditBooks())
        differences += [
            Difference(
                joint="ledger",
                subject=one.subject,
                detail=f"{one.rule}: found {one.found:f} instead of {one.expected:f} {one.detail}".rstrip(),
            )
            for one in audited.faults
        ]


def _days(since: datetime, until: datetime) -> list[date]:
    first = since.astimezone(UTC).date()
    return [
        first + timedelta(days=number) for number in range((until.astimezone(UTC).date() - first).days + 1)
    ]


def _alarm(done: Reconciliation) -> Event:
    fact = ReconciliationFailed(
        since=done.since,
        until=done.until,
        count=len(done.differences),
        differences=done.differences[:_TOLD_MAX],
    )
    event_id = derived("evt", "ReconciliationFailed", done.until.isoformat())
    return Event(tenant=PLATFORM_TENANT, entity="reconciliation", data=fact, id=event_id, at=done.until)
