"""A machine that does anything at any time to accounts, grants, budgets, holds, charges and refunds, beside an
oracle that knows the rules in plain numbers."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from agora_billing.accounts import service as accounts
from agora_billing.audit.service import verify
from agora_billing.budgets import service as budgets
from agora_billing.promotions import service as promotions
from agora_billing.refunds import service as refunds
from agora_contracts.billing import (
    Balance,
    CloseAccount,
    ConfirmHold,
    GetBalance,
    Hold,
    IncreaseHold,
    OpenAccount,
    TopUp,
)
from agora_contracts.budgets import ChangeBudget, CreateBudget, GetBudget
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.promotions import GrantPromotion
from agora_contracts.refunds import RefundRun
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

from .calling import calling
from .conftest import TENANT, usage
from .money_books import Books, envelope
from .money_oracle import CalledRoom, Oracle, OracleBudget, OracleGrant, OracleRun, Room

CENT = 10_000
LIMIT = 5 * CENT
RUNS = st.integers(min_value=0, max_value=2)
CALLED = st.integers(min_value=3, max_value=4)
ANY = RUNS | CALLED
CENTS = st.integers(min_value=1, max_value=12)
GOOD_REASONS = {
    "insufficient_credit", "hold_closed", "not_found", "idempotency_conflict", "budget_exhausted",
}  # fmt: skip
_machines = count()


@dataclass(frozen=True)
class HoldRow:
    """What the database says about a run's hold; `limit` is what its own charge may come to."""

    run: str
    open: int
    limit: int | None
    budgets: list[str]
    taken: int
    parent: str | None


class MoneyMachine(RuleBasedStateMachine):
    """Each machine has an account, three runs and two that are called, on the shared database."""

    books: Books

    def __init__(self) -> None:
        super().__init__()
        self.number = next(_machines)
        self.account = f"acc_{self.number}"
        self.oracle = Oracle(limit=LIMIT)
        self.known: set[str] = set()
        self.refused = ""
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
        return self.books.run(self.books.in_transaction(use_case, *arguments))

    def balance(self) -> Balance:
        """The account now."""
        query = GetBalance(account=self.account, tenant=TENANT)
        found: Balance = self.in_transaction(accounts.read_balance, query)
        return found

    def run_id(self, number: int) -> str:
        """One of this machine's runs."""
        return f"run_{self.number}_{number}"

    def hold_of(self, run: str) -> HoldRow:
        """A run's hold."""
        [row] = self.books.rows(
            "SELECT CASE WHEN state IN ('tentative', 'firm') THEN amount ELSE 0 END AS open, "
            "greatest(run_limit - calls_taken, 0) AS own_limit, run_limit, from_parent - calls_taken AS taken, parent, "
            "ARRAY(SELECT budget_id FROM budget_windows WHERE window_id = ANY(windows)) AS budgets "
            "FROM holds WHERE run = :run",
            run=run,
        )
        return HoldRow(
            run=run,
            open=row.open,
            limit=None if row.run_limit is None else row.own_limit,
            budgets=list(row.budgets),
            taken=row.taken,
            parent=row.parent,
        )

    def reserved(self) -> dict[str, int]:
        """What each budget has reserved."""
        return {
            name: self.in_transaction(
                budgets.read, GetBudget(budget=name, tenant=TENANT), self.books.clock()
            ).reserved
            for name in self.oracle.budgets
        }

    def expire(self) -> None:
        """Let grants expire as the service's sweep does, which every command does itself, too."""
        self.books.expire(self.account)
        self.oracle.expire(self.balance().held, self.books.clock())

    def attempt(self, work: Coroutine[Any, Any, Hold]) -> Hold | None:
        """Ask for something that may be refused for good reasons, of which an inner fault is none."""
        self.expire()
        try:
            hold = self.books.run(work)
        except AgoraError as error:
            assert error.slug in GOOD_REASONS, error
            self.refused = error.slug
            return None
        self.known.add(hold.run)
        return hold

    # --- what may happen -------------------------------------------------------------------------

    @rule(cents=CENTS, twice=st.booleans())
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
        self.oracle.top_up(cents * CENT)

    @rule(cents=CENTS, minutes=st.none() | st.integers(min_value=0, max_value=4), twice=st.booleans())
    def grant(self, cents: int, minutes: int | None, twice: bool) -> None:
        """Promotional credit is given, perhaps twice by one reference, perhaps for some minutes only."""
        now = self.books.clock()
        expires = None if minutes is None else now + timedelta(minutes=minutes, seconds=30)
        command = GrantPromotion(
            account=self.account,
            tenant=TENANT,
            amount=Money(amount=cents * CENT),
            reference=str(next(self.requests)),
            reason="for the machine",
            expires_at=expires,
        )
        for _ in range(2 if twice else 1):
            self.in_transaction(promotions.grant, command, self.books.clock())
        amount = cents * CENT
        grant = OracleGrant(order=len(self.oracle.grants), amount=amount, remaining=amount, expires=expires)
        self.oracle.grants.append(grant)

    @rule(
        cents=st.integers(min_value=0, max_value=20),
        hard=st.booleans(),
        package=st.sampled_from(["", "echo", "helper"]),
    )
    def budget(self, cents: int, hard: bool, package: str) -> None:
        """A budget is set, or changed if there is one of its kind."""
        name = f"bud_{self.number}_{int(hard)}{package}"
        limit = Money(amount=cents * CENT)
        if name in self.oracle.budgets:
            change = ChangeBudget(budget=name, tenant=TENANT, limit=limit)
            self.in_transaction(budgets.change, change, self.books.clock())
            self.oracle.budgets[name].limit = limit.amount
            return
        command = CreateBudget(
            budget=name,
            tenant=TENANT,
            account=self.account,
            scope="package" if package else "account",
            target=package or None,
            period="total",
            limit=limit,
            kind="hard" if hard else "soft",
        )
        self.in_transaction(budgets.create, command, self.books.clock())
        self.oracle.budgets[name] = OracleBudget(limit=limit.amount, hard=hard)

    @rule(
        numbers=st.lists(RUNS, min_size=1, max_size=4),
        tasks=st.integers(min_value=0, max_value=8),
        calls=st.integers(min_value=0, max_value=6),
        limit=st.none() | st.integers(min_value=0, max_value=10),
    )
    def place(self, numbers: list[int], tasks: int, calls: int, limit: int | None) -> None:
        """Several runs ask for holds at once, some of them twice, perhaps with a limit of their own or a part for calls."""
        self.expire()
        before = self.balance()
        hard = any(one.hard for one in self.oracle.budgets.values())
        most = None if limit is None else Money(amount=limit * CENT)

        async def together() -> list[Hold | BaseException]:
            requests = (
                calling(
                    self.run_id(n), tasks=tasks, calls=calls, account=self.account, run_limit=most,
                    price_version="price_author" if n % 2 else "price_echo",
                )
                for n in numbers
            )  # fmt: skip
            return await asyncio.gather(
                *(self.books.holds.place(request) for request in requests), return_exceptions=True
            )

        for answer in self.books.run(together()):
            if isinstance(answer, Hold):
                self.known.add(answer.run)
                continue
            assert isinstance(answer, AgoraError), answer
            if answer.slug == "insufficient_credit":
                assert before.available < len(numbers) * (tasks + calls) * CENT
            else:
                assert answer.slug == "budget_exhausted"
                assert hard or (limit is not None and limit < tasks + calls)

    @rule(
        number=CALLED,
        caller=ANY,
        tasks=st.integers(min_value=0, max_value=5),
        calls=st.integers(min_value=0, max_value=2),
        limit=st.none() | st.integers(min_value=0, max_value=6),
        part=st.booleans(),
    )
    def call(self, number: int, caller: int, tasks: int, calls: int, limit: int | None, part: bool) -> None:
        """A run calls another: what it gets is the caller's, and none is refused that there is room for."""
        parent = self.books.rows(
            "SELECT state, calls_max - calls_taken AS left FROM holds WHERE run = :run",
            run=self.run_id(caller),
        )
        request = calling(
            self.run_id(number), tasks=tasks, calls=calls, account=self.account, parent=self.run_id(caller),
            price_version="price_helper", run_limit=None if limit is None else Money(amount=limit * CENT),
            accept_partial=Money(amount=1) if part else None,
        )  # fmt: skip
        held = self.balance().held
        hold = self.attempt(self.books.holds.place(request))
        if hold is None and self.refused == "budget_exhausted" and not part:
            hard = any(one.hard for one in self.oracle.budgets.values())
            enough = parent[0].left >= (tasks + calls) * CENT
            assert hard or not enough or (limit is not None and limit < tasks + calls)
        assert self.balance().held <= held

    @rule(number=ANY)
    def confirm(self, number: int) -> None:
        """A run confirms its hold."""
        hold = self.attempt(self.books.holds.confirm(ConfirmHold(run=self.run_id(number), tenant=TENANT)))
        assert hold is None or hold.state == "firm"

    @rule(
        number=ANY,
        cents=st.integers(min_value=1, max_value=5),
        twice=st.booleans(),
        part=st.booleans(),
        calls=st.booleans(),
        grow=st.none() | st.integers(min_value=0, max_value=3),
    )
    def increase(
        self, number: int, cents: int, twice: bool, part: bool, calls: bool, grow: int | None
    ) -> None:
        """A run asks for more, be it for calls, perhaps for what there is of it, perhaps twice by one request."""
        request = IncreaseHold(
            run=self.run_id(number),
            tenant=TENANT,
            by=Money(amount=cents * CENT),
            request=str(next(self.requests)),
            accept_partial=Money(amount=1) if part else None,
            raise_limit=None if grow is None else Money(amount=grow * CENT),
            meter="agents.cost" if calls else "model.cost",
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
            self.books.run(self.books.sealer.sweep())
            self.expire()

    @precondition(lambda self: self.known)
    @rule(
        data=st.data(),
        tasks=st.decimals(min_value=0, max_value=25, places=3),
        revisions=st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=3),
        succeeded=st.booleans(),
    )
    def close_usage(self, data: st.DataObject, tasks: Decimal, revisions: list[int], succeeded: bool) -> None:
        """A run's usage arrives, in one batch, in any order of revisions, some of them old."""
        run = data.draw(st.sampled_from(sorted(self.known)))
        outcome = "succeeded" if succeeded else "failed"
        closed = [
            usage(run, str(tasks + revision), revision=revision, outcome=outcome) for revision in revisions
        ]
        self.expire()
        hold = self.hold_of(run)
        room = self.room(hold)

        async def settle(connection: Any) -> None:
            await self.books.charges.settle(connection, [envelope(TENANT, one) for one in closed])

        self.books.run(self.books.as_system(settle))
        for one in sorted(closed, key=lambda one: one.revision):
            amount = int(one.totals[0].quantity * CENT) if succeeded else 0
            self.oracle.charge(run, one.revision, amount, room)
        assert self.hold_of(run).open == 0

    @precondition(lambda self: self.oracle.runs)
    @rule(data=st.data(), part=st.none() | st.integers(min_value=1, max_value=30 * CENT), twice=st.booleans())
    def refund(self, data: st.DataObject, part: int | None, twice: bool) -> None:
        """An operator gives back a part of a charge, or all of it, perhaps twice by one reference."""
        run = data.draw(st.sampled_from(sorted(self.oracle.runs)))
        known = self.oracle.runs[run]
        left = known.charge - known.refunded
        amount = None if part is None else Money(amount=part)
        command = RefundRun(run=run, amount=amount, reason="bad luck", reference=str(next(self.requests)))
        self.expire()
        try:
            for _ in range(2 if twice else 1):
                work = self.books.as_system(refunds.refund, self.books.prices, command, self.books.clock())
                self.books.run(work)
        except AgoraError as error:
            assert error.slug == "refund_exceeds_charge"
            assert part > left if part is not None else not left
            return
        room = Room(now=self.books.clock(), counts_in=self.hold_of(run).budgets)
        self.oracle.refund(run, left if part is None else part, room)

    def room(self, hold: HoldRow) -> Room:
        """What budgets, and the run that called it, leave for a run with this hold."""
        common: dict[str, Any] = {
            "now": self.books.clock(),
            "counts_in": hold.budgets,
            "reserved": self.reserved(),
            "held": hold.open,
            "held_elsewhere": self.balance().held - hold.open,
            "run_limit": hold.limit,
        }
        if hold.parent is None:
            return Room(**common)
        [caller] = self.books.rows(
            "SELECT state, run_limit, calls_taken, calls_max - calls_taken AS left FROM holds WHERE run = :run",
            run=hold.parent,
        )
        left = caller.left
        charged = self.oracle.runs.get(hold.parent)
        if charged is not None and caller.run_limit is not None:
            left = max(min(left, caller.run_limit - charged.customer - caller.calls_taken), 0)
        return CalledRoom(
            **common,
            taken=hold.taken,
            left=left,
            caller_in=self.hold_of(hold.parent).budgets,
            open=caller.state == "firm",
            first=hold.run not in self.oracle.runs,
        )

    # --- what must always be so ------------------------------------------------------------------

    @invariant()
    def the_account_is_as_expected(self) -> None:
        """Credit, promotional credit and receivable are what the oracle says; nothing is held that is not there."""
        balance = self.balance()
        assert (self.oracle.credit, self.oracle.promotional, self.oracle.receivable) == (
            balance.credit, balance.promotional, balance.receivable,
        )  # fmt: skip
        assert balance.available == balance.credit + balance.promotional - balance.held >= 0
        assert balance.held >= 0

    @invariant()
    def budgets_have_spent_what_is_expected(self) -> None:
        """Each budget has spent what the customers of its runs bear; a hard one never more than was allowed."""
        found = self.books.rows(
            "SELECT b.budget_id, coalesce(sum(w.spent), 0) AS spent FROM budgets b "
            "LEFT JOIN budget_windows w USING (budget_id) WHERE b.account_id = :account GROUP BY b.budget_id",
            account=self.account,
        )
        expected = {name: one.spent for name, one in self.oracle.budgets.items()}
        assert expected == {row.budget_id: row.spent for row in found}

    @invariant()
    def money_is_neither_made_nor_lost(self) -> None:
        """What came in, is owed, was given or was borne by the platform is what was charged and what is left."""
        runs: list[OracleRun] = list(self.oracle.runs.values())
        given = sum(grant.amount - grant.expired for grant in self.oracle.grants)
        borne = sum(run.by["platform"] for run in runs)
        came = self.oracle.topped_up + self.oracle.receivable + given + borne
        kept = sum(run.charge - run.refunded for run in runs)
        assert came == kept + self.oracle.credit + self.oracle.promotional

    def teardown(self) -> None:
        """At the end the account closes if nothing is held, the audit agrees, and each run was announced once."""
        [row] = self.books.rows(
            "SELECT count(*) AS open FROM holds WHERE account_id = :account AND state IN ('tentative', 'firm')",
            account=self.account,
        )
        try:
            close = CloseAccount(account=self.account, tenant=TENANT)
            self.in_transaction(accounts.close_account, close, self.books.clock())
            assert not row.open
        except AgoraError as error:
            assert (error.slug, row.open > 0) == ("holds_open", True)
        self.books.run(self.books.sealer.sweep())
        report = self.books.run(verify(self.books.database, self.account))
        assert report.ok, report.faults
        assert report.unsealed == 0
        announced = self.books.rows(
            "SELECT entity, count(*) AS times FROM outbox WHERE subject LIKE '%.billing.charge.settled' "
            "AND entity LIKE :runs GROUP BY entity",
            runs=f"run\\_{self.number}\\_%",
        )
        assert dict.fromkeys(self.oracle.runs, 1) == {row.entity: row.times for row in announced}


def test_the_books_are_right_whatever_happens(billing_urls: DatabaseUrls):
    """
    Top-ups, grants and their expiry, budgets, holds, confirmations, increases, lapses, usage and its revisions,
    refunds and closing, in any order, doubled and at once: no amount is made or lost, every cached balance is the
    sum of its entries, and the chain of hashes holds.
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
        assert MoneyMachine.books.run(verify(MoneyMachine.books.database)).ok
    finally:
        MoneyMachine.books.close()
