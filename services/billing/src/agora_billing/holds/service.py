"""Use cases of holds. What changes an account goes through one writer, many requests to a transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from agora_contracts.billing import (
    ConfirmHold,
    Hold,
    IncreaseHold,
    ListOpenHolds,
    OpenHolds,
    PlaceHold,
    Quote,
)
from agora_contracts.envelope import Envelope
from agora_contracts.execution import RunAccepted
from agora_contracts.problems import AgoraError
from agora_kit.database import Database
from agora_kit.group_commit import GroupCommit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import store as accounts
from agora_billing.accounts.model import Account
from agora_billing.accounts.service import Clock, no_account
from agora_billing.holds import model, store
from agora_billing.holds.model import RunHold
from agora_billing.prices.model import policy_text
from agora_billing.prices.service import Prices

log = structlog.get_logger()

_SWEEP_MAX = 500


@dataclass(frozen=True, slots=True)
class _Place:
    request: PlaceHold
    quote: Quote


type _Write = _Place | ConfirmHold | IncreaseHold


def no_run(run: str) -> AgoraError:
    """The answer for a run that has no hold, or is another tenant's."""
    return AgoraError("not_found", f"billing knows no run {run[:80]!r}")


class Holds:
    """Places, confirms and increases holds, and lets unconfirmed ones lapse.

    Args:
        lapse: how long a tentative hold waits for its confirmation.
    """

    def __init__(self, database: Database, prices: Prices, clock: Clock, lapse: timedelta) -> None:
        self._database = database
        self._prices = prices
        self._clock = clock
        self._lapse = lapse
        self._writes: GroupCommit[_Write, RunHold] = GroupCommit(database, self._write)
        self._confirmations: GroupCommit[ConfirmHold, RunHold] = GroupCommit(database, self._make_firm)

    # --- use cases -------------------------------------------------------------------------------

    async def place(self, request: PlaceHold) -> Hold:
        """Price a run and set its quote aside; see `model.place` for what is refused.

        Raises:
            AgoraError: also `not_found` for the account, and `unavailable` for a price version that has
                not reached billing yet.
        """
        quote = await self._prices.quote(request)
        return (await self._writes.submit(_Place(request, quote))).reply()

    async def confirm(self, request: ConfirmHold) -> Hold:
        """Make a run's hold firm; see `model.confirm` for what is refused."""
        hold = await self._confirmations.submit(request)
        if hold.state != "firm":  # lapsed or settled: decided with the account locked
            hold = await self._writes.submit(request)
        return hold.reply()

    async def increase(self, request: IncreaseHold) -> Hold:
        """Set more aside for a running run, once per `request`; see `model.increase`."""
        return (await self._writes.submit(request)).reply()

    async def sweep(self) -> None:
        """Let tentative holds lapse whose time is over."""
        now = self._clock()
        while True:
            async with self._database.system() as connection:
                runs = await store.lapsed_runs(connection, now, _SWEEP_MAX)
                if runs:
                    await self._lapse_runs(connection, runs, now)
            if len(runs) < _SWEEP_MAX:
                return

    async def open_holds(self, query: ListOpenHolds) -> OpenHolds:
        """List open holds, oldest first."""
        async with self._database.system() as connection:
            items, total = await store.open_holds(connection, query.limit)
        return OpenHolds(items=items, total=total)

    async def accept(self, connection: AsyncConnection, envelopes: Sequence[Envelope[RunAccepted]]) -> None:
        """Confirm the holds of accepted runs, where the run itself has not come to it yet.

        A hold that lapsed meanwhile, or is missing, is placed again if the credit is there.
        """
        now = self._clock()
        accepted = {envelope.data.run: envelope for envelope in envelopes}
        known = await store.read(connection, accepted)
        if all(run in known and not known[run].has_lapsed(now) for run in accepted):
            waiting = [(run, hold.tenant) for run, hold in known.items() if hold.state == "tentative"]
            if waiting:
                await store.make_firm(connection, waiting, now)
            return
        named = {envelope.data.account for envelope in envelopes}
        runs = list(accepted)
        desk = await _Desk.lock(connection, named, runs, now, self._lapse, account_runs=runs)
        for envelope in accepted.values():
            await self._accept_late(connection, desk, envelope)
        await desk.save(connection)

    # --- writing ---------------------------------------------------------------------------------

    async def _make_firm(
        self, connection: AsyncConnection, requests: Sequence[ConfirmHold]
    ) -> list[RunHold | AgoraError]:
        await store.make_firm(connection, [(one.run, one.tenant) for one in requests], self._clock())
        holds = await store.read(connection, [one.run for one in requests])
        own = {(hold.run, hold.tenant): hold for hold in holds.values()}
        return [own.get((one.run, one.tenant)) or no_run(one.run) for one in requests]

    async def _write(
        self, connection: AsyncConnection, items: Sequence[_Write]
    ) -> list[RunHold | AgoraError]:
        placed = {item.request.account for item in items if isinstance(item, _Place)}
        others = [item.run for item in items if not isinstance(item, _Place)]
        runs = others + [item.request.run for item in items if isinstance(item, _Place)]
        desk = await _Desk.lock(connection, placed, runs, self._clock(), self._lapse, account_runs=others)
        increases = [(item.run, item.request) for item in items if isinstance(item, IncreaseHold)]
        desk.increases = await store.known_increases(connection, increases)
        results: list[RunHold | AgoraError] = []
        for item in items:
            try:
                results.append(desk.do(item))
            except AgoraError as error:
                results.append(error)
        await desk.save(connection)
        return results

    async def _lapse_runs(self, connection: AsyncConnection, runs: list[str], now: datetime) -> None:
        desk = await _Desk.lock(connection, (), runs, now, self._lapse, account_runs=runs)
        for hold in list(desk.holds.values()):
            if hold.is_open and hold.has_lapsed(now):
                desk.put(*model.end(desk.accounts[hold.account], hold, "lapsed", now))
        await desk.save(connection)
        log.info("holds lapsed", count=len(desk.changed_holds))

    async def _accept_late(
        self, connection: AsyncConnection, desk: "_Desk", envelope: Envelope[RunAccepted]
    ) -> None:
        run = envelope.data
        hold = desk.holds.get(run.run)
        if hold is None:
            price = (await self._prices.pinned_all(connection, [run.price_version])).get(run.price_version)
            if price is None or run.account not in desk.accounts:
                raise LookupError(f"{run.run}: account or price version of the accepted run is not known yet")
            lines = Quote(
                price_version=price.id,
                basis=run.basis,
                lines=[],
                amount=run.quoted,
                policy=policy_text(price.charges),
            )
            hold = model.unplaced(run, envelope.tenant, lines, desk.now)
            desk.put(desk.accounts[run.account], hold)
        if hold.state == "settled":
            return
        try:
            desk.put(*model.confirm(desk.accounts[hold.account], hold, desk.now))
        except AgoraError as error:
            # The run finds out when it confirms its hold itself; should it go on, its end is settled anyway.
            log.warning("hold not placed again", run=run.run, reason=str(error))


class _Desk:
    """The accounts and holds that one transaction has locked, and what has become of them."""

    def __init__(
        self, accounts: dict[str, Account], holds: dict[str, RunHold], now: datetime, lapse: timedelta
    ) -> None:
        self.accounts = accounts
        self.holds = holds
        self.now = now
        self.increases: dict[tuple[str, str], int] = {}
        self._lapse = lapse
        self._known = set(holds)
        self._new_increases: dict[tuple[str, str], tuple[str, int]] = {}
        self._changed_accounts: set[str] = set()
        self.changed_holds: set[str] = set()

    @classmethod
    async def lock(
        cls,
        connection: AsyncConnection,
        ids: Sequence[str] | set[str],
        runs: Sequence[str],
        now: datetime,
        lapse: timedelta,
        *,
        account_runs: Sequence[str] = (),
    ) -> "_Desk":
        """Lock accounts (by id, or by the runs in `account_runs`), then the holds of `runs`."""
        locked = await accounts.lock(connection, ids, account_runs)
        return cls(locked, await store.lock(connection, runs), now, lapse)

    def do(self, item: _Write) -> RunHold:
        """Apply one request.

        Raises:
            AgoraError: why it is refused; nothing has changed then.
        """
        if isinstance(item, _Place):
            return self._place(item)
        hold = self.holds.get(item.run)
        if hold is None or hold.tenant != item.tenant:
            raise no_run(item.run)
        account = self.accounts[hold.account]
        if isinstance(item, ConfirmHold):
            return self.put(*model.confirm(account, hold, self.now))
        known = self.increases.get((item.run, item.request))
        if known is not None:
            if known != item.by.amount:
                raise AgoraError(
                    "idempotency_conflict", f"request {item.request!r} increased the hold by another amount"
                )
            return hold
        after = model.increase(account, hold, item)
        self.increases[item.run, item.request] = item.by.amount
        self._new_increases[item.run, item.request] = (item.tenant, item.by.amount)
        return self.put(*after)

    def _place(self, item: _Place) -> RunHold:
        request = item.request
        account = self.accounts.get(request.account)
        if account is None or account.tenant != request.tenant:
            raise no_account(request.account)
        known = self.holds.get(request.run)
        if known is not None and known.tenant != request.tenant:
            raise no_run(request.run)
        return self.put(*model.place(account, known, request, item.quote, self.now, self._lapse))

    def put(self, account: Account, hold: RunHold) -> RunHold:
        """Take over what a rule decided."""
        if self.accounts.get(account.id) != account:
            self.accounts[account.id] = account
            self._changed_accounts.add(account.id)
        if self.holds.get(hold.run) is not hold:
            self.holds[hold.run] = hold
            self.changed_holds.add(hold.run)
        return hold

    async def save(self, connection: AsyncConnection) -> None:
        """Write what changed."""
        changed = [self.holds[run] for run in self.changed_holds]
        await accounts.save(connection, [self.accounts[one] for one in self._changed_accounts])
        await store.insert(connection, [hold for hold in changed if hold.run not in self._known])
        await store.save(connection, [hold for hold in changed if hold.run in self._known])
        await store.insert_increases(connection, self._new_increases, self.now)
