"""Reconciliation on schedule, with those it asks on NATS; its rules by themselves."""

from collections.abc import AsyncIterator, Callable
from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from agora_contracts.billing import Quantity
from agora_contracts.month_books import DescribeMonths, MonthBooks, MonthKey, MonthsDescribed
from agora_contracts.periods import PeriodTotal
from agora_contracts.problems import AgoraError
from agora_contracts.reconciliation import (
    AuditBooks,
    BookFault,
    BooksAudited,
    ChargesDescribed,
    DescribeCharges,
    EndedRunFacts,
    EndedRunPage,
    ListEndedRuns,
    ListRecordedUsage,
    Reconcile,
    ReconciliationFailed,
    RecordedUsage,
    RecordedUsagePage,
    RunBooks,
)
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.service import Service
from agora_metering.reconciliation.model import CountedRun, compare_month, compare_run
from agora_metering.reconciliation.service import Reconciler
from agora_metering.usage.service import take_in
from sqlalchemy import text

from .conftest import Told

FACTS = EndedRunFacts(
    run="run_1",
    tenant="ten_1",
    usage_count=2,
    usage=[Quantity(meter="tasks", quantity=Decimal(3))],
    outbox_count=2,
    charged=30_000,
)
COUNTED = CountedRun(
    run="run_1",
    events=2,
    recorded={"tasks": Decimal(3)},
    effective={"tasks": Decimal("3.0"), "pages": Decimal(0)},
    revision=1,
)
BOOKS = RunBooks(run="run_1", hold="settled", revision=1, usage=FACTS.usage, charged=30_000)


class Others:
    """Execution and billing, as far as they are asked: two pages of one event each, no run, one fault at most."""

    def __init__(self) -> None:
        self.faults: list[BookFault] = []

    async def recorded(self, query: ListRecordedUsage) -> RecordedUsagePage:
        """One event that was never counted, and on the next page none."""
        if query.cursor is not None:
            return RecordedUsagePage(items=[])
        return RecordedUsagePage(
            items=[RecordedUsage(id="evt_lost", tenant="ten_1", published=True)], next_cursor="next"
        )

    async def ended(self, query: ListEndedRuns) -> EndedRunPage:
        """No runs."""
        return EndedRunPage(items=[])

    async def describe(self, query: DescribeCharges) -> ChargesDescribed:
        """No charges."""
        return ChargesDescribed(items=[])

    async def months(self, query: DescribeMonths) -> MonthsDescribed:
        """Nothing was taken up."""
        return MonthsDescribed(
            items=[MonthBooks(month=one, revision=0, quantity=Decimal(0), rated=True) for one in query.months]
        )

    async def audit(self, query: AuditBooks) -> BooksAudited:
        """What the test wants to be wrong."""
        return BooksAudited(postings=1, faults=self.faults)


@pytest.fixture
async def others(metering: Service, nats_url: str) -> AsyncIterator[Others]:
    """Execution and billing, answering."""
    others = Others()
    execution, billing = Broker(nats_url, "execution"), Broker(nats_url, "billing")
    execution.answer(ListRecordedUsage, others.recorded)
    execution.answer(ListEndedRuns, others.ended)
    billing.answer(DescribeCharges, others.describe)
    billing.answer(AuditBooks, others.audit)
    billing.answer(DescribeMonths, others.months)
    await execution.start()
    await billing.start()
    yield others
    await execution.stop()
    await billing.stop()


def reconciler_of(metering: Service) -> Reconciler:
    """A reconciler whose stream is empty."""

    async def no_message(since: datetime) -> set[str]:
        return set()

    return Reconciler(metering.database, metering.broker.ask, no_message, kept_days=14)


async def noted(database: Database) -> list[int]:
    """How many differences each window had, oldest first."""
    async with database.system() as connection:
        rows = await connection.execute(text("SELECT differences FROM reconciliations ORDER BY until"))
        return list(rows.scalars())


@pytest.mark.emits.with_args(ReconciliationFailed)
async def test_the_schedule_raises_an_alarm_that_names_what_differs(
    metering: Service, others: Others, told: Told
):
    """
    An event that is recorded, published and neither on the stream nor counted, and a fault of the books, are named.
    """
    others.faults = [BookFault(rule="credit", subject="acc_1", expected=Decimal(2), found=Decimal(1))]

    await reconciler_of(metering).run_scheduled(seconds=60, grace_seconds=1, now=datetime.now(UTC))

    (alarm,) = await told(ReconciliationFailed, 1)
    assert [("stream", "evt_lost"), ("events", "evt_lost"), ("ledger", "acc_1")] == [
        (one.joint, one.subject) for one in alarm.data.differences
    ]
    assert 3 == alarm.data.count
    assert 3 == (await noted(metering.database))[-1]


async def test_a_window_begins_where_the_last_one_ended(metering: Service, others: Others):
    """
    Before its period is over nothing is compared; after it, what has come since the last window.
    """
    reconciler, now = reconciler_of(metering), datetime.now(UTC)
    await reconciler.run_scheduled(seconds=60, grace_seconds=1, now=now)
    before = len(await noted(metering.database))

    await reconciler.run_scheduled(seconds=60, grace_seconds=1, now=now + timedelta(seconds=30))
    assert before == len(await noted(metering.database))
    await reconciler.run_scheduled(seconds=60, grace_seconds=1, now=now + timedelta(seconds=62))

    async with metering.database.system() as connection:
        rows = await connection.execute(text("SELECT since, until FROM reconciliations ORDER BY until"))
        *_, first, second = rows.all()
    assert first.until == second.since
    assert second.until == now + timedelta(seconds=61)


async def test_an_empty_window_is_refused(metering: Service):
    """
    A window that ends before it begins is refused with what to change.
    """
    now = datetime.now(UTC)
    with pytest.raises(AgoraError, match="earlier `since`"):
        await reconciler_of(metering).reconcile(Reconcile(since=now), now)


def test_a_run_that_agrees_has_no_difference():
    """
    Quantities are compared as numbers, and a meter of which nothing was used need not be named.
    """
    assert [] == compare_run(FACTS, COUNTED, BOOKS)


@pytest.mark.parametrize(
    ("facts", "counted", "books", "joints"),
    [
        ({"outbox_count": 1}, {}, {}, ["outbox"]),
        ({}, {"revision": 0}, {}, ["runs"]),
        ({}, {"events": 3}, {}, ["runs"]),
        ({}, {"recorded": {"tasks": Decimal(4)}}, {}, ["runs"]),
        ({}, {"revision": 2}, {}, ["charges"]),
        ({}, {"effective": {"tasks": Decimal(2)}}, {}, ["charges"]),
        ({"charged": 1}, {}, {}, ["charges"]),
        ({"refunded": 1}, {}, {}, ["charges"]),
        ({}, {}, {"hold": "firm"}, ["holds"]),
    ],
)
def test_each_difference_of_a_run_is_in_its_joint(
    facts: dict[str, Any], counted: dict[str, Any], books: dict[str, Any], joints: list[str]
):
    """
    What is changed on one side alone is said once, in the joint between the two that disagree.
    """
    found = compare_run(replace(FACTS, **facts), replace(COUNTED, **counted), replace(BOOKS, **books))

    assert joints == [one.joint for one in found]
    assert {"run_1"} == {one.subject for one in found}


@pytest.mark.parametrize(
    ("revision", "quantity", "rated", "differs"),
    [
        (2, "5.0", True, False),
        (3, "9", True, False),
        (0, "0", False, False),
        (1, "5", True, True),
        (0, "0", True, True),
        (2, "4", True, True),
    ],
)
def test_a_month_is_what_was_told_of_it(revision: int, quantity: str, rated: bool, differs: bool):
    """
    Billing has taken up the newest total, or a later one, or does not rate it; anything else is a difference.
    """
    start = datetime(2026, 3, 1, tzinfo=UTC)
    told = PeriodTotal(
        deployment="dep_1", meter="gb", period_start=start, period_end=start + timedelta(days=31),
        revision=2, quantity=Decimal(5), events=3,
    )  # fmt: skip
    month = MonthKey(tenant="ten_1", deployment="dep_1", meter="gb", period_start=start)
    books = MonthBooks(month=month, revision=revision, quantity=Decimal(quantity), rated=rated)

    found = compare_month("ten_1", told, books)

    assert [("months", "dep_1/gb/2026-03")] * differs == [(one.joint, one.subject) for one in found]


async def test_months_that_billing_has_not_taken_up_are_named(
    metering: Service, others: Others, messages: Callable[..., Any], told: Told
):
    """
    What was told of a deployment's month, and billing has only an older total of, is named.
    """
    usage = messages().usage("evt_1", 5, "gb", run=None, time=datetime.now(UTC))
    async with metering.database.system() as connection:
        await take_in(connection, [usage])
    (told_one,) = await told(PeriodTotal, 1)

    # The window ends before what was told in this moment.
    later = datetime.now(UTC) + timedelta(seconds=5)
    done = await reconciler_of(metering).reconcile(
        Reconcile(since=later - timedelta(hours=1), grace_seconds=1), later
    )

    named = [(one.subject, one.tenant) for one in done.differences if one.joint == "months"]
    assert [(f"dep_1/gb/{told_one.data.period_start:%Y-%m}", "ten_1")] == named


def test_a_run_that_is_not_known_is_said():
    """
    A run that metering or billing has never heard of differs there.
    """
    assert ["runs"] == [one.joint for one in compare_run(FACTS, None, BOOKS)]
    assert ["charges"] == [one.joint for one in compare_run(FACTS, COUNTED, None)]
