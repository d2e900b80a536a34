"""Use cases of accounts. Each is one transaction of the tenant, opened and committed by the caller."""

from collections.abc import Callable
from copy import replace
from datetime import datetime

from agora_contracts.billing import Balance, CloseAccount, CreditToppedUp, GetBalance, OpenAccount, TopUp
from agora_contracts.ids import derived
from agora_contracts.money import format_amount
from agora_contracts.problems import AgoraError
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import model, store
from agora_billing.accounts.model import Account
from agora_billing.accounts.room import room_grew
from agora_billing.ledger import store as ledger
from agora_billing.ledger.model import Ledger, Posting, PostingKind, balanced, posting_id

type Clock = Callable[[], datetime]


def no_account(account: str) -> AgoraError:
    """The answer for an account that is not there, or is another tenant's."""
    return AgoraError("not_found", f"there is no account {account[:80]!r}")


async def open_account(connection: AsyncConnection, command: OpenAccount, now: datetime) -> Balance:
    """Open an account; asking again changes nothing and answers its balance."""
    await store.insert(connection, model.opened(command), now)
    account = await store.read(connection, command.account)
    if account is None:  # it is another tenant's
        raise no_account(command.account)
    return account.balance()


async def read_balance(connection: AsyncConnection, query: GetBalance) -> Balance:
    """Read an account's balance."""
    account = await store.read(connection, query.account)
    if account is None:
        raise no_account(query.account)
    return account.balance()


async def close_account(connection: AsyncConnection, command: CloseAccount, now: datetime) -> Balance:
    """Close an account for good; asking again changes nothing.

    Raises:
        AgoraError: `holds_open`, when a run of it is not charged yet, and be it for nothing.
    """
    account = (await store.lock(connection, [command.account])).get(command.account)
    if account is None:
        raise no_account(command.account)
    after = account.close(now)
    if after is not account:
        runs = await store.open_runs(connection, account.id)
        if runs:
            raise AgoraError(
                "holds_open",
                f"{runs} runs have open holds; close the account when they have ended and are charged",
            )
        await store.save(connection, [after])
    return after.balance()


async def top_up(connection: AsyncConnection, command: TopUp, now: datetime) -> Balance:
    """Add paid credit, once per reference; what the account owes is paid from it first.

    Raises:
        AgoraError: `conflict`, when the reference was used for another amount.
    """
    account = (await store.lock(connection, [command.account])).get(command.account)
    if account is None:
        raise no_account(command.account)
    model.check_top_up(account, command)
    cause = f"{command.account}:{command.reference}"
    posting = posting_id(PostingKind.TOP_UP, cause)
    known = await ledger.topped_up(connection, posting)
    if known is not None:
        if known != command.amount.amount:
            raise AgoraError(
                "conflict",
                f"reference {command.reference!r} brought in {format_amount(known)} before; "
                "use another reference for another payment",
            )
        return account.balance()
    after, new = _book_top_up(account, command, cause, now)
    await store.save(connection, [after])
    await ledger.insert(connection, new)
    fact = CreditToppedUp(account=account.id, amount=command.amount, reference=command.reference, at=now)
    event_id = derived("evt", "top_up", cause)
    await emit(
        connection,
        [
            Event(tenant=account.tenant, entity=account.id, data=fact, id=event_id, at=now),
            room_grew(account.tenant, account.id, "top_up", cause, now),
        ],
    )
    return after.balance()


def _book_top_up(
    account: Account, command: TopUp, cause: str, now: datetime
) -> tuple[Account, list[Posting]]:
    amount = command.amount.amount
    after, paid = account.top_up(amount)
    after = replace(after, postings=account.postings + (2 if paid else 1))

    def posting(
        kind: PostingKind, number: int, credit: int, says: str, entries: dict[Ledger, int]
    ) -> Posting:
        return Posting(
            id=posting_id(kind, cause),
            tenant=account.tenant,
            account=account.id,
            number=number,
            currency=account.currency,
            kind=kind,
            cause=cause,
            description=says,
            run=None,
            credit_after=credit,
            promotional_after=account.promotional,
            at=now,
            entries=balanced(entries),
        )

    new = [
        posting(
            PostingKind.TOP_UP,
            account.postings + 1,
            account.credit + amount,
            f"Top-up {command.reference}",
            {Ledger.CASH_CLEARING: -amount, Ledger.CUSTOMER_CREDIT: amount},
        )
    ]
    if paid:
        new.append(
            posting(
                PostingKind.RECEIVABLE_PAID,
                account.postings + 2,
                after.credit,
                "Paid what was owed",
                {Ledger.CUSTOMER_CREDIT: -paid, Ledger.RECEIVABLE: paid},
            )
        )
    return after, new
