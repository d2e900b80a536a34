"""SQL that recomputes what is cached and finds what does not agree. Reads only."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.audit.model import Fault

_FAULTS_MAX = 100

_ONE_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

RULES: dict[str, str] = {
    "account credit is the sum of its entries": """
        SELECT a.account_id AS subject, coalesce(sum(e.amount), 0) AS expected, a.credit AS found
        FROM accounts a
        LEFT JOIN entries e ON e.account_id = a.account_id AND e.ledger = 'customer_credit'
        GROUP BY a.account_id
    """,
    "account receivable is the sum of its entries": """
        SELECT a.account_id AS subject, -coalesce(sum(e.amount), 0) AS expected, a.receivable AS found
        FROM accounts a
        LEFT JOIN entries e ON e.account_id = a.account_id AND e.ledger = 'receivable'
        GROUP BY a.account_id
    """,
    "account held is the sum of its open holds": """
        SELECT a.account_id AS subject, coalesce(sum(h.amount), 0) AS expected, a.held AS found
        FROM accounts a
        LEFT JOIN holds h ON h.account_id = a.account_id AND h.state IN ('tentative', 'firm')
        GROUP BY a.account_id
    """,
    "account postings are numbered without gaps": """
        SELECT a.account_id AS subject, count(p.number) AS expected, a.postings AS found
        FROM accounts a LEFT JOIN postings p USING (account_id) GROUP BY a.account_id
        UNION ALL
        SELECT a.account_id, coalesce(max(p.number), 0), a.postings
        FROM accounts a LEFT JOIN postings p USING (account_id) GROUP BY a.account_id
    """,
    "credit after a posting is the sum of entries until then": """
        SELECT p.posting_id AS subject, p.credit_after AS found,
               sum(coalesce(e.amount, 0)) OVER (PARTITION BY p.account_id ORDER BY p.number) AS expected
        FROM postings p LEFT JOIN entries e ON e.posting_id = p.posting_id AND e.ledger = 'customer_credit'
    """,
    "entries of a posting sum to zero": """
        SELECT p.posting_id AS subject, 0 AS expected, coalesce(sum(e.amount), 0) AS found
        FROM postings p LEFT JOIN entries e USING (posting_id) GROUP BY p.posting_id, e.currency
    """,
    "a posting has two entries or more": """
        SELECT p.posting_id AS subject, greatest(count(e.ledger), 2) AS expected, count(e.ledger) AS found
        FROM postings p LEFT JOIN entries e USING (posting_id) GROUP BY p.posting_id
    """,
    "a run's charge is its revenue": """
        SELECT c.run AS subject, c.amount AS expected, coalesce(r.amount, 0) AS found
        FROM (SELECT DISTINCT ON (run) run, amount FROM charges ORDER BY run, revision DESC) c
        LEFT JOIN (
            SELECT p.run, sum(e.amount) AS amount FROM postings p JOIN entries e USING (posting_id)
            WHERE e.ledger = 'revenue' GROUP BY p.run
        ) r ON r.run = c.run
    """,
    "what the platform bears of a charge is its cost": """
        SELECT c.run AS subject, c.platform_part AS expected, coalesce(r.amount, 0) AS found
        FROM (SELECT DISTINCT ON (run) run, platform_part FROM charges ORDER BY run, revision DESC) c
        LEFT JOIN (
            SELECT p.run, -sum(e.amount) AS amount FROM postings p JOIN entries e USING (posting_id)
            WHERE e.ledger = 'platform_cost' GROUP BY p.run
        ) r ON r.run = c.run
    """,
    "a settled hold has exactly one settlement": """
        SELECT h.run AS subject, (h.state = 'settled')::integer AS expected, count(c.run) AS found
        FROM holds h LEFT JOIN charges c ON c.run = h.run AND c.kind = 'settled' GROUP BY h.run
    """,
}
"""What must be so, and a query of every case with what is `expected` and what is `found`."""

_FIGURES = text("""
    SELECT
        (SELECT count(*) FROM accounts) AS accounts,
        (SELECT count(*) FROM postings) AS postings,
        (SELECT count(*) FROM charges) AS charges,
        (SELECT count(*) FROM charges WHERE kind = 'settled') AS settled_runs,
        (SELECT count(*) FROM holds WHERE state IN ('tentative', 'firm')) AS open_holds,
        (SELECT coalesce(sum(credit), 0)::bigint FROM accounts) AS credit,
        (SELECT coalesce(sum(held), 0)::bigint FROM accounts) AS held,
        (SELECT coalesce(sum(receivable), 0)::bigint FROM accounts) AS receivable,
        (SELECT coalesce(sum(difference), 0)::bigint FROM charges) AS charged,
        (SELECT -coalesce(sum(amount), 0)::bigint FROM entries WHERE ledger = 'cash_clearing') AS cash,
        (SELECT coalesce(sum(amount), 0)::bigint FROM entries WHERE ledger = 'revenue') AS revenue,
        (SELECT -coalesce(sum(amount), 0)::bigint FROM entries WHERE ledger = 'platform_cost')
            AS platform_cost
""")


async def hold_still(connection: AsyncConnection) -> None:
    """Make this transaction read one moment; must be its first statement."""
    await connection.execute(_ONE_SNAPSHOT)


async def broken(connection: AsyncConnection) -> list[Fault]:
    """Every case that breaks a rule, at most a hundred per rule."""
    faults: list[Fault] = []
    for rule, cases in RULES.items():
        rows = await connection.execute(
            text(
                f"SELECT * FROM ({cases}) AS c WHERE c.expected <> c.found ORDER BY subject LIMIT {_FAULTS_MAX}"
            )
        )
        faults += [
            Fault(rule=rule, subject=row.subject, expected=int(row.expected), found=int(row.found))
            for row in rows
        ]
    return faults


async def figures(connection: AsyncConnection) -> dict[str, Any]:
    """The books in figures."""
    return dict((await connection.execute(_FIGURES)).mappings().one())
