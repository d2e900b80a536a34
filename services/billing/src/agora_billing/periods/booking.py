"""What a period is charged, or given back, beside the charges of its runs."""

from collections.abc import Iterable, Mapping
from copy import replace
from dataclasses import dataclass
from datetime import datetime

import structlog
from agora_contracts.ids import derived
from agora_contracts.money import Money, format_amount
from agora_contracts.periods import PeriodCharged
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import store as accounts
from agora_billing.accounts.model import Account
from agora_billing.budgets.service import BudgetDesk
from agora_billing.charges import model as charge_model
from agora_billing.charges import split
from agora_billing.charges.model import Funding
from agora_billing.ledger import store as ledger
from agora_billing.ledger.model import Posting, PostingKind, posting_id
from agora_billing.periods import model, store
from agora_billing.periods.model import Period
from agora_billing.periods.store import PeriodCharge
from agora_billing.prices.model import PriceVersion
from agora_billing.promotions.service import Grants
from agora_billing.rating.model import rate

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """How an account and its period stand after a posting.

    `budgets` is what it has added to windows of budgets, by id; `expired` what of promotional credit came back late.
    """

    account: Account
    period: Period
    funding: Funding
    budgets: Mapping[int, int]
    expired: int = 0


async def book(
    connection: AsyncConnection, ids: Iterable[str], prices: Mapping[str, PriceVersion], now: datetime
) -> dict[str, int]:
    """Post what periods come to and is not charged yet, or was charged too much.

    Their accounts are locked, and what their runs were charged is written. What cannot be given back, because it was
    refunded before, is left to what the rest of the month comes to.

    Returns:
        What of each posting the platform bears, by period; periods without a posting are left out.
    """
    borne: dict[str, int] = {}
    for period in sorted((await store.read(connection, ids)).values(), key=lambda one: (one.account, one.id)):
        price = prices[period.price_version]
        offered = price.of_meter(period.basis, period.meter)
        difference = model.owed(offered, period) - period.posted
        if not difference:
            continue
        account = (await accounts.lock(connection, [period.account]))[period.account]
        budgets = BudgetDesk(now)
        await budgets.read_live(connection, [account.id])
        if difference > 0:
            step = await _charge(connection, budgets, account, period, difference, now)
        else:
            step = await _give_back(connection, budgets, account, period, -difference, now)
        if step.funding.total:
            await _write(connection, budgets, step, price, now)
            borne[period.id] = step.funding.platform
    return borne


async def _charge(
    connection: AsyncConnection,
    budgets: BudgetDesk,
    account: Account,
    period: Period,
    amount: int,
    now: datetime,
) -> _Step:
    windows = budgets.applying(account.id, period.deployment, period.package, None)
    most = budgets.room_for_charge([one.id for one in windows], 0, None)
    grants = await Grants.read(connection, {account.id: account}, [period.id], now)
    account, funding = charge_model.take(account, amount, most)
    budgets.correct([one.id for one in windows], funding.by_customer)
    account = grants.spend(account, period.id, funding.promotional)
    await grants.save(connection)
    spent = {one.id: funding.by_customer for one in windows}
    return _Step(account=account, period=period, funding=funding, budgets=spent)


async def _give_back(
    connection: AsyncConnection,
    budgets: BudgetDesk,
    account: Account,
    period: Period,
    amount: int,
    now: datetime,
) -> _Step:
    paid, runs = await store.paid(connection, period.id)
    account, funding = charge_model.return_to(account, paid, min(amount, max(paid.total, 0)))
    returned = budgets.give_back(
        budgets.applying(account.id, period.deployment, period.package, None), -funding.by_customer
    )
    grants = await Grants.read(connection, {account.id: account}, [period.id, *runs], now)
    account, expired = grants.give_back(account, period.id, -funding.promotional, of=runs)
    await grants.save(connection)
    return _Step(account=account, period=period, funding=funding, budgets=returned, expired=expired)


async def _write(
    connection: AsyncConnection, budgets: BudgetDesk, step: _Step, price: PriceVersion, now: datetime
) -> None:
    amount = step.funding.total
    account = replace(step.account, postings=step.account.postings + 1)
    period = replace(
        step.period, own_amount=step.period.own_amount + amount, postings=step.period.postings + 1
    )
    offered = price.of_meter(period.basis, period.meter)
    charge = PeriodCharge(
        period=period.id,
        number=period.postings,
        tenant=period.tenant,
        account=period.account,
        currency=period.currency,
        amount=amount,
        funding=step.funding,
        budgets=step.budgets,
        lines=rate(offered, period.used),
        explanation=_explain(period, amount, step.funding),
        revision=period.revision,
        at=now,
    )
    earned = split.change(
        split.earned(step.period.own_amount, [], price.author_share),
        split.earned(period.own_amount, [], price.author_share),
    )
    kind = PostingKind.PERIOD_CHARGE if amount > 0 else PostingKind.PERIOD_ADJUSTMENT
    cause = f"{period.id}:{period.postings}"
    posting = Posting(
        id=posting_id(kind, cause),
        tenant=period.tenant,
        account=account.id,
        number=account.postings,
        currency=period.currency,
        kind=kind,
        cause=cause,
        description=f"{period.package} by {period.basis}, {period.meter} in {period.starts_at:%B %Y}",
        run=None,
        author=price.author,
        credit_after=account.credit,
        promotional_after=account.promotional,
        at=now,
        entries=charge_model.entries(step.funding, earned, step.expired),
    )
    if step.funding.platform > 0:
        log.error(
            "platform bears a part of a period",
            alarm="platform_cost",
            period=period.id,
            account=account.id,
            amount=format_amount(step.funding.platform),
            currency=period.currency,
        )
    await accounts.save(connection, [account])
    await store.save(connection, [period])
    await ledger.insert(connection, [posting])
    await store.insert_charge(connection, charge)
    await budgets.save(connection)
    await emit(connection, [_event(period, charge), *budgets.events])


def _explain(period: Period, amount: int, funding: Funding) -> str:
    used = f"{period.used.quantity.normalize():f} {period.meter} in {period.starts_at:%B %Y}"
    comes_to = f"{format_amount(period.posted)} {period.currency}"
    if amount < 0:
        return f"{format_amount(-amount)} {period.currency} went back: {used} come to {comes_to} in all."
    borne = f"; the platform bears {format_amount(funding.platform)} of it" if funding.platform > 0 else ""
    return f"{format_amount(amount)} {period.currency} charged: {used} come to {comes_to} in all{borne}."


def _event(period: Period, charge: PeriodCharge) -> Event:
    def money(amount: int) -> Money:
        return Money(amount=amount, currency=charge.currency)

    fact = PeriodCharged(
        period=period.id,
        account=period.account,
        package=period.package,
        meter=period.meter,
        number=charge.number,
        period_start=period.starts_at,
        period_end=period.ends_at,
        lines=charge.lines,
        amount=money(period.posted),
        difference=money(charge.amount),
        platform_cost=money(charge.funding.platform),
        cause=f"usage revision {charge.revision}" if charge.revision else "usage of runs",
        at=charge.at,
        deployment=period.deployment,
    )
    event_id = derived("evt", "period", period.id, str(charge.number))
    return Event(tenant=period.tenant, entity=period.id, data=fact, id=event_id, at=charge.at)
