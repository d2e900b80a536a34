"""The accounts, holds and budgets that one transaction has locked, and what becomes of them."""

from collections.abc import Iterable, Sequence
from copy import replace
from dataclasses import dataclass
from datetime import datetime, timedelta

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
from agora_billing.holds import model, store
from agora_billing.holds.model import RunHold, Wanted
from agora_billing.promotions.service import expire_due


@dataclass(frozen=True, slots=True)
class Place:
    """A request for a hold, its quote, and the package that the quote is for."""

    request: PlaceHold
    quote: Quote
    package: str


type Write = Place | ConfirmHold | IncreaseHold

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
        self.increases: dict[tuple[str, str], int] = {}
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
        """Lock holds of accounts that are locked already, and read the budgets that they count in."""
        found = await store.lock(connection, runs)
        await self.budgets.read(connection, {one for hold in found.values() for one in hold.windows})
        for run, hold in found.items():
            self.holds.setdefault(run, hold)
        self._known |= found.keys()

    # --- requests --------------------------------------------------------------------------------

    def do(self, item: Write) -> RunHold:
        """Apply one request.

        Raises:
            AgoraError: why it is refused; nothing has changed then, but that a hold may have lapsed.
        """
        if isinstance(item, Place):
            return self._place(item)
        hold = self.holds.get(item.run)
        if hold is None or hold.tenant != item.tenant:
            raise no_run(item.run)
        return self.confirm(hold) if isinstance(item, ConfirmHold) else self._increase(hold, item)

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
        windows = self.budgets.applying(account.id, request.deployment, item.package, request.api_key)
        if known is not None:
            windows += self._of_run(known)
        amount = self._fitting(account, windows, wanted)
        self._set_aside(account, windows, amount)
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
            )
        )

    def confirm(self, hold: RunHold) -> RunHold:
        """Make a hold firm; a lapsed one is placed again under the next epoch.

        Raises:
            AgoraError: `hold_closed`, `insufficient_credit`, `budget_exhausted`.
        """
        if hold.state == "settled" or not hold.has_lapsed(self.now):
            return self.put(model.confirmed(hold))
        hold = self.let_lapse(hold)
        account = self.accounts[hold.account]
        windows = self.budgets.applying(account.id, hold.deployment, hold.package, hold.api_key)
        windows += self._of_run(hold)
        amount = self._fitting(account, windows, Wanted(hold.amount, hold.amount))
        self._set_aside(account, windows, amount)
        return self.put(model.placed_again(hold, tuple([one.id for one in windows]), self.now))

    def _increase(self, hold: RunHold, request: IncreaseHold) -> RunHold:
        asked = self.increases.get((request.run, request.request))
        if asked is not None:
            if asked != request.by.amount:
                raise AgoraError(
                    "idempotency_conflict",
                    f"request {request.request!r} increased the hold by another amount",
                )
            return hold
        wanted = model.wanted_more(hold, request)
        account, windows = self.accounts[hold.account], self.budgets.of(hold.windows)
        amount = self._fitting(account, windows, wanted)
        self._set_aside(account, windows, amount)
        key = (request.run, request.request)
        self.increases[key] = wanted.needed
        self._new_increases[key] = store.Increase(request.tenant, wanted.needed, amount)
        return self.put(replace(hold, amount=hold.amount + amount, partial=amount < wanted.needed))

    def let_lapse(self, hold: RunHold) -> RunHold:
        """Give back what a tentative hold whose time is over has set aside."""
        if not hold.is_open:
            return hold
        self._set_aside(self.accounts[hold.account], self.budgets.of(hold.windows), -hold.amount)
        return self.put(model.ended(hold, "lapsed", self.now))

    # --- what they have in common ----------------------------------------------------------------

    def _of_run(self, hold: RunHold) -> tuple[Window, ...]:
        """The windows of budgets for just this run, which stay whenever it is placed."""
        return tuple(one for one in self.budgets.of(hold.windows) if one.rule.scope == "run")

    def _fitting(self, account: Account, windows: Sequence[Window], wanted: Wanted) -> int:
        """How much of what is wanted the run's limit, the budgets and the account have room for."""
        needed, least, limit, limit_left = wanted
        amount = needed
        if limit is not None and limit_left < amount:
            if limit_left < least:
                raise budget_model.run_refusal(needed, limit_left, limit, account.currency)
            amount = limit_left
        amount = self.budgets.fitting(windows, amount, least)
        if account.available < amount and account.closed_at is None:
            amount = max(account.available, least)
        return amount

    def _set_aside(self, account: Account, windows: Sequence[Window], amount: int) -> None:
        """Hold `amount` on the account and its budgets, or give it back when it is negative."""
        after = account.set_aside(amount) if amount >= 0 else account.give_back(-amount)
        self.accounts[account.id] = after
        self._changed_accounts.add(account.id)
        self.budgets.reserve(windows, amount)

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
