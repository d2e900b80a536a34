"""A machine that does anything at any time to accounts, holds and charges, beside a model of a few lines."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from agora_billing.accounts import service as accounts
from agora_billing.audit.service import verify
from agora_billing.charges.service import Charges
from agora_billing.holds.service import Holds
from agora_billing.prices import service as price_service
from agora_billing.prices.service import Prices
from agora_contracts.billing import (
    Balance,
    ConfirmHold,
    GetBalance,
    Hold,
    IncreaseHold,
    OpenAccount,
    TopUp,
)
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.metering import RunUsageClosed
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.database import Database
from agora_kit.provision import DatabaseUrls
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from .conftest import TENANT, Clock, hold_request, price_version, usage

CENT = 10_000
LIMIT = 5 * CENT
RUNS = st.integers(min_value=0, max_value=2)
_machines = count()


@dataclass
class Expected:
    """What the account must look like, kept by rules much simpler than the service's."""

    credit: int = 0
    receivable: int = 0
    platform: int = 0
    topped_up: int = 0


class Books:
    """Billing's use cases on one database, called without the broker, in one event loop."""

    def __init__(self, urls: DatabaseUrls) -> None:
        self._runner = asyncio.Runner()
        self.database = Database(urls.app, urls.system, pool_size=3)
        self.clock = Clock()
        prices = Prices(self.database)
        self.holds = Holds(self.database, prices, self.clock, timedelta(seconds=120))
        self.charges = Charges(prices, self.clock)
        self.run(self._pin())

    def run[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something asynchronous now."""
        return self._runner.run(work)

    async def _pin(self) -> None:
        async with self.database.system() as connection:
            published = price_version()
            await price_service.pin(connection, [envelope(PLATFORM_TENANT, published)])

    def close(self) -> None:
        """Give the connections back."""
        self.run(self.database.close())
        self._runner.close()


def envelope[Data](tenant: str, data: Data) -> Envelope[Data]:
    """An event as a consumer's handler gets it."""
    spec = EVENTS[type(data)]  # type: ignore[index]
    return Envelope(id="evt", source="test", type=spec.type, time=utc_now(), tenant=tenant, data=data)


class MoneyMachine(RuleBasedStateMachine):
    """Each machine has an account and three runs of its own on the shared database."""

    books: Books

    def __init__(self) -> None:
        super().__init__()
        self.number = next(_machines)
        self.account = f"acc_{self.number}"
        self.expected = Expected()
        self.holds: dict[str, Hold] = {}
        self.charged: dict[str, tuple[int, int]] = {}  # run: (revision, amount)
        self.paid: dict[str, list[int]] = {}  # run: by credit, by receivable, by the platform
        self.requests = count()
        self.books.clock.ahead = timedelta()
        self.in_transaction(
            accounts.open_account,
            OpenAccount(account=self.account, tenant=TENANT, receivable_limit=LIMIT),
            self.books.clock(),
        )

    # --- helpers ---------------------------------------------------------------------------------

    def in_transaction(self, use_case: Any, *arguments: Any) -> Any:
        """Run a use case in a transaction of the tenant."""

        async def work() -> Any:
            async with self.books.database.transaction(TENANT) as connection:
                return await use_case(connection, *arguments)

        return self.books.run(work())

    def balance(self) -> Balance:
        """The account now."""
        query = GetBalance(account=self.account, tenant=TENANT)
        found: Balance = self.in_transaction(accounts.read_balance, query)
        return found

    def run_id(self, number: int) -> str:
        """One of this machine's runs."""
        return f"run_{self.number}_{number}"

    def set_aside(self, run: str) -> int:
        """What is set aside for a run, in the database's own words."""

        async def read() -> int:
            async with self.books.database.system() as connection:
                query = text(
                    "SELECT coalesce(sum(amount), 0) FROM holds "
                    "WHERE run = :run AND state IN ('tentative', 'firm')"
                )
                return int((await connection.execute(query, {"run": run})).scalar_one())

        return self.books.run(read())

    def attempt(self, work: Coroutine[Any, Any, Hold]) -> Hold | None:
        """Ask for something that may be refused for good reasons, of which an inner fault is none."""
        try:
            hold = self.books.run(work)
        except AgoraError as error:
            assert error.slug in {"insufficient_credit", "hold_closed", "not_found", "idempotency_conflict"}
            return None
        self.holds[hold.run] = hold
        return hold

    # --- what may happen -------------------------------------------------------------------------

    @rule(cents=st.integers(min_value=1, max_value=12), twice=st.booleans())
    def top_up(self, cents: int, twice: bool) -> None:
        """Credit comes in, perhaps reported twice."""
        command = TopUp(
            account=self.account,
            tenant=TENANT,
            amount=Money(amount=cents * CENT),
            reference=str(next(self.requests)),
        )
        for _ in range(2 if twice else 1):
            self.in_transaction(accounts.top_up, command, self.books.clock())
        paid = min(cents * CENT, self.expected.receivable)
        self.expected.receivable -= paid
        self.expected.credit += cents * CENT - paid
        self.expected.topped_up += cents * CENT

    @rule(numbers=st.lists(RUNS, min_size=1, max_size=4), tasks=st.integers(min_value=0, max_value=8))
    def place(self, numbers: list[int], tasks: int) -> None:
        """Several runs ask for holds at once, some of them twice."""
        before = self.balance()

        async def together() -> list[Hold | BaseException]:
            return await asyncio.gather(
                *(
                    self.books.holds.place(hold_request(self.run_id(n), tasks, account=self.account))
                    for n in numbers
                ),
                return_exceptions=True,
            )

        for answer in self.books.run(together()):
            if isinstance(answer, Hold):
                self.holds[answer.run] = answer
            else:
                assert isinstance(answer, AgoraError)
                assert answer.slug == "insufficient_credit"
                assert before.available < len(numbers) * tasks * CENT

    @rule(number=RUNS)
    def confirm(self, number: int) -> None:
        """A run confirms its hold."""
        hold = self.attempt(self.books.holds.confirm(ConfirmHold(run=self.run_id(number), tenant=TENANT)))
        assert hold is None or hold.state == "firm"

    @rule(number=RUNS, cents=st.integers(min_value=1, max_value=5), twice=st.booleans())
    def increase(self, number: int, cents: int, twice: bool) -> None:
        """A run asks for more, perhaps twice by one request."""
        request = IncreaseHold(
            run=self.run_id(number),
            tenant=TENANT,
            by=Money(amount=cents * CENT),
            request=str(next(self.requests)),
        )
        first = self.attempt(self.books.holds.increase(request))
        if twice and first is not None:
            assert first == self.attempt(self.books.holds.increase(request))

    @rule(minutes=st.integers(min_value=1, max_value=3), sweep=st.booleans())
    def wait(self, minutes: int, sweep: bool) -> None:
        """Time passes; a sweep may or may not come by."""
        self.books.clock.ahead += timedelta(minutes=minutes)
        if sweep:
            self.books.run(self.books.holds.sweep())

    @precondition(lambda self: self.holds)
    @rule(
        data=st.data(),
        tasks=st.decimals(min_value=0, max_value=25, places=3),
        revisions=st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=3),
        succeeded=st.booleans(),
    )
    def close_usage(self, data: st.DataObject, tasks: Decimal, revisions: list[int], succeeded: bool) -> None:
        """A run's usage arrives, in one batch, in any order of revisions, some of them old."""
        run = data.draw(st.sampled_from(sorted(self.holds)))
        outcome = "succeeded" if succeeded else "failed"
        closed = [
            usage(run, str(tasks + revision), revision=revision, outcome=outcome) for revision in revisions
        ]
        held_elsewhere = self.balance().held - self.set_aside(run)

        async def settle() -> None:
            async with self.books.database.system() as connection:
                await self.books.charges.settle(connection, [envelope(TENANT, one) for one in closed])

        self.books.run(settle())
        for one in sorted(closed, key=lambda one: one.revision):
            self._expect(one, held_elsewhere)
        assert self.set_aside(run) == 0

    def _expect(self, closed: RunUsageClosed, held_elsewhere: int) -> None:
        revision, before = self.charged.get(closed.run, (0, 0))
        if closed.revision <= revision:
            return
        quantity = closed.totals[0].quantity
        amount = int(quantity * CENT) if closed.outcome == "succeeded" else 0
        self.charged[closed.run] = (closed.revision, amount)
        paid = self.paid.setdefault(closed.run, [0, 0, 0])
        if amount >= before:
            more = amount - before
            credit = min(more, self.expected.credit - held_elsewhere)
            owed = min(more - credit, LIMIT - self.expected.receivable)
            parts = (credit, owed, more - credit - owed)
        else:
            back = before - amount
            platform = min(back, paid[2])
            owed = min(back - platform, paid[1], self.expected.receivable)
            parts = (platform + owed - back, -owed, -platform)
        for index, part in enumerate(parts):
            paid[index] += part
        self.expected.credit -= parts[0]
        self.expected.receivable += parts[1]
        self.expected.platform += parts[2]

    # --- what must always be so ------------------------------------------------------------------

    @invariant()
    def the_account_is_as_expected(self) -> None:
        """Credit and receivable are what the simple model says; nothing held that is not there."""
        balance = self.balance()
        assert (self.expected.credit, self.expected.receivable) == (balance.credit, balance.receivable)
        assert 0 <= balance.held <= balance.credit
        assert balance.available == balance.credit - balance.held

    @invariant()
    def money_is_neither_made_nor_lost(self) -> None:
        """What came in, is owed, or was borne by the platform is what was charged and what is left."""
        revenue = sum(amount for _, amount in self.charged.values())
        came = self.expected.topped_up + self.expected.receivable + self.expected.platform
        assert came == revenue + self.expected.credit

    def teardown(self) -> None:
        """At the end the audit agrees, and each run was announced as settled exactly once."""
        report = self.books.run(verify(self.books.database))
        assert report.ok, report.faults

        async def announced() -> dict[str, int]:
            async with self.books.database.system() as connection:
                query = text("""
                    SELECT entity, count(*) AS times FROM outbox
                    WHERE subject LIKE '%.billing.charge.settled' AND entity LIKE :runs GROUP BY entity
                """)
                rows = await connection.execute(query, {"runs": f"run\\_{self.number}\\_%"})
                return {row.entity: row.times for row in rows}

        assert dict.fromkeys(self.charged, 1) == self.books.run(announced())


def test_the_books_are_right_whatever_happens(billing_urls: DatabaseUrls):
    """
    Top-ups, holds, confirmations, increases, lapses, usage and its revisions in any order, doubled and at
    once: no amount is made or lost, and every cached balance is the sum of its entries.
    """
    MoneyMachine.books = Books(billing_urls)
    try:
        run_state_machine_as_test(
            MoneyMachine,
            settings=settings(
                max_examples=30,
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        MoneyMachine.books.close()
