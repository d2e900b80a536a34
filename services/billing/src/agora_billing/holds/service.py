"""Use cases of holds. What changes an account goes through one writer, many requests to a transaction."""

from collections.abc import Sequence
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
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunAccepted
from agora_kit.database import Database
from agora_kit.group_commit import GroupCommit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts.service import Clock
from agora_billing.holds import model, store
from agora_billing.holds.desk import NO_ROOM, Answer, Desk, Place, Write
from agora_billing.holds.desk import no_run as no_run
from agora_billing.holds.model import RunHold
from agora_billing.prices.model import policy_text
from agora_billing.prices.service import Prices

log = structlog.get_logger()

_SWEEP_MAX = 500


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
        self._writes: GroupCommit[Write, Answer] = GroupCommit(database, self._write)
        self._confirmations: GroupCommit[ConfirmHold, RunHold] = GroupCommit(database, self._make_firm)

    # --- use cases -------------------------------------------------------------------------------

    async def place(self, request: PlaceHold) -> Hold:
        """Price a run and set its quote aside: on its account, or out of the hold of the run that calls it.

        Raises:
            AgoraError: `insufficient_credit`, `budget_exhausted`, `account_closed`; `not_found` for the account or the
                calling run; `hold_closed` when that one has ended;
                `unavailable` for a price version that has not reached billing yet; see also `model.wanted`.
        """
        price, quote = await self._prices.quote(request)
        return (await self._writes.submit(Place(request, quote, price.package))).hold.reply()

    async def confirm(self, request: ConfirmHold) -> Hold:
        """Make a run's hold firm; see `Desk.confirm` for what is refused."""
        hold = await self._confirmations.submit(request)
        if hold.state != "firm":  # lapsed or settled: decided with the account locked
            hold = (await self._writes.submit(request)).hold
        return hold.reply()

    async def increase(self, request: IncreaseHold) -> Hold:
        """Set more aside for a running run, once per `request`; see `model.wanted_more`."""
        hold, increased = await self._writes.submit(request)
        return hold.reply(increased)

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
        runs = [*accepted, *{one.data.parent for one in accepted.values() if one.data.parent is not None}]
        desk = await Desk.lock(connection, named, runs, now, self._lapse, account_runs=runs)
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

    async def _write(self, connection: AsyncConnection, items: Sequence[Write]) -> list[Answer | AgoraError]:
        placed = {item.request.account for item in items if isinstance(item, Place)}
        others = [item.run for item in items if not isinstance(item, Place)]
        asked = [item.request for item in items if isinstance(item, Place)]
        runs = others + [one.run for one in asked] + [one.parent for one in asked if one.parent is not None]
        desk = await Desk.lock(connection, placed, runs, self._clock(), self._lapse, account_runs=others)
        increases = [(item.run, item.request) for item in items if isinstance(item, IncreaseHold)]
        desk.increases = await store.known_increases(connection, increases)
        results: list[Answer | AgoraError] = []
        freed = False
        for item in items:
            result = _attempt(desk, item)
            if not freed and isinstance(result, AgoraError) and result.slug in NO_ROOM:
                await desk.lapse_in_the_way(connection)
                freed = True
                result = _attempt(desk, item)
            if isinstance(result, AgoraError):
                desk.told_refused(result, item)
            results.append(result)
        await desk.save(connection)
        return results

    async def _lapse_runs(self, connection: AsyncConnection, runs: list[str], now: datetime) -> None:
        desk = await Desk.lock(connection, (), runs, now, self._lapse, account_runs=runs)
        for hold in list(desk.holds.values()):
            if hold.is_open and hold.has_lapsed(now):
                desk.let_lapse(hold)
        await desk.save(connection)
        log.info("holds lapsed", count=len(desk.changed_holds))

    async def _accept_late(
        self, connection: AsyncConnection, desk: Desk, envelope: Envelope[RunAccepted]
    ) -> None:
        run = envelope.data
        hold = desk.holds.get(run.run)
        if hold is None:
            price = (await self._prices.pinned_all(connection, [run.price_version])).get(run.price_version)
            if price is None or run.account not in desk.accounts:
                raise LookupError(f"{run.run}: account or price version of the accepted run is not known yet")
            if run.parent is not None and run.parent not in desk.holds:
                raise LookupError(f"{run.run}: the run that called it is not known yet")
            lines = Quote(
                price_version=price.id,
                basis=run.basis,
                lines=[],
                amount=run.quoted,
                policy=policy_text(price.charges),
            )
            hold = desk.put(model.unplaced(run, envelope.tenant, lines, price.package, desk.now))
        if hold.state == "settled":
            return
        try:
            desk.confirm(hold)
        except AgoraError as error:
            # The run finds out when it confirms its hold itself; should it go on, its end is settled anyway.
            log.warning("hold not placed again", run=run.run, reason=str(error))


def _attempt(desk: Desk, item: Write) -> Answer | AgoraError:
    try:
        return desk.do(item)
    except AgoraError as error:
        return error
