"""SQL that recomputes what is cached and finds what does not agree. Reads only."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from agora_contracts.billing import QuoteLine
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.audit.model import Fault
from agora_billing.audit.rules import RULES
from agora_billing.ledger.model import Ledger

FAULTS_MAX = 100

_ONE_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

_FIGURES = """
    SELECT
        (SELECT count(*) FROM accounts {where}) AS accounts,
        (SELECT count(*) FROM postings {where}) AS postings,
        (SELECT count(*) FROM charges {where}) AS charges,
        (SELECT count(*) FROM charges {where_and} kind = 'settled') AS settled_runs,
        (SELECT count(*) FROM holds {where_and} state IN ('tentative', 'firm')) AS open_holds,
        (SELECT coalesce(sum(credit), 0)::bigint FROM accounts {where}) AS credit,
        (SELECT coalesce(sum(promotional), 0)::bigint FROM accounts {where}) AS promotional,
        (SELECT coalesce(sum(held), 0)::bigint FROM accounts {where}) AS held,
        (SELECT coalesce(sum(receivable), 0)::bigint FROM accounts {where}) AS receivable,
        (SELECT coalesce(sum(difference), 0)::bigint FROM charges {where}) AS charged
"""

_LEDGERS = "SELECT ledger, sum(amount)::bigint AS amount FROM entries {where} GROUP BY ledger"

_COSTS = (Ledger.CASH_CLEARING, Ledger.REFUNDS, Ledger.PROMOTION_COST, Ledger.PLATFORM_COST)
"""Ledgers that grow by negative entries."""

_EARNINGS = (
    Ledger.REVENUE,
    Ledger.AUTHOR_EARNINGS,
    Ledger.PLATFORM_FEE,
    Ledger.MODEL_COST,
    Ledger.REFUNDS,
    Ledger.ROUNDING,
)

_RUNS = """
    SELECT c.run, c.amount, c.lines::text AS lines, coalesce(r.amount, 0)::bigint AS refunded,
           v.author_share, e.books
    FROM (SELECT DISTINCT ON (run) run, amount, lines FROM charges {where} ORDER BY run, revision DESC) c
    JOIN holds h USING (run)
    JOIN price_versions v USING (price_version)
    LEFT JOIN (SELECT run, sum(amount) AS amount FROM refunds GROUP BY run) r USING (run)
    LEFT JOIN (
        SELECT run, json_object_agg(ledger, amount)::text AS books
        FROM (
            SELECT p.run, e.ledger, sum(e.amount) AS amount
            FROM (SELECT posting_id, run FROM postings {where_and} run IS NOT NULL) p
            JOIN entries e USING (posting_id)
            WHERE e.ledger = ANY(CAST(:ledgers AS text[]))
            GROUP BY p.run, e.ledger
        ) x GROUP BY run
    ) e USING (run)
    ORDER BY c.run
"""

_lines = msgspec.json.Decoder(list[QuoteLine])
_books = msgspec.json.Decoder(dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBooks:
    """A run's charge, and what its postings have left on the ledgers that earn."""

    run: str
    amount: int
    lines: list[QuoteLine]
    refunded: int
    author_share: Decimal | None
    books: dict[Ledger, int]


def _of(account: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """How a query is narrowed to one account, and its parameter."""
    if account is None:
        return {"where": "", "where_and": "WHERE"}, {}
    of = "WHERE account_id = :account"
    return {"where": of, "where_and": f"{of} AND"}, {"account": account}


async def hold_still(connection: AsyncConnection) -> None:
    """Make this transaction read one moment; must be its first statement."""
    await connection.execute(_ONE_SNAPSHOT)


async def broken(connection: AsyncConnection, rule: str, account: str | None) -> list[Fault]:
    """Every case that breaks a rule, at most a hundred."""
    of, values = _of(account)
    rows = await connection.execute(
        text(
            f"SELECT * FROM ({RULES[rule]}) AS c {of['where_and']} c.expected <> c.found "
            f"ORDER BY subject LIMIT {FAULTS_MAX}"
        ),
        values,
    )
    return [
        Fault(rule=rule, subject=row.subject, expected=int(row.expected), found=int(row.found))
        for row in rows
    ]


async def figures(connection: AsyncConnection, account: str | None) -> dict[str, Any]:
    """The books in figures."""
    of, values = _of(account)
    found = dict((await connection.execute(text(_FIGURES.format(**of)), values)).mappings().one())
    sums = {row.ledger: row.amount for row in await connection.execute(text(_LEDGERS.format(**of)), values)}

    def total(ledger: Ledger) -> int:
        amount: int = sums.get(str(ledger), 0)
        return -amount if ledger in _COSTS else amount

    return found | {
        "cash": total(Ledger.CASH_CLEARING),
        **{
            str(ledger): total(ledger) for ledger in (*_EARNINGS, Ledger.PROMOTION_COST, Ledger.PLATFORM_COST)
        },
    }


async def runs(connection: AsyncConnection, account: str | None) -> AsyncIterator[RunBooks]:
    """Every run that was charged, read in batches."""
    of, values = _of(account)
    query = text(_RUNS.format(**of)).execution_options(yield_per=1000)
    ledgers = [str(ledger) for ledger in _EARNINGS]
    async with connection.stream(query, values | {"ledgers": ledgers}) as rows:
        async for row in rows:
            books = _books.decode(row.books) if row.books else {}
            yield RunBooks(
                run=row.run,
                amount=row.amount,
                lines=_lines.decode(row.lines),
                refunded=row.refunded,
                author_share=row.author_share,
                books={Ledger(ledger): amount for ledger, amount in books.items() if amount},
            )
