"""SQL for runs as the books have them. Never commits."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec
from agora_contracts.month_books import MonthKey
from agora_contracts.reconciliation import RunBooks
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.charges.inputs import ChargeInputs

_BOOKS = text("""
    SELECT h.run, h.state, c.revision, c.amount, c.inputs::text AS inputs,
           coalesce((SELECT sum(amount) FROM refunds r WHERE r.run = h.run), 0)::bigint AS refunded
    FROM unnest(CAST(:runs AS text[])) AS i (run) JOIN holds h ON h.run = i.run
    LEFT JOIN LATERAL (
        SELECT revision, amount, inputs FROM charges WHERE run = h.run ORDER BY revision DESC LIMIT 1
    ) AS c ON true
    ORDER BY h.run
""")
_inputs = msgspec.json.Decoder(ChargeInputs)

_MONTHS = text("""
    SELECT p.tenant_id, p.deployment, p.meter, p.starts_at, p.revision, p.reported_quantity
    FROM unnest(CAST(:deployments AS text[]), CAST(:meters AS text[]), CAST(:starts AS timestamptz[]))
        AS i (deployment, meter, starts_at)
    JOIN periods p ON p.deployment = i.deployment AND p.meter = i.meter AND p.starts_at = i.starts_at AND p.revision > 0
""")


async def reported_months(
    connection: AsyncConnection, months: Sequence[MonthKey]
) -> dict[MonthKey, tuple[int, Decimal]]:
    """The revision and quantity of the newest total that was taken up for each month; those without are left out."""
    rows = await connection.execute(
        _MONTHS,
        {
            "deployments": [one.deployment for one in months],
            "meters": [one.meter for one in months],
            "starts": [one.period_start for one in months],
        },
    )
    return {
        MonthKey(
            tenant=row.tenant_id, deployment=row.deployment, meter=row.meter, period_start=row.starts_at
        ): (row.revision, row.reported_quantity)
        for row in rows
    }


async def books_of(connection: AsyncConnection, runs: Sequence[str]) -> list[RunBooks]:
    """What the books have of these runs; unknown ones are left out."""
    rows = await connection.execute(_BOOKS, {"runs": list(runs)})
    return [
        RunBooks(
            run=row.run,
            hold=row.state,
            revision=row.revision or 0,
            usage=[] if row.inputs is None else _inputs.decode(row.inputs).usage.totals,
            charged=row.amount,
            refunded=row.refunded,
        )
        for row in rows
    ]
