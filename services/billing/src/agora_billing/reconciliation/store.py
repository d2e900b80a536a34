"""SQL for runs as the books have them. Never commits."""

from collections.abc import Sequence

import msgspec
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
