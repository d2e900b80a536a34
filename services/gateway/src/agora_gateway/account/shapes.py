"""Balance and statement as the public API shows them."""

from datetime import UTC, datetime

import msgspec
from agora_contracts.billing import Balance, Statement
from agora_contracts.money import PublicMoney

from agora_gateway.edge.shapes import public_money


class BalanceShape(msgspec.Struct, frozen=True, kw_only=True):
    """`credit` was paid, `promotional` was given and is spent first; `held` is what runs have set aside of both.

    `available` is what is left for new runs, `receivable` what the account owes.
    """

    account: str
    credit: PublicMoney
    promotional: PublicMoney
    held: PublicMoney
    available: PublicMoney
    receivable: PublicMoney
    closed_at: datetime | None = None


class StatementLineShape(msgspec.Struct, frozen=True, kw_only=True):
    """One posting: `amount` is signed, `balance` the paid credit after it.

    `promotional` and `promotional_balance` say the same of promotional credit.
    """

    posting: str
    at: datetime
    kind: str
    cause: str
    description: str
    run: str | None
    amount: PublicMoney
    balance: PublicMoney
    promotional: PublicMoney
    promotional_balance: PublicMoney


class StatementShape(msgspec.Struct, frozen=True, kw_only=True):
    """Postings, newest first.

    `entries_sum` is added up from the ledger and equals `balance.credit`; `promotional_entries_sum` equals
    `balance.promotional`.
    """

    balance: BalanceShape
    entries_sum: PublicMoney
    promotional_entries_sum: PublicMoney
    items: list[StatementLineShape]
    next_cursor: str | None = None


def balance_shape(balance: Balance) -> BalanceShape:
    """A balance for the public."""
    currency = balance.currency
    return BalanceShape(
        account=balance.account,
        credit=public_money(balance.credit, currency),
        promotional=public_money(balance.promotional, currency),
        held=public_money(balance.held, currency),
        available=public_money(balance.available, currency),
        receivable=public_money(balance.receivable, currency),
        closed_at=balance.closed_at,
    )


def statement_shape(statement: Statement) -> StatementShape:
    """A statement for the public."""
    currency = statement.currency
    return StatementShape(
        balance=balance_shape(statement.balance),
        entries_sum=public_money(statement.entries_sum, currency),
        promotional_entries_sum=public_money(statement.promotional_entries_sum, currency),
        items=[
            StatementLineShape(
                posting=line.posting,
                at=line.at,
                kind=line.kind,
                cause=line.cause,
                description=line.description,
                run=line.run,
                amount=public_money(line.amount, currency),
                balance=public_money(line.balance, currency),
                promotional=public_money(line.promotional, currency),
                promotional_balance=public_money(line.promotional_balance, currency),
            )
            for line in statement.items
        ],
        next_cursor=statement.next_cursor,
    )


# --- examples of the documentation ---------------------------------------------------------------

A_BALANCE = BalanceShape(
    account="acc_0190a5b07c3a7d4e8f00112233445566",
    credit=PublicMoney(amount="99.500000"),
    promotional=PublicMoney(amount="5.000000"),
    held=PublicMoney(amount="0.500000"),
    available=PublicMoney(amount="104.000000"),
    receivable=PublicMoney(amount="0.000000"),
)
A_STATEMENT = StatementShape(
    balance=A_BALANCE,
    entries_sum=PublicMoney(amount="99.500000"),
    promotional_entries_sum=PublicMoney(amount="5.000000"),
    items=[
        StatementLineShape(
            posting="post_0190a5b07c3a7d4e8f00112233445566",
            at=datetime(2026, 1, 5, 9, 0, 1, tzinfo=UTC),
            kind="charge",
            cause="run_0190a5b07c3a7d4e8f00112233445566",
            description="echo 1.0.0, 1 task",
            run="run_0190a5b07c3a7d4e8f00112233445566",
            amount=PublicMoney(amount="-0.500000"),
            balance=PublicMoney(amount="99.500000"),
            promotional=PublicMoney(amount="0.000000"),
            promotional_balance=PublicMoney(amount="5.000000"),
        )
    ],
)
