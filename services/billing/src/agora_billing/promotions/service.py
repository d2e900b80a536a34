"""Use cases of promotional credit: grant it, spend it, give it back, let it expire."""

from collections.abc import Iterable, Mapping
from copy import replace
from datetime import datetime

import structlog
from agora_contracts.ids import derived
from agora_contracts.money import Money
from agora_contracts.promotions import (
    GrantPromotion,
    ListPromotions,
    Promotion,
    PromotionExpired,
    PromotionGranted,
    PromotionPage,
)
from agora_kit.cursor import decode_cursor, encode_cursor
from agora_kit.database import Database
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import store as accounts
from agora_billing.accounts.model import Account
from agora_billing.accounts.room import room_grew
from agora_billing.accounts.service import Clock, no_account
from agora_billing.ledger import store as ledger
from agora_billing.ledger.model import Ledger, Posting, PostingKind, balanced, posting_id
from agora_billing.promotions import model, store
from agora_billing.promotions.model import Grant

log = structlog.get_logger()

_SWEEP_MAX = 100


async def grant(connection: AsyncConnection, command: GrantPromotion, now: datetime) -> Promotion:
    """Give an account promotional credit, once per reference.

    Raises:
        AgoraError: `not_found`, `conflict` for another grant under the reference; see also `model.granted`.
    """
    locked = await accounts.lock(connection, [command.account])
    account = locked.get(command.account)
    if account is None:
        raise no_account(command.account)
    known = await store.by_reference(connection, account.id, command.reference)
    if known is not None:
        model.check_same(known, command)
        return known.shown(now)
    after, new = model.granted(account, command, now)
    expiry = min((at for at in (after.promotional_expires_at, new.expires_at) if at), default=None)
    after = replace(after, postings=after.postings + 1, promotional_expires_at=expiry)
    says = f"Promotional credit: {new.reason}"
    entries = {Ledger.PROMOTION_COST: -new.amount, Ledger.PROMOTIONAL_CREDIT: new.amount}
    posting = _posting(PostingKind.PROMOTION_GRANTED, new.id, after, says, entries, now)
    fact = PromotionGranted(
        promotion=new.id,
        account=new.account,
        amount=Money(amount=new.amount, currency=new.currency),
        reference=new.reference,
        reason=new.reason,
        at=now,
        expires_at=new.expires_at,
    )
    await accounts.save(connection, [after])
    await store.insert(connection, new)
    await ledger.insert(connection, [posting])
    event_id = derived("evt", "promotion", new.id)
    await emit(
        connection,
        [
            Event(tenant=new.tenant, entity=new.account, data=fact, id=event_id, at=now),
            room_grew(new.tenant, new.account, "promotion", new.id, now),
        ],
    )
    return new.shown(now)


async def listed(connection: AsyncConnection, query: ListPromotions, now: datetime) -> PromotionPage:
    """List an account's grants, newest first.

    Raises:
        AgoraError: `not_found`, `invalid_cursor`.
    """
    before = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else (_END_OF_TIME, "")
    account = await accounts.read(connection, query.account)
    if account is None:
        raise no_account(query.account)
    found = await store.page(connection, account.id, before, query.limit + 1)
    shown = found[: query.limit]
    cursor = None
    if len(found) > query.limit:
        cursor = encode_cursor(shown[-1].granted_at.isoformat(), shown[-1].id)
    return PromotionPage(items=[one.shown(now) for one in shown], next_cursor=cursor)


_BEGIN_OF_TIME = datetime.fromisoformat("0001-01-01T00:00:00+00:00")
_END_OF_TIME = datetime.fromisoformat("9999-01-01T00:00:00+00:00")


# --- expiry --------------------------------------------------------------------------------------


async def sweep(database: Database, clock: Clock) -> None:
    """Let grants expire whose time is over, as far as no run has a part of them set aside."""
    now = clock()
    # What runs have set aside stays due: whoever comes behind must be reached all the same.
    after = (_BEGIN_OF_TIME, "")
    while True:
        async with database.system() as connection:
            due = await store.due(connection, now, after, _SWEEP_MAX)
        for _, account in due:
            async with database.system() as connection:
                await expire_due(connection, await accounts.lock(connection, [account]), now)
        if len(due) < _SWEEP_MAX:
            return
        after = due[-1]


async def expire_due(connection: AsyncConnection, locked: dict[str, Account], now: datetime) -> None:
    """Let grants of locked accounts expire that are due, so that nobody spends of them any more.

    Writes everything at once and replaces the accounts in `locked`. Costs nothing where none is due.
    """
    due = [account for account in locked.values() if _is_due(account, now)]
    if not due:
        return
    grants = await store.left(connection, [account.id for account in due])
    for account in due:
        own = {one.id: one for one in grants if one.account == account.id}
        lost = model.expire(own.values(), account.held, now)
        own |= {one.id: one for one, _ in lost}
        after = replace(account, promotional_expires_at=model.next_expiry(own.values()))
        postings, events = [], []
        for expired, amount in lost:
            after = replace(after, promotional=after.promotional - amount, postings=after.postings + 1)
            postings.append(_expired_posting(after, expired, amount, now))
            events.append(_expired_event(expired, amount, now))
        locked[account.id] = after
        await store.save(connection, [one for one, _ in lost])
        await ledger.insert(connection, postings)
        await emit(connection, events)
        if after != account:
            await accounts.save(connection, [after])
        if lost:
            log.info("promotional credit expired", account=account.id, grants=len(lost))


def _is_due(account: Account, now: datetime) -> bool:
    return account.promotional_expires_at is not None and account.promotional_expires_at <= now


def _expired_posting(account: Account, grant: Grant, amount: int, now: datetime) -> Posting:
    # What expires of a grant only grows: its sum makes each time a cause of its own.
    cause = f"{grant.id}:{grant.expired}"
    says = f"Promotional credit expired: {grant.reason}"
    entries = {Ledger.PROMOTIONAL_CREDIT: -amount, Ledger.PROMOTION_COST: amount}
    return _posting(PostingKind.PROMOTION_EXPIRED, cause, account, says, entries, now)


def _expired_event(grant: Grant, amount: int, now: datetime) -> Event:
    fact = PromotionExpired(
        promotion=grant.id,
        account=grant.account,
        amount=Money(amount=amount, currency=grant.currency),
        at=now,
    )
    event_id = derived("evt", "promotion_expired", grant.id, str(grant.expired))
    return Event(tenant=grant.tenant, entity=grant.account, data=fact, id=event_id, at=now)


def _posting(
    kind: PostingKind, cause: str, account: Account, says: str, entries: dict[Ledger, int], now: datetime
) -> Posting:
    return Posting(
        id=posting_id(kind, cause),
        tenant=account.tenant,
        account=account.id,
        number=account.postings,
        currency=account.currency,
        kind=kind,
        cause=cause,
        description=says[:500],
        run=None,
        credit_after=account.credit,
        promotional_after=account.promotional,
        at=now,
        entries=balanced(entries),
    )


# --- what runs spend -----------------------------------------------------------------------------


class Grants:
    """The grants of locked accounts, and what runs spend of them or give back in one transaction.

    The accounts' own sums are kept by whoever charges them; here is what of it falls on which grant.
    """

    def __init__(self, grants: Iterable[Grant], uses: Mapping[str, dict[str, int]], now: datetime) -> None:
        self._now = now
        self._by_account: dict[str, dict[str, Grant]] = {}
        for one in grants:
            self._by_account.setdefault(one.account, {})[one.id] = one
        self._uses = {run: dict(of) for run, of in uses.items()}
        self._changed: dict[str, Grant] = {}
        self._changed_uses: dict[tuple[str, str], tuple[str, int]] = {}

    @classmethod
    async def read(
        cls, connection: AsyncConnection, locked: Mapping[str, Account], runs: Iterable[str], now: datetime
    ) -> "Grants":
        """Read the grants of locked accounts.

        Args:
            runs: those that have spent of grants before, so that they may give back.
        """
        with_credit = [account.id for account in locked.values() if account.promotional]
        had = sorted(set(runs))
        grants = await store.left(connection, with_credit) if with_credit else []
        uses: dict[str, dict[str, int]] = {}
        if had:
            uses = await store.uses(connection, had)
            grants += await store.used(connection, had)
        return cls(grants, uses, now)

    def spend(self, account: Account, run: str, amount: int) -> Account:
        """Note that a run was charged `amount` of an account's promotional credit.

        The account's sum is reduced already; when its next grant expires is noted on the returned one.
        """
        if not amount:
            return account
        own = self._by_account.get(account.id, {})
        for grant, part in model.spend(own.values(), amount):
            self._note(account.tenant, run, grant, part)
        return replace(account, promotional_expires_at=model.next_expiry(own.values()))

    def give_back(
        self, account: Account, run: str, amount: int, of: Iterable[str] = ()
    ) -> tuple[Account, int]:
        """Give `amount` back to the grants that a run has spent of, the last spent first.

        The account's sum has grown by `amount` already. What belongs to grants whose time is over expires at
        once: it is taken off the returned account, and the second value says how much that was.

        Args:
            of: more runs whose spending is given back; it is noted on `run`, whose own may become negative.
        """
        if not amount:
            return account, 0
        own = self._by_account.get(account.id, {})
        uses: dict[str, int] = {}
        for one in (run, *of):
            for grant_id, spent in self._uses.get(one, {}).items():
                uses[grant_id] = uses.get(grant_id, 0) + spent
        lost = 0
        for grant, part, expired in model.give_back(own.values(), uses, amount, self._now):
            self._note(account.tenant, run, grant, -part)
            lost += expired
        expiry = model.next_expiry(own.values())
        return replace(account, promotional=account.promotional - lost, promotional_expires_at=expiry), lost

    def _note(self, tenant: str, run: str, grant: Grant, part: int) -> None:
        self._by_account[grant.account][grant.id] = self._changed[grant.id] = grant
        uses = self._uses.setdefault(run, {})
        uses[grant.id] = uses.get(grant.id, 0) + part
        self._changed_uses[run, grant.id] = (tenant, uses[grant.id])

    async def save(self, connection: AsyncConnection) -> None:
        """Write what changed."""
        await store.save(connection, list(self._changed.values()))
        await store.save_uses(connection, self._changed_uses)
