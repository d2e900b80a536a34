"""SQL for queries: totals and what is still to be added to them, in one statement, so that they are exact."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agora_contracts.metering import QueryUsage
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.queries.model import TIMES, Plan
from agora_metering.totals.model import Merge
from agora_metering.totals.store import bin_of, merged

_NONE = "''"
"""How a missing package or deployment is grouped: sorted first, and compared by a cursor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A column that rows are grouped by: its name in a row, and the type it is compared as.

    `sql` takes the aliases of what it reads: `series`, `total` and `span`.
    """

    name: str
    sql: str
    kind: str = "text"


def keys_of(query: QueryUsage, plan: Plan) -> list[Key]:
    """The columns that a query's rows are grouped and ordered by."""
    keys = []
    for group in dict.fromkeys(query.group_by):
        if group in TIMES:
            label = bin_of(plan.aligned, "{total}.start") if plan.aligned else "{span}.label"
            keys.append(Key(name="time", sql=label, kind="timestamptz"))
        else:
            keys.append(Key(name=group, sql=f"coalesce({{series}}.{group}, {_NONE})"))
    # A value that is there begins with "=", so that an empty one is not taken for none.
    return keys + [
        Key(
            name=f"dimension_{number}",
            sql=f"coalesce('=' || ({{series}}.dimensions ->> :dimension_{number}), {_NONE})",
        )
        for number in range(len(dict.fromkeys(query.dimensions)))
    ]


async def totals(
    connection: AsyncConnection,
    query: QueryUsage,
    plan: Plan,
    keys: Sequence[Key],
    merges: Collection[Merge],
    *,
    after: Sequence[str] | None,
) -> Sequence[Row[Any]]:
    """The rows of a query in the order of their keys, one more than its limit if there are.

    Args:
        merges: the kinds of totals that it may meet.
        after: the keys of the row after which to begin.
    """
    values: dict[str, Any] = {
        "tenant": query.tenant,
        "meter": query.meter,
        "package": query.package,
        "deployment": query.deployment,
        "start": plan.start,
        "end": plan.end,
        "limit": query.limit + 1,
    }
    values |= {f"dimension_{number}": name for number, name in enumerate(dict.fromkeys(query.dimensions))}
    for number, (name, value) in enumerate(query.where.items()):
        values |= {f"where_{number}": name, f"value_{number}": value}
    values |= _segments(plan)
    names = ", ".join(f"k{number}" for number in range(len(keys)))
    # Where all that was counted is voided, there is no total.
    bound = "WHERE events > 0"
    if after is not None:
        places = [f"CAST(CAST(:after_{n} AS text) AS {key.kind})" for n, key in enumerate(keys)]
        bound += f" AND ({names}) > ({', '.join(places)})"
        values |= {f"after_{number}": part for number, part in enumerate(after)}
    statement = f"""
        WITH parts AS ({_parts(query, plan, keys, merges)})
        SELECT * FROM ({_whole(names, merges)}) AS totals {bound}
        {f"ORDER BY {names}" if names else ""} LIMIT :limit
    """
    return (await connection.execute(text(statement), values)).all()


def _whole(names: str, merges: Collection[Merge]) -> str:
    """SQL for the rows, by what kinds of totals there may be: the fewer, the less there is to sort."""
    group = f"GROUP BY {names}" if names else "HAVING count(*) > 0"
    listed = f"{names}, " if names else ""
    if set(merges) <= {Merge.ADD}:
        return f"SELECT {listed}sum(quantity) AS quantity, sum(events)::bigint AS events FROM parts {group}"
    if Merge.DISTINCT not in merges:
        group = f"GROUP BY {listed}merge"
        return f"""
            SELECT {listed}{merged("parts")} AS quantity, sum(events)::bigint AS events FROM parts {group}
        """
    return f"""
        SELECT {listed}
               CASE merge WHEN {Merge.DISTINCT} THEN count(*) FILTER (WHERE events > 0) ELSE max(quantity) END
                   AS quantity,
               sum(events)::bigint AS events
        FROM (
            SELECT {listed}merge, value, {merged("parts")} AS quantity, sum(events) AS events
            FROM parts GROUP BY {listed}merge, value
        ) AS by_value GROUP BY {listed}merge
    """


def _parts(query: QueryUsage, plan: Plan, keys: Sequence[Key], merges: Collection[Merge]) -> str:
    filters = _filters(query)
    columns = _columns(keys, merges, series="s", total="t", span="span")
    # OFFSET keeps the planner from joining otherwise than by index, series by series and span by span: what it knows
    # of tenants makes it believe that reading the whole table is cheaper.
    selects = [
        f"""
        SELECT {columns} FROM usage_series s CROSS JOIN unnest(
            CAST(:{grain}_starts AS timestamptz[]), CAST(:{grain}_ends AS timestamptz[]),
            CAST(:{grain}_labels AS timestamptz[])
        ) AS span (start, "end", label)
        CROSS JOIN LATERAL (
            SELECT start, merge, events, quantity, latest_at, latest_id FROM usage_{grain}
            WHERE series = s.id AND start >= span.start AND start < span."end" OFFSET 0
        ) AS t
        WHERE s.tenant_id = :tenant {filters}
        """
        for grain in sorted({one.grain for one in plan.segments})
    ]
    buckets = """
        JOIN unnest(CAST(:bucket_starts AS timestamptz[]), CAST(:bucket_ends AS timestamptz[])) AS span (label, "end")
            ON s.start >= span.label AND s.start < span."end"
    """
    selects.append(
        f"""
        SELECT {_columns(keys, merges, series="s", total="s", span="span")}
        FROM usage_deltas s {buckets if plan.buckets else ""}
        WHERE s.tenant_id = :tenant AND s.start >= :start AND s.start < :end {filters}
        """
    )
    return " UNION ALL ".join(selects)


def _columns(keys: Sequence[Key], merges: Collection[Merge], **aliases: str) -> str:
    columns = [f"{key.sql} AS k{number}" for number, key in enumerate(keys)]
    columns += ["{total}.merge", "{total}.events", "{total}.quantity"]
    if set(merges) - {Merge.ADD}:
        columns += ["{total}.latest_at", "{total}.latest_id", "{series}.value"]
    return ", ".join(columns).format(**aliases)


def _filters(query: QueryUsage) -> str:
    filters = [
        f"AND s.{name} = :{name}"
        for name in ("meter", "package", "deployment")
        if getattr(query, name) is not None
    ]
    filters += [
        f"AND s.dimensions ->> :where_{number} = :value_{number}" for number in range(len(query.where))
    ]
    return " ".join(filters)


def _segments(plan: Plan) -> Mapping[str, Any]:
    """The parameters that say which totals to read."""
    values: dict[str, Any] = {
        "bucket_starts": [one.start for one in plan.buckets],
        "bucket_ends": [one.end for one in plan.buckets],
    }
    for grain in {one.grain for one in plan.segments}:
        of_grain = [one for one in plan.segments if one.grain == grain]
        values[f"{grain}_starts"] = [one.start for one in of_grain]
        values[f"{grain}_ends"] = [one.end for one in of_grain]
        values[f"{grain}_labels"] = [one.label for one in of_grain]
    return values
