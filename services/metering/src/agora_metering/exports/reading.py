"""SQL for what exports hold, read piece by piece from one snapshot."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.exports.model import COLUMNS, Export
from agora_metering.totals.model import Merge
from agora_metering.totals.store import bin_of, merged

PIECE_ROWS = 10_000
"""How many rows are in memory at once, and in a row group of Parquet."""

_FILTERS = """
    (CAST(:meter AS text) IS NULL OR meter = :meter)
    AND (CAST(:package AS text) IS NULL OR package = :package)
    AND (CAST(:deployment AS text) IS NULL OR deployment = :deployment)
"""

# What was accepted long before it happened is not there, so older partitions need not be read. The order is that in
# which the database has them: sorting would hold up the first row by minutes, and nobody needs it in a file.
_EVENTS = f"""
    SELECT at, source, id, meter, quantity, run, deployment, package, dimensions FROM usage_effective
    WHERE tenant_id = :tenant AND at >= :start AND at < :end AND NOT voided
        AND accepted_month >= date_trunc('month', CAST(:start AS timestamptz) AT TIME ZONE 'UTC' - interval '1 day')
        AND {_FILTERS}
"""


def _totals(grain: str) -> str:
    """Totals of hours or days that begin in the range, with what was counted and is not in them yet."""
    return f"""
        WITH parts AS (
            SELECT s.meter, s.package, s.deployment, s.dimensions, s.value, s.merge, t.start, t.events, t.quantity,
                   t.latest_at, t.latest_id
            FROM (SELECT * FROM usage_series WHERE tenant_id = :tenant AND {_FILTERS}) AS s
            JOIN usage_{grain} t ON t.series = s.id AND t.start >= :start AND t.start < :end
            UNION ALL
            SELECT meter, package, deployment, dimensions, value, merge, {bin_of(grain)}, events, quantity, latest_at,
                   latest_id
            FROM usage_deltas
            WHERE tenant_id = :tenant AND {bin_of(grain)} >= :start AND {bin_of(grain)} < :end AND {_FILTERS}
        ), wholes AS (
            SELECT start, meter, package, deployment, dimensions, value, merge, {merged("parts")} AS quantity,
                   sum(events)::bigint AS events
            FROM parts GROUP BY start, meter, package, deployment, dimensions, value, merge
        )
        SELECT start, meter, package, deployment, dimensions,
               CASE merge WHEN {Merge.DISTINCT} THEN count(*) ELSE max(quantity) END AS quantity,
               sum(events)::bigint AS events
        FROM wholes WHERE events > 0 GROUP BY start, meter, package, deployment, dimensions, merge
    """


_ROWS = {"events": _EVENTS, "hourly": _totals("hour"), "daily": _totals("day")}
_ORDERED = " ORDER BY start, meter, package, deployment, dimensions"


def _parameters(export: Export) -> dict[str, Any]:
    return {
        "tenant": export.tenant,
        "start": export.start,
        "end": export.end,
        "meter": export.meter,
        "package": export.package,
        "deployment": export.deployment,
    }


async def count(connection: AsyncConnection, export: Export) -> int:
    """How many rows there are to write; a few more may have come when they are read."""
    statement = text(f"SELECT count(*) FROM ({_ROWS[export.what]}) AS rows")
    return int((await connection.execute(statement, _parameters(export))).scalar_one())


async def pieces(connection: AsyncConnection, export: Export) -> AsyncIterator[Sequence[Sequence[Any]]]:
    """The rows of an export in the order of its columns, piece by piece by a cursor of the database."""
    ordered = "" if export.what == "events" else _ORDERED
    statement = text(_ROWS[export.what] + ordered).execution_options(
        yield_per=PIECE_ROWS, stream_results=True
    )
    columns = [name for name, _ in COLUMNS[export.what]]
    result = await connection.stream(statement, _parameters(export))
    async for rows in result.partitions(PIECE_ROWS):
        assert list(rows[0]._fields) == columns, "the statement's columns are those of the file"
        yield rows
