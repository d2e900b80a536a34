"""The accounts, holds and budgets that one transaction has locked, and what becomes of them."""

from collections.abc import Iterable, Sequence
from copy import replace
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from agora_contracts.billing import ConfirmHold, IncreaseHold, PlaceHold, Quote
from agora_contracts.problems import AgoraError
from agora_kit.outbox import emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import store as accounts
from agora_billing.accounts.model import Account
from agora_billing.accounts.service import no_account
from agora_billing.budgets import model as budget_model
from agora_billing.budgets.model import Window
from agora_billing.budgets.service import BudgetDesk, BudgetRefusal
from agora_billing.holds import calls, model, store
from agora_billing.holds.model import RunHold, Wanted
from agora_billing.promotions.service import expire_due


@dataclass(frozen=True, slots=True)
class Place:
    """A request for a hold, its quote, and the package that the quote is for."""

    request: PlaceHold
    quote: Quote
    package: str


type Write = Place | ConfirmHold | IncreaseHold


class Answer(NamedTuple):
    """A hold after a request, and what the request has added to it, if it asked for more."""

    hold: RunHold
    increased: int | None = None


NO_ROOM = frozenset({"insufficient_credit", "budget_exhausted"})
"""Refusals that holds whose time is over may be in the way of."""


def no_run(run: str) -> AgoraError:
    """The answer for a run that has no hold, or is another tenant's."""
    return AgoraError("not_found", f"billing knows no run {run[:80]!r}")


class Desk:
    """Decides on holds of locked accounts, one request after the other, and writes what has come of it."""

    def __init__(
        self,
        accounts: dict[str, Account],
        holds: dict[str, RunHold],
        budgets: BudgetDesk,
        now: datetime,
        lapse: timedelta,
    ) -> None:
        self.accounts = accounts
        self.holds = holds
        self.budgets = budgets
        self.now = now
        self.increases: dict[tuple[str, str], store.Increase] = {}
        self.changed_holds: set[str] = set()
        self._lapses_at = now + lapse
        self._known = set(holds)
        self._changed_accounts: set[str] = set()
        self._new_increases: dict[tuple[str, str], store.Increase] = {}

    @classmethod
    async def lock(
        cls,
        connection: AsyncConnection,
        ids: Iterable[str],
        runs: Sequence[str],
        now: datetime,
        lapse: timedelta,
        *,
        account_runs: Sequence[str] = (),
    ) -> "Desk":
        """Lock accounts (by id, or by the runs in `account_runs`), then the holds of `runs`; read their budgets."""
        locked = await accounts.lock(connection, ids, account_runs)
        await expire_due(connection, locked, now)
        budgets = BudgetDesk(now)
        await budgets.read_live(connection, locked)
        desk = cls(locked, {}, budgets, now, lapse)
        await desk.lock_holds(connection, runs)
        return desk

    async def lock_holds(self, connection: AsyncConnection, runs: Iterable[str]) -> None:
        """Lock holds of accounts that are locked already and those of their parents; read the budgets they count in."""
        found = await store.lock_with_parents(connection, runs, self.holds)
        await self.budgets.read(connection, {one for hold in found.values() for one in hold.windows})
        for run, hold in found.items():
            self.holds.setdefault(run, hold)
        self._known |= found.keys()

    # --- requests --------------------------------------------------------------------------------

    def do(self, item: Write) -> Answer:
        """Apply one request.

        Raises:
            AgoraError: why it is refused; nothing has changed then, but that a hold may have lapsed.
        """
        if isinstance(item, Place):
            return Answer(self._place(item))
        hold = self.holds.get(item.run)
        if hold is None or hold.tenant != item.tenant:
            raise no_run(item.run)
        if isinstance(item, ConfirmHold):
            return Answer(self.confirm(hold))
        return self._increase(hold, item)

    def _place(self, item: Place) -> RunHold:
        request = item.request
        account = self.accounts.get(request.account)
        if account is None or account.tenant != request.tenant:
            raise no_account(request.account)
        known = self.holds.get(request.run)
        if known is not None:
            if known.tenant != request.tenant:
                raise no_run(request.run)
            model.check_known(known, request)
            if not known.has_lapsed(self.now):
                return known
            known = self.let_lapse(known)
            account = self.accounts[known.account]
        wanted = model.wanted(account, known, request, item.quote)
        parent = None
        if request.parent is not None:
            parent = calls.require_caller(
                self.holds.get(request.parent), request.run, request.tenant, request.account
            )
        windows = self._windows(account, request.deployment, item.package, request.api_key, parent, known)
        amount = self._fitting(account, windows, wanted, parent)
        self._set_aside(account, windows, amount, parent)
        return self.put(
            model.placed(
                account,
                known,
                request,
                item.quote,
                item.package,
                tuple([one.id for one in windows]),
                amount,
                self.now,
                self._lapses_at,
                calls_max=calls.part_for_calls(item.quote, amount),
            )
        )

    def confirm(self, hold: RunHold) -> RunHold:
        """Make a hold firm; a lapsed one is placed again under the next epoch.

        Raises:
            AgoraError: `hold_closed`, also where the run that called it has ended; `insufficient_credit`,
                `budget_exhausted`.
        """
        if hold.state == "settled" or not hold.has_lapsed(self.now):
            return self.put(model.confirmed(hold))
        hold = self.let_lapse(hold)
        account, parent = self.accounts[hold.account], self._caller(hold)
        windows = self._windows(account, hold.deployment, hold.package, hold.api_key, parent, hold)
        amount = self._fitting(account, windows, Wanted(hold.amount, hold.amount), parent)
        self._set_aside(account, windows, amount, parent)
        return self.put(model.placed_again(hold, tuple([one.id for one in windows]), self.now))

    def _increase(self, hold: RunHold, request: IncreaseHold) -> Answer:
        asked = self.increases.get((request.run, request.request))
        if asked is not None:
            if asked.asked != request.by.amount:
                raise AgoraError(
                    "idempotency_conflict",
                    f"request {request.request!r} increased the hold by another amount",
                )
            return Answer(hold, asked.amount)
        wanted = model.wanted_more(hold, request)
        account, parent = self.accounts[hold.account], self._caller(hold)
        windows = self.budgets.of(hold.windows)
        try:
            amount = self._fitting(account, windows, wanted, parent)
        except BudgetRefusal:
            current = self._current(hold, windows)
            if not current:
                raise
            hold, amount = self._moved(hold, windows, current, account, wanted)
            windows = current
        self._set_aside(account, windows, amount, parent)
        key = (request.run, request.request)
        self.increases[key] = self._new_increases[key] = store.Increase(request.tenant, wanted.needed, amount)
        after = model.increased(hold, request, amount)
        return Answer(self.put(after if parent is None else calls.taken(after, amount)), amount)

    def _current(self, hold: RunHold, windows: Sequence[Window]) -> tuple[Window, ...]:
        """The windows of a hold's budgets that have begun since it was placed; none where nothing has changed.

        What called runs have taken is reserved in the windows of old: such a hold stays in them.
        """
        if hold.parent is not None or hold.calls_max or all(not one.is_over(self.now) for one in windows):
            return ()
        live = {
            one.rule.id: one
            for one in self.budgets.applying(hold.account, hold.deployment, hold.package, hold.api_key)
        }
        return tuple(live.get(one.rule.id, one) if one.is_over(self.now) else one for one in windows)

    def _moved(
        self,
        hold: RunHold,
        old: Sequence[Window],
        current: Sequence[Window],
        account: Account,
        wanted: Wanted,
    ) -> tuple[RunHold, int]:
        """Let a whole hold count in the windows that have begun since, where it fits with what it wants more.

        Raises:
            AgoraError: it does not; the hold stays in the windows of old.
        """
        self._move(current, old, hold.amount)
        try:
            amount = self._fitting(account, current, wanted, None)
            account.set_aside(amount)  # refused before anything is moved for good
        except AgoraError:
            self._move(old, current, hold.amount)
            raise
        return replace(hold, windows=tuple([one.id for one in current])), amount

    def let_lapse(self, hold: RunHold) -> RunHold:
        """Give back what a tentative hold whose time is over has set aside."""
        if not hold.is_open:
            return hold
        windows, parent = self.budgets.of(hold.windows), self._parent(hold)
        if parent is not None:
            self.put(calls.returned(parent, hold.amount))
        if parent is not None and parent.is_open:
            self._move(self.budgets.of(parent.windows), windows, hold.amount)
        else:
            self._set_aside(self.accounts[hold.account], windows, -hold.amount)
        after = hold if parent is None else calls.taken(hold, -hold.amount)
        return self.put(model.ended(after, "lapsed", self.now))

    # --- what they have in common ----------------------------------------------------------------

    def _windows(
        self,
        account: Account,
        deployment: str | None,
        package: str,
        api_key: str | None,
        parent: RunHold | None,
        known: RunHold | None,
    ) -> tuple[Window, ...]:
        """The windows in which a hold counts that is placed now.

        One that is carved out of its parent's stays in the windows of that one, where it is reserved already, and
        counts in the budgets of its own package and rental besides. Budgets for just this run stay, whenever it is
        placed.
        """
        found = self.budgets.applying(account.id, deployment, package, api_key)
        if parent is not None:
            inherited = self.budgets.of(parent.windows)
            limited = {one.rule.id for one in inherited}
            found = inherited + tuple(
                one
                for one in found
                if one.rule.scope in ("package", "deployment") and one.rule.id not in limited
            )
        if known is None:
            return found
        there = {one.id for one in found}
        return found + tuple(
            one for one in self.budgets.of(known.windows) if one.rule.scope == "run" and one.id not in there
        )

    def _parent(self, hold: RunHold) -> RunHold | None:
        """The hold that this one was carved out of."""
        return None if hold.parent is None else self.holds[hold.parent]

    def _caller(self, hold: RunHold) -> RunHold | None:
        """The firm hold that a called run's takes more of; None for a run that was not called.

        Raises:
            AgoraError: `hold_closed`, when the run that called it has ended.
        """
        if hold.parent is None:
            return None
        return calls.require_caller(self.holds.get(hold.parent), hold.run, hold.tenant, hold.account)

    def _fitting(
        self, account: Account, windows: Sequence[Window], wanted: Wanted, parent: RunHold | None
    ) -> int:
        """How much of what is wanted the run's limit, the budgets and the account (or its parent) have room for."""
        needed, least, limit, limit_left = wanted
        amount = needed
        if limit is not None and limit_left < amount:
            if limit_left < least:
                raise budget_model.run_refusal(needed, limit_left, limit, account.currency)
            amount = limit_left
        if parent is None:
            amount = self.budgets.fitting(windows, amount, least)
            if account.available < amount and account.closed_at is None:
                amount = max(account.available, least)
            return amount
        inherited = set(parent.windows)
        own = [one for one in windows if one.id not in inherited]
        amount = self.budgets.fitting(own, amount, least)
        if parent.calls_left < amount:
            if parent.calls_left < least:
                raise calls.refusal(parent, needed)
            amount = parent.calls_left
        return amount

    def _set_aside(
        self, account: Account, windows: Sequence[Window], amount: int, parent: RunHold | None = None
    ) -> None:
        """Hold `amount` on the account and its budgets (negative: give it back), or carve it out of the parent's hold."""
        if parent is not None:
            self.put(calls.carved(parent, amount))
            self._move(windows, self.budgets.of(parent.windows), amount)
            return
        after = account.set_aside(amount) if amount >= 0 else account.give_back(-amount)
        self.accounts[account.id] = after
        self._changed_accounts.add(account.id)
        self.budgets.reserve(windows, amount)

    def _move(self, to: Sequence[Window], of: Sequence[Window], amount: int) -> None:
        """Let what one hold had reserved count where another does; budgets that both count in stay as they are."""
        both = {one.id for one in to} & {one.id for one in of}
        self.budgets.reserve([one for one in to if one.id not in both], amount)
        self.budgets.reserve([one for one in of if one.id not in both], -amount)

    def put(self, hold: RunHold) -> RunHold:
        """Take over what a rule decided."""
        if self.holds.get(hold.run) is not hold:
            self.holds[hold.run] = hold
            self.changed_holds.add(hold.run)
        return hold

    async def lapse_in_the_way(self, connection: AsyncConnection) -> None:
        """Let the holds of the locked accounts lapse whose time is over, before anything is refused for them."""
        runs = await store.lapsed_of(connection, self.accounts, self.now)
        await self.lock_holds(connection, runs)
        for run in runs:
            hold = self.holds[run]
            if hold.is_open and hold.has_lapsed(self.now):
                self.let_lapse(hold)

    def told_refused(self, error: AgoraError, item: Write) -> None:
        """Tell that a budget is exhausted, when it is that which refused a request."""
        if isinstance(error, BudgetRefusal):
            self.budgets.refused(error, item.request.run if isinstance(item, Place) else item.run)

    async def save(self, connection: AsyncConnection) -> None:
        """Write what changed."""
        changed = [self.holds[run] for run in self.changed_holds]
        await accounts.save(connection, [self.accounts[one] for one in self._changed_accounts])
        await self.budgets.save(connection)
        await store.insert(connection, [hold for hold in changed if hold.run not in self._known])
        await store.save(connection, [hold for hold in changed if hold.run in self._known])
        await store.insert_increases(connection, self._new_increases, self.now)
        await emit(connection, self.budgets.events)
