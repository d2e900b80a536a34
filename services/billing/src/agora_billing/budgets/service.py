"""Use cases of budgets: make, change and read them; and what a transaction on locked accounts does with them."""

from collections.abc import Iterable, Sequence
from copy import replace
from datetime import datetime

from agora_contracts.budgets import (
    BUDGETS_MAX,
    Budget,
    BudgetExhausted,
    BudgetList,
    BudgetThresholdReached,
    ChangeBudget,
    CreateBudget,
    DeleteBudget,
    GetBudget,
    ListBudgets,
)
from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError
from agora_kit.database import Database
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import store as accounts
from agora_billing.accounts.room import room_grew
from agora_billing.accounts.service import Clock, no_account
from agora_billing.budgets import model, store
from agora_billing.budgets.model import Rule, Window

_SWEEP_MAX = 500


class BudgetRefusal(AgoraError):
    """Something does not fit into a hard budget; the window is kept so that it can be told."""

    def __init__(self, window: Window, needed: int) -> None:
        problem = model.refusal(window, needed).problem
        super().__init__(problem.slug, problem.detail, errors=problem.errors)
        self.window = window
        self.needed = needed


class BudgetDesk:
    """The budget windows of the accounts that one transaction has locked, and what becomes of them.

    `events` are to be emitted, and `save` to be called, before the transaction ends.
    """

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._by_account: dict[str, list[Window]] = {}
        self._by_id: dict[int, Window] = {}
        self._of: dict[tuple[int, ...], tuple[Window, ...]] = {}
        self._applying: dict[tuple[str, str | None, str, str | None], tuple[Window, ...]] = {}
        self._changed: dict[int, Window] = {}
        self.events: list[Event] = []

    async def read_live(self, connection: AsyncConnection, locked: Iterable[str]) -> None:
        """Read the budgets of locked accounts, for what is placed now; opens their current windows."""
        found = await store.live(connection, locked, self._now)
        await store.open_windows(connection, [one for one in found if not one.id])
        for one in found:
            one = self._by_id.setdefault(one.id, one)
            self._by_account.setdefault(one.rule.account, []).append(one)

    async def read(self, connection: AsyncConnection, ids: Iterable[int]) -> None:
        """Read windows that holds of locked accounts count in already."""
        missing = set(ids) - self._by_id.keys()
        if missing:
            self._by_id.update({one.id: one for one in await store.windows(connection, missing, self._now)})

    def applying(
        self, account: str, deployment: str | None, package: str, api_key: str | None
    ) -> tuple[Window, ...]:
        """The windows in which a hold counts that is placed now, by budget."""
        key = (account, deployment, package, api_key)
        found = self._applying.get(key)
        if found is None:
            targets = {
                "account": None,
                "deployment": deployment or "",
                "package": package,
                "api_key": api_key or "",
            }
            found = tuple(
                one for one in self._by_account.get(account, ()) if one.rule.target == targets[one.rule.scope]
            )
            self._applying[key] = found
        return found

    def of(self, ids: Sequence[int]) -> tuple[Window, ...]:
        """The windows that a hold counts in."""
        key = tuple(ids)
        found = self._of.get(key)
        if found is None:
            found = self._of[key] = tuple(self._by_id[one] for one in key)
        return found

    # --- holds -----------------------------------------------------------------------------------

    def fitting(self, windows: Sequence[Window], needed: int, least: int) -> int:
        """How much of `needed` fits into every hard budget, at least `least`.

        Raises:
            BudgetRefusal: naming the budget that has less than that.
        """
        amount = needed
        for one in windows:
            if one.left < amount and one.rule.is_hard:
                left = max(one.left, 0)
                if left < least:
                    raise BudgetRefusal(one, needed)
                amount = min(amount, left)
        return amount

    def reserve(self, windows: Sequence[Window], amount: int) -> None:
        """Set `amount` aside (negative: give it back) in each window."""
        for one in windows:
            one.reserved += amount
            self._changed[one.id] = one

    def refused(self, refusal: BudgetRefusal, run: str) -> None:
        """Tell that a budget is exhausted, once per window and limit."""
        window = refusal.window
        if window.refused:
            return
        window.refused = True
        self._changed[window.id] = window
        self._tell(window, window.exhausted(run, refusal.needed, self._now), "exhausted")

    # --- charges ---------------------------------------------------------------------------------

    def room_for_charge(self, ids: Sequence[int], was_held: int, run_limit: int | None) -> int | None:
        """The most that the customer may be charged for a run, None when nothing limits it.

        What was held may be charged whatever became of the budgets since; more only as far as each hard budget
        has room.

        Args:
            was_held: what the run's hold had set aside until now.
            run_limit: the run's own limit.
        """
        left = [one.left for one in self.of(ids) if one.rule.is_hard]
        if not left:
            return run_limit
        most = was_held + max(min(left), 0)
        return most if run_limit is None else min(most, run_limit)

    def settle(self, ids: Sequence[int], was_held: int, charged: int) -> None:
        """Turn what a hold had reserved into what the customer was charged."""
        for one in self.of(ids):
            one.reserved -= was_held
            self._spend(one, charged)

    def correct(self, ids: Sequence[int], difference: int) -> None:
        """Add to what was spent by a settled run, or take off it (refunds, corrections), in its own windows."""
        for one in self.of(ids):
            self._spend(one, difference)

    def give_back(self, windows: Sequence[Window], amount: int) -> dict[int, int]:
        """Take off what was spent, as far as it was spent in these windows: what goes back may be of earlier ones.

        Returns what has changed of each window's spending, by its id.
        """
        changes = {one.id: -min(amount, one.spent) for one in windows}
        for one in windows:
            self._spend(one, changes[one.id])
        return changes

    def _spend(self, window: Window, amount: int) -> None:
        window.spent += amount
        self._changed[window.id] = window
        if window.spent >= window.tells_at:
            self.tell_thresholds(window)

    # --- telling ---------------------------------------------------------------------------------

    def tell_thresholds(self, window: Window) -> None:
        """Tell the thresholds that what is spent has reached, each once per window and limit."""
        if window.rule.deleted_at is not None:
            return
        for threshold in window.reached():
            window.told = threshold
            self._changed[window.id] = window
            self._tell(window, window.threshold_reached(threshold, self._now), f"threshold {threshold}")
        window.tells_at = window.next_tale()

    def _tell(self, window: Window, fact: BudgetExhausted | BudgetThresholdReached, what: str) -> None:
        rule = window.rule
        event_id = derived("evt", "budget", rule.id, str(rule.revision), window.starts_at.isoformat(), what)
        self.events.append(Event(tenant=rule.tenant, entity=rule.id, data=fact, id=event_id, at=self._now))

    def changed(self, window: Window) -> None:
        """Note that a window was changed from outside."""
        self._changed[window.id] = window

    async def save(self, connection: AsyncConnection) -> None:
        """Write what changed."""
        await store.save_windows(connection, list(self._changed.values()))


# --- making, changing and reading ----------------------------------------------------------------


def no_budget(budget: str) -> AgoraError:
    """The answer for a budget that is not there, or is another tenant's."""
    return AgoraError("not_found", f"there is no budget {budget[:80]!r}")


async def create(connection: AsyncConnection, command: CreateBudget, now: datetime) -> Budget:
    """Make a budget; asking again for the same id changes nothing.

    Raises:
        AgoraError: `not_found` for the account, or the run of a run's budget; `account_closed`;
            `quota_exceeded` beyond so many of an account; see also `model.created`.
    """
    account = (await accounts.lock(connection, [command.account])).get(command.account)
    if account is None:
        raise no_account(command.account)
    known = await store.current(connection, command.budget, now)
    if known is not None:
        model.check_same(known.rule, command)
        return known.shown()
    account.require_open()
    rule = model.created(command, account.currency, now)
    if await store.count(connection, account.id) >= BUDGETS_MAX:
        raise AgoraError(
            "quota_exceeded", f"an account has at most {BUDGETS_MAX} budgets; delete one that is not needed"
        )
    starts_at, ends_at = model.window_of(rule.period, rule.created_at, now)
    window = Window(id=0, rule=rule, starts_at=starts_at, ends_at=ends_at)
    await store.insert(connection, rule)
    if rule.scope == "run":
        await _attach(connection, window, now)
    return window.shown()


async def _attach(connection: AsyncConnection, window: Window, now: datetime) -> None:
    """Let a run's own budget count what its hold has reserved, or its charge."""
    run = window.rule.target or ""
    standing = await store.run_standing(connection, run)
    if standing is None or standing.account != window.rule.account:
        raise AgoraError("not_found", f"billing knows no run {run[:80]!r} on this account")
    await store.open_windows(connection, [window])
    window.reserved, window.spent = standing.reserved, standing.spent
    await store.attach(connection, run, window.id)
    desk = BudgetDesk(now)
    desk.tell_thresholds(window)
    desk.changed(window)
    await desk.save(connection)
    await emit(connection, desk.events)


async def change(connection: AsyncConnection, command: ChangeBudget, now: datetime) -> Budget:
    """Change a budget from now on; under another limit thresholds and refusals are told anew.

    Raises:
        AgoraError: `not_found`, also for a deleted one; see also `model.changed`.
    """
    window = await _locked(connection, command.budget, now)
    if window.rule.deleted_at is not None:
        raise no_budget(command.budget)
    after = model.changed(window.rule, command)
    if after is window.rule:
        return window.shown()
    await store.save(connection, after)
    before, window.rule = window.rule, after
    desk = BudgetDesk(now)
    if window.id:
        window.told, window.refused = 0, False
        desk.changed(window)
        desk.tell_thresholds(window)
        await desk.save(connection)
    if model.gives_room(before, after):
        desk.events.append(_room_grew(after, now))
    await emit(connection, desk.events)
    return window.shown()


async def delete(connection: AsyncConnection, command: DeleteBudget, now: datetime) -> Budget:
    """Delete a budget: nothing is limited by it any more. What counts in it is counted to the end.

    Raises:
        AgoraError: `not_found`.
    """
    window = await _locked(connection, command.budget, now)
    if window.rule.deleted_at is None:
        was_hard, window.rule = window.rule.is_hard, replace(window.rule, deleted_at=now)
        await store.save(connection, window.rule)
        if was_hard:
            await emit(connection, [_room_grew(window.rule, now)])
    return window.shown()


def _room_grew(rule: Rule, now: datetime) -> Event:
    deleted = "" if rule.deleted_at is None else ":deleted"
    what = f"{rule.id}:{rule.revision}{deleted}"
    return room_grew(rule.tenant, rule.account, "budget", what, now, budget=rule.id)


async def sweep(database: Database, clock: Clock) -> None:
    """Tell those who wait of days and months that are over in which a budget has refused something."""
    while True:
        now = clock()
        async with database.system() as connection:
            ended = await store.tell_ends(connection, now, _SWEEP_MAX)
            await emit(
                connection,
                [
                    room_grew(one.tenant, one.account, "window", str(one.window), now, budget=one.budget)
                    for one in ended
                ],
            )
        if len(ended) < _SWEEP_MAX:
            return


async def _locked(connection: AsyncConnection, budget: str, now: datetime) -> Window:
    """A budget in its current window, read once its account is locked."""
    found = await store.current(connection, budget, now)
    if found is None:
        raise no_budget(budget)
    await accounts.lock(connection, [found.rule.account])
    locked = await store.current(connection, budget, now)
    assert locked is not None, "a budget is never removed"
    return locked


async def read(connection: AsyncConnection, query: GetBudget, now: datetime) -> Budget:
    """Read a budget in its current window, deleted ones too.

    Raises:
        AgoraError: `not_found`.
    """
    window = await store.current(connection, query.budget, now)
    if window is None:
        raise no_budget(query.budget)
    return window.shown()


async def listed(connection: AsyncConnection, query: ListBudgets, now: datetime) -> BudgetList:
    """List an account's budgets in their current windows.

    Raises:
        AgoraError: `not_found` for the account.
    """
    if await accounts.read(connection, query.account) is None:
        raise no_account(query.account)
    return BudgetList(items=[one.shown() for one in await store.listed(connection, query.account, now)])
