"""Use cases of refunds. Each is one transaction of the system role: an operator acts for any tenant."""

from collections.abc import Sequence
from copy import replace
from dataclasses import dataclass
from datetime import datetime

from agora_contracts.ids import derived
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.refunds import ChargeRefunded, ListRefunds, RefundList, RefundResult, RefundRun
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import store as accounts
from agora_billing.accounts.model import Account
from agora_billing.accounts.room import room_grew
from agora_billing.budgets.service import BudgetDesk
from agora_billing.charges import model as charge_model
from agora_billing.charges import split
from agora_billing.charges import store as charges
from agora_billing.charges.model import Funding
from agora_billing.charges.store import Charge
from agora_billing.holds import store as holds
from agora_billing.holds.service import no_run
from agora_billing.ledger import store as ledger
from agora_billing.ledger.model import Ledger, Posting, PostingKind, posting_id
from agora_billing.periods import store as periods
from agora_billing.prices.model import PriceVersion
from agora_billing.prices.service import Prices
from agora_billing.promotions.service import Grants
from agora_billing.refunds import model, store
from agora_billing.refunds.model import Refund


@dataclass(frozen=True, slots=True, kw_only=True)
class _Booked:
    account: Account
    refund: Refund
    posting: Posting


async def refund(
    connection: AsyncConnection, prices: Prices, command: RefundRun, now: datetime
) -> RefundResult:
    """Give back part or all of a run's charge, once per reference.

    Raises:
        AgoraError: `not_found`; `conflict` while the run is not settled, or when the reference was used for
            another refund; see also `model.amount_of`.
    """
    # Whoever charges or corrects the run locks its account first: here, too, so none comes between.
    locked = await accounts.lock(connection, (), [command.run])
    hold = (await holds.lock(connection, [command.run])).get(command.run)
    if hold is None:
        raise no_run(command.run)
    charge = (await charges.latest(connection, [command.run])).get(command.run)
    if charge is None:
        raise AgoraError("conflict", "the run's charge is not settled yet; refund it after its end")
    before = await store.of_run(connection, command.run)
    known = next((one for one in before if one.reference == command.reference), None)
    if known is not None:
        model.check_same(known, command)
        return _result(known, charge, charge.refunded.total)
    months = await periods.paid_of_run(connection, command.run)
    payers = model.payers_left(charge.funding.minus(charge.refunded), [one.funding for one in months])
    month_left = payers.total if months else None
    amount = model.amount_of(command, charge.amount, charge.refunded.total, charge.currency, month_left)
    price = (await prices.pinned_all(connection, [hold.price_version]))[hold.price_version]
    # In a month grants get back what any of its runs has spent of them, and the month not given back yet.
    others = sorted({run for one in months for run in (one.period, *one.runs)} - {command.run})
    grants = await Grants.read(connection, locked, [command.run, *others], now)
    booked = _book(
        locked[charge.account], charge, payers, price, grants, others, command, amount, len(before) + 1, now
    )
    budgets = BudgetDesk(now)
    await budgets.read(connection, hold.windows)
    budgets.correct(hold.windows, -booked.refund.returned.by_customer)
    await accounts.save(connection, [booked.account])
    await budgets.save(connection)
    await grants.save(connection)
    await ledger.insert(connection, [booked.posting])
    await store.insert(connection, booked.refund)
    refunded = charge.refunded.total + amount
    events = [_event(booked.refund, charge, refunded)]
    if booked.refund.returned.by_customer:
        what = f"{command.run}:{booked.refund.number}"
        events.append(room_grew(charge.tenant, charge.account, "refund", what, now))
    await emit(connection, events)
    return _result(booked.refund, charge, refunded)


def _book(
    account: Account,
    charge: Charge,
    payers: Funding,
    price: PriceVersion,
    grants: Grants,
    others: Sequence[str],
    command: RefundRun,
    amount: int,
    number: int,
    now: datetime,
) -> _Booked:
    account, change = charge_model.return_to(account, payers, amount)
    account, expired = grants.give_back(account, charge.run, -change.promotional, of=others)
    account = replace(account, postings=account.postings + 1)
    earned = split.earned(charge.amount, charge.lines, price.author_share, charge.refunded.total)
    left = split.earned(charge.amount, charge.lines, price.author_share, charge.refunded.total + amount)
    moved = split.change(earned, left)
    # Not the reference, which may hold anything: no two runs and references can come to one cause like this.
    cause = f"{charge.run}:{number}"
    posting = Posting(
        id=posting_id(PostingKind.REFUND, cause),
        tenant=charge.tenant,
        account=account.id,
        number=account.postings,
        currency=charge.currency,
        kind=PostingKind.REFUND,
        cause=cause,
        description=f"Refund: {command.reason}",
        run=charge.run,
        author=price.author,
        credit_after=account.credit,
        promotional_after=account.promotional,
        at=now,
        entries=charge_model.entries(change, moved, expired),
    )
    refund = Refund(
        run=charge.run,
        number=number,
        tenant=charge.tenant,
        account=account.id,
        currency=charge.currency,
        amount=amount,
        whole=command.amount is None,
        returned=Funding().minus(change),
        expired=expired,
        author=-moved.get(Ledger.AUTHOR_EARNINGS, 0),
        reference=command.reference,
        reason=command.reason,
        at=now,
    )
    return _Booked(account=account, refund=refund, posting=posting)


def _result(refund: Refund, charge: Charge, refunded: int) -> RefundResult:
    return RefundResult(refund=refund.reply(), charged=charge.amount, refunded=refunded)


def _event(refund: Refund, charge: Charge, refunded: int) -> Event:
    def money(amount: int) -> Money:
        return Money(amount=amount, currency=refund.currency)

    fact = ChargeRefunded(
        run=refund.run,
        account=refund.account,
        number=refund.number,
        amount=money(refund.amount),
        refunded=money(refunded),
        charged=money(charge.amount),
        reason=refund.reason,
        reference=refund.reference,
        at=refund.at,
    )
    event_id = derived("evt", "refund", refund.run, str(refund.number))
    return Event(tenant=refund.tenant, entity=refund.run, data=fact, id=event_id, at=refund.at)


async def refunds_of(connection: AsyncConnection, query: ListRefunds) -> RefundList:
    """List a run's refunds, oldest first.

    Raises:
        AgoraError: `not_found`.
    """
    hold = (await holds.read(connection, [query.run])).get(query.run)
    if hold is None:
        raise no_run(query.run)
    charge = (await charges.latest(connection, [query.run])).get(query.run)
    return RefundList(
        items=[one.reply() for one in await store.of_run(connection, query.run)],
        currency=hold.currency,
        charged=charge.amount if charge else 0,
        refunded=charge.refunded.total if charge else 0,
    )
