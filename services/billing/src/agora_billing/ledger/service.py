"""Use cases of the ledger: an account's statement."""

from agora_contracts.billing import GetStatement, Statement, StatementLine
from agora_contracts.money import MAX_MICRO
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import store as accounts
from agora_billing.accounts.service import no_account
from agora_billing.ledger import store


async def statement(connection: AsyncConnection, query: GetStatement) -> Statement:
    """Read a page of an account's postings, newest first, with the balance and the sum of all entries.

    Raises:
        AgoraError: `not_found`, `invalid_cursor`.
    """
    before = decode_cursor(query.cursor, tuple[int])[0] if query.cursor else MAX_MICRO
    found = await accounts.read_with_entries(connection, query.account)
    if found is None:
        raise no_account(query.account)
    account, entries_sum, promotional_sum = found
    # Nothing newer than the balance just read, so that page, balance and sum tell of the same moment.
    rows = await store.page(connection, account.id, min(before, account.postings + 1), query.limit + 1)
    shown = rows[: query.limit]
    return Statement(
        account=account.id,
        currency=account.currency,
        balance=account.balance(),
        entries_sum=entries_sum,
        items=[
            StatementLine(
                posting=row.posting_id,
                at=row.at,
                kind=row.kind,
                cause=row.cause,
                description=row.description,
                run=row.run,
                amount=row.amount,
                balance=row.credit_after,
                promotional=row.promotional,
                promotional_balance=row.promotional_after,
            )
            for row in shown
        ],
        next_cursor=encode_cursor(shown[-1].number) if len(rows) > query.limit else None,
        promotional_entries_sum=promotional_sum,
    )
