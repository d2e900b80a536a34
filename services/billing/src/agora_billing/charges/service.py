"""Use cases of charges: settle ended runs, and adjust what was settled."""

from collections.abc import Sequence
from copy import replace
from datetime import datetime

import structlog
from agora_contracts.billing import ChargeAdjusted, ChargeSettled
from agora_contracts.envelope import Envelope
from agora_contracts.ids import derived
from agora_contracts.metering import RunUsageClosed
from agora_contracts.money import Money, format_amount
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import store as accounts
from agora_billing.accounts.model import Account
from agora_billing.accounts.service import Clock
from agora_billing.budgets.service import BudgetDesk
from agora_billing.charges import calls, model, split, store
from agora_billing.charges.inputs import ChargeInputs
from agora_billing.charges.memory import Memory
from agora_billing.charges.model import NOBODY, Funding, Owed
from agora_billing.charges.split import earned
from agora_billing.charges.store import Charge
from agora_billing.holds import model as hold_model
from agora_billing.holds import store as holds
from agora_billing.holds.model import RunHold
from agora_billing.ledger import store as ledger
from agora_billing.ledger.model import Ledger, Posting, PostingKind, posting_id
from agora_billing.periods import booking
from agora_billing.periods.desk import PeriodDesk
from agora_billing.prices.model import PriceVersion
from agora_billing.prices.service import Prices
from agora_billing.promotions import service as promotions
from agora_billing.promotions.service import Grants

log = structlog.get_logger()


class UnknownRun(Exception):
    """Usage of a run whose acceptance has not reached billing yet: the event is handed back and comes again."""


class Charges:
    """Settles and adjusts what runs owe."""

    def __init__(self, prices: Prices, clock: Clock) -> None:
        self._prices = prices
        self._clock = clock
        self._memory = Memory()

    async def settle(
        self, connection: AsyncConnection, envelopes: Sequence[Envelope[RunUsageClosed]]
    ) -> None:
        """Charge ended runs, each revision of a run's usage once; an older revision changes nothing.

        Raises:
            UnknownRun: billing has neither a hold nor the acceptance of one of the runs.
        """
        runs = sorted({envelope.data.run for envelope in envelopes})
        now = self._clock()
        locked = await accounts.lock(connection, (), runs)
        await promotions.expire_due(connection, locked, now)
        held = await holds.lock_with_parents(connection, runs)
        known = await store.latest(connection, held)
        prices = await self._prices.pinned_all(connection, {hold.price_version for hold in held.values()})
        budgets = BudgetDesk(now)
        await budgets.read(connection, {one for hold in held.values() for one in hold.windows})
        periods = await PeriodDesk.read(connection, held.values(), prices, known)
        spent_before = [run for run, charge in known.items() if charge.funding.promotional]
        of_months = [payer for run in spent_before for payer in periods.payers.get(run, ())]
        grants = await Grants.read(connection, locked, [*spent_before, *of_months], now)
        batch = _Batch(locked, held, known, prices, grants, budgets, periods, self._memory, now)
        # A run's revisions in their order, so that one batch that holds several books each of them.
        for envelope in sorted(envelopes, key=lambda one: one.data.revision):
            batch.charge(envelope)
        await batch.save(connection)
        if left := periods.open_ends():
            await booking.book(connection, left, await self._prices.of_periods(connection, left), now)


class _Batch:
    """What one transaction has locked, and what is to be written at its end."""

    def __init__(
        self,
        accounts: dict[str, Account],
        holds: dict[str, RunHold],
        known: dict[str, Charge],
        prices: dict[str, PriceVersion],
        grants: Grants,
        budgets: BudgetDesk,
        periods: PeriodDesk,
        memory: Memory,
        now: datetime,
    ) -> None:
        self._accounts = accounts
        self._holds = holds
        self._known = known
        self._prices = prices
        self._grants = grants
        self._budgets = budgets
        self._periods = periods
        self._memory = memory
        self._now = now
        self._changed_accounts: set[str] = set()
        self._ended: list[RunHold] = []
        self._changed_holds: set[str] = set()
        self._charges: list[Charge] = []
        self._postings: list[Posting] = []
        self._events: list[Event] = []

    def charge(self, envelope: Envelope[RunUsageClosed]) -> None:
        """Book one revision of a run's usage."""
        usage = envelope.data
        hold = self._holds.get(usage.run)
        if hold is None or hold.tenant != envelope.tenant:
            raise UnknownRun(f"billing knows no run {usage.run} of {envelope.tenant} (yet)")
        before = self._known.get(usage.run)
        if before is not None and before.revision >= usage.revision:
            return
        price = self._prices[hold.price_version]
        standings = self._periods.standings(
            price, hold, before.lines if before else (), before.amount if before else 0
        )
        owed = self._memory.owed(price, hold, usage, standings)
        windows = {meter: standings[meter] for meter in owed.shares}
        for meter, share in owed.shares.items():
            self._periods.count(hold, windows[meter].period, share)
        inputs = ChargeInputs(usage=usage, windows=windows)
        expired = 0
        if before is None:
            after = self._settle(hold, inputs, owed)
        else:
            after, expired = self._adjust(hold, inputs, owed, before)
        self._periods.paid([one.period for one in standings.values()], after.difference)
        self._known[usage.run] = after
        self._charges.append(after)
        self._post(after, hold, price, before, expired)

    def _settle(self, hold: RunHold, inputs: ChargeInputs, owed: Owed) -> Charge:
        if hold.parent is not None:
            return self._settle_called(hold, self._holds[hold.parent], inputs, owed)
        was_held = hold.amount if hold.is_open else 0
        account, ended = hold_model.end(self._accounts[hold.account], hold, "settled", self._now)
        most = self._budgets.room_for_charge(hold.windows, was_held, hold.own_limit)
        account, funding = model.take(account, owed.rated.amount, most)
        self._budgets.settle(hold.windows, was_held, funding.by_customer)
        self._holds[hold.run] = ended
        self._ended.append(ended)
        self._keep(self._grants.spend(account, hold.run, funding.promotional))
        return self._charge_of(hold, inputs, owed, funding, released=max(was_held - owed.rated.amount, 0))

    def _settle_called(self, hold: RunHold, parent: RunHold, inputs: ChargeInputs, owed: Owed) -> Charge:
        """Settle a run that another one has called: what it leaves goes back to that one's hold, while it is open."""
        was_held = hold.amount if hold.is_open else 0
        account, ended = hold_model.end(self._accounts[hold.account], hold, "settled", self._now)
        most = self._most_of_called(hold, parent, was_held, was_held, hold.own_limit)
        paid = calls.pay(account, ended, parent, owed.rated.amount, was_held, most)
        self._budgets.settle(hold.windows, was_held, paid.funding.by_customer)
        back = max(was_held - paid.funding.by_customer, 0)
        if parent.is_open:
            self._budgets.reserve(self._budgets.of(parent.windows), back - paid.moved)
        paid = calls.give_back(paid, back)
        self._keep_called(paid)
        self._keep(self._grants.spend(paid.account, hold.run, paid.funding.promotional))
        released = max(was_held - owed.rated.amount, 0)
        return self._charge_of(hold, inputs, owed, paid.funding, released=released)

    def _charge_more(self, hold: RunHold, parent: RunHold, before: Charge, more: int) -> Funding:
        """Charge a called run more than before: first what it had taken of its parent and not spent."""
        spent = before.funding.minus(before.refunded).by_customer
        own = max(hold.from_parent - hold.calls_taken - spent, 0)
        limit = None if hold.own_limit is None else max(hold.own_limit - spent, 0)
        if parent.is_open:
            # That went back to the account and is not reserved any more, as what the parent has left for calls is.
            free = self._budgets.room_for_charge(hold.windows, 0, None)
            own = own if free is None else min(own, free)
        most = self._most_of_called(hold, parent, own, 0, limit)
        paid = calls.pay(self._accounts[hold.account], hold, parent, more, own, most)
        if parent.is_open:
            self._budgets.reserve(self._budgets.of(parent.windows), -paid.moved)
        self._keep_called(paid)
        self._keep(self._grants.spend(paid.account, hold.run, paid.funding.promotional))
        return paid.funding

    def _most_of_called(
        self, hold: RunHold, parent: RunHold, own: int, was_held: int, limit: int | None
    ) -> int:
        """The most that the customer of a called run may be charged (more)."""
        charged = self._known.get(parent.run)
        spent = charged.funding.minus(charged.refunded).by_customer if charged else None
        # In the budgets of its parent all of it is reserved already, while that is open.
        reserved = set(parent.windows) if parent.is_open else set()
        counted = [one for one in hold.windows if one not in reserved]
        most = self._budgets.room_for_charge(counted, was_held, limit)
        bound = own + calls.room(parent, spent)
        return bound if most is None else min(most, bound)

    def _keep_called(self, paid: calls.Paid) -> None:
        for hold in (paid.called, paid.parent):
            self._holds[hold.run] = hold
            self._changed_holds.add(hold.run)

    def _adjust(self, hold: RunHold, inputs: ChargeInputs, owed: Owed, before: Charge) -> tuple[Charge, int]:
        """The corrected charge, and what of promotional credit that came back has expired."""
        account, expired = self._accounts[hold.account], 0
        difference = max(owed.rated.amount, before.refunded.total) - before.amount
        if difference >= 0 and hold.parent is not None:
            change = self._charge_more(hold, self._holds[hold.parent], before, difference)
            account = self._accounts[hold.account]
        elif difference >= 0:
            account, change = model.take(account, difference, self._room_for_more(hold, before))
            account = self._grants.spend(account, hold.run, change.promotional)
        else:
            paid = before.funding.minus(before.refunded)
            account, change = model.return_to(account, paid, -difference)
            # Of its month's spending, of which the month may have given back what was this run's.
            others = [one for one in self._periods.payers.get(hold.run, ()) if one != hold.run]
            account, expired = self._grants.give_back(account, hold.run, -change.promotional, of=others)
        self._keep(account)
        self._budgets.correct(hold.windows, change.by_customer)
        funding = before.funding.plus(change)
        after = self._charge_of(hold, inputs, owed, funding, released=before.released, before=before)
        return after, expired

    def _room_for_more(self, hold: RunHold, before: Charge) -> int | None:
        """What hard budgets let the customer pay beyond what was charged before."""
        paid = before.funding.minus(before.refunded).by_customer
        left = None if hold.own_limit is None else max(hold.own_limit - paid, 0)
        return self._budgets.room_for_charge(hold.windows, 0, left)

    def _charge_of(
        self,
        hold: RunHold,
        inputs: ChargeInputs,
        owed: Owed,
        funding: Funding,
        *,
        released: int,
        before: Charge | None = None,
    ) -> Charge:
        usage = inputs.usage
        was = before.amount if before else None
        refunded = before.refunded if before else NOBODY
        return Charge(
            run=hold.run,
            revision=usage.revision,
            tenant=hold.tenant,
            account=hold.account,
            kind="settled" if before is None else "adjusted",
            currency=hold.currency,
            amount=funding.total,
            difference=funding.total - (was or 0),
            funding=funding,
            refunded=refunded,
            released=released,
            lines=owed.rated.lines,
            inputs=inputs,
            explanation=self._memory.explained(
                hold, owed, funding, released, was, refunded.total, self._returns_to(hold)
            ),
            outcome=usage.outcome,
            deliverable=usage.deliverable,
            at=self._now,
        )

    def _returns_to(self, hold: RunHold) -> str:
        """Where what a run leaves of its hold goes, in words."""
        parent = None if hold.parent is None else self._holds[hold.parent]
        return "the account" if parent is None or not parent.is_open else "the run that called it"

    def _keep(self, account: Account) -> None:
        self._accounts[account.id] = account
        self._changed_accounts.add(account.id)

    def _post(
        self, charge: Charge, hold: RunHold, price: PriceVersion, before: Charge | None, expired: int
    ) -> None:
        change = charge.funding.minus(before.funding) if before else charge.funding
        if change.platform > 0:
            log.error(
                "platform bears a part of a charge",
                alarm="platform_cost",
                run=charge.run,
                account=charge.account,
                amount=format_amount(change.platform),
                currency=charge.currency,
            )
        moved = _earned_by(charge, price, before)
        # A correction may leave the amount and move only who earns it.
        if charge.difference or moved:
            self._postings.append(self._posting(charge, hold, price, model.entries(change, moved, expired)))
        self._events.append(_event(charge, hold))

    def _posting(
        self, charge: Charge, hold: RunHold, price: PriceVersion, entries: dict[Ledger, int]
    ) -> Posting:
        settled = charge.kind == "settled"
        kind = PostingKind.CHARGE if settled else PostingKind.ADJUSTMENT
        cause = charge.run if settled else f"{charge.run}:{charge.revision}"
        account = self._accounts[charge.account]
        account = replace(account, postings=account.postings + 1)
        self._keep(account)
        what = f"{price.package} {price.version} by {hold.basis}"
        return Posting(
            id=posting_id(kind, cause),
            tenant=charge.tenant,
            account=charge.account,
            number=account.postings,
            currency=charge.currency,
            kind=kind,
            cause=cause,
            description=what if settled else f"{what}, usage corrected (revision {charge.revision})",
            run=charge.run,
            author=price.author,
            credit_after=account.credit,
            promotional_after=account.promotional,
            at=charge.at,
            entries=entries,
        )

    async def save(self, connection: AsyncConnection) -> None:
        """Write everything, set-based: one statement per table."""
        await accounts.save(connection, [self._accounts[one] for one in sorted(self._changed_accounts)])
        await self._grants.save(connection)
        await holds.save_ends(connection, self._ended)
        await holds.save(connection, [self._holds[run] for run in sorted(self._changed_holds)])
        await ledger.insert(connection, self._postings)
        await store.insert(connection, self._charges)
        await self._budgets.save(connection)
        await self._periods.save(connection)
        await emit(connection, self._events + self._budgets.events)


def _earned_by(charge: Charge, price: PriceVersion, before: Charge | None) -> dict[Ledger, int]:
    refunded = charge.refunded.total
    after = earned(charge.amount, charge.lines, price.author_share, refunded)
    if before is None:
        return after
    return split.change(earned(before.amount, before.lines, price.author_share, refunded), after)


def _event(charge: Charge, hold: RunHold) -> Event:
    def money(amount: int) -> Money:
        return Money(amount=amount, currency=charge.currency)

    fact: ChargeSettled | ChargeAdjusted
    if charge.kind == "settled":
        fact = ChargeSettled(
            run=charge.run,
            account=charge.account,
            revision=charge.revision,
            lines=charge.lines,
            amount=money(charge.amount),
            released=money(charge.released),
            quoted=money(hold.quoted),
            explanation=charge.explanation,
            platform_cost=money(charge.funding.platform),
            at=charge.at,
        )
    else:
        fact = ChargeAdjusted(
            run=charge.run,
            account=charge.account,
            revision=charge.revision,
            lines=charge.lines,
            amount=money(charge.amount),
            difference=money(charge.difference),
            cause=f"usage revision {charge.revision}",
            at=charge.at,
        )
    event_id = derived("evt", "charge", charge.run, str(charge.revision))
    return Event(tenant=charge.tenant, entity=charge.run, data=fact, id=event_id, at=charge.at)
