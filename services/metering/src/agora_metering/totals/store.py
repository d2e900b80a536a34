"""SQL for totals: what events add to them, and moving it there. Never commits.

Ingest appends to `usage_deltas` and one roller at a time moves from there into `usage_minute`, `usage_hour` and
`usage_day`, in one statement: what is in a total and what is still to be added are together always exact.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.totals.model import Definition, Merge
from agora_metering.totals.tables import GRAINS

_ROLL_LOCK = 7_203_103

EPOCH = "TIMESTAMPTZ '1970-01-01 00:00:00+00'"
STANDING = "(run IS NULL AND deployment IS NOT NULL)"
"""Usage of a deployment outside of runs, which is rated by the month."""

COLUMNS = """
    series, start, events, latest_at, merge, standing, tenant_id, meter, package, deployment, quantity, latest_id,
    value, dimensions
"""
_NUMBER = r"'^[0-9]{1,15}(\.[0-9]{1,12})?$'"


def bin_of(grain: str, column: str = "start") -> str:
    """SQL for the UTC minute, hour or day in which a time lies."""
    return f"date_bin('1 {grain}', {column}, {EPOCH})"


# --- what events add -----------------------------------------------------------------------------


INSERT_DELTAS = f"INSERT INTO usage_deltas ({COLUMNS})"
"""To be followed by the SELECT of `plain_deltas` or `defined_deltas`."""


def plain_deltas(source: str, *, weighted: bool = False, skip_defined: bool = False) -> str:
    """SQL for what events add to the sums of their recorded meters, as rows for `usage_deltas`.

    Args:
        source: a relation with the columns of `usage_events`, and `weight` (1 adds an event, -1 takes it away) if
            `weighted`.
        skip_defined: leave out what has a definition in the relation `defined`, whose totals are made by that.
    """
    events, quantity = (
        ("sum(weight)", "sum(weight * quantity)") if weighted else ("count(*)", "sum(quantity)")
    )
    skip = (
        """WHERE NOT EXISTS (SELECT FROM defined d WHERE d.tenant_id = f.tenant_id AND d.key = f.meter)"""
        if skip_defined
        else ""
    )
    return f"""
        SELECT usage_series_id(tenant_id, meter, package, deployment, standing, NULL, NULL) AS series, start, events,
               NULL::timestamptz AS latest_at, {Merge.ADD} AS merge, standing, tenant_id, meter, package, deployment,
               quantity, NULL::text AS latest_id, NULL::text AS value, NULL::jsonb AS dimensions
        FROM (
            SELECT tenant_id, meter, package, deployment, {STANDING} AS standing, {bin_of("minute", "at")} AS start,
                   {events} AS events, {quantity} AS quantity
            FROM {source} f {skip} GROUP BY 1, 2, 3, 4, 5, 6
        ) AS sums
    """


def defined_deltas(source: str, *, weighted: bool = False) -> str:
    """SQL for what events add to the totals of the meters in the relation `defined`, as rows for `usage_deltas`.

    Args:
        source: as for `plain_deltas`.
    """
    return f"""
        SELECT usage_series_id(tenant_id, meter, package, deployment, standing, dimensions, value) AS series, start,
               events, (newest).at AS latest_at, merge, standing, tenant_id, meter, package, deployment, quantity,
               (newest).id AS latest_id, value, dimensions
        FROM (
            SELECT *, CASE merge WHEN {Merge.ADD} THEN added WHEN {Merge.LEAST} THEN least WHEN {Merge.GREATEST} THEN most
                                 WHEN {Merge.LATEST} THEN (newest).quantity ELSE 0 END AS quantity
            FROM (
                SELECT tenant_id, meter, package, deployment, standing, start, dimensions, value, merge,
                       sum(weight) AS events, sum(weight * reading) FILTER (WHERE merge = {Merge.ADD}) AS added,
                       min(reading) FILTER (WHERE merge = {Merge.LEAST}) AS least,
                       max(reading) FILTER (WHERE merge = {Merge.GREATEST}) AS most,
                       {_newest("at", "latest_id", "reading", "merge")} AS newest
                FROM ({_readings(source, "f.weight" if weighted else "1")}) AS readings
                WHERE reading IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
            ) AS sums
        ) AS totals
    """


def _newest(at: str, id: str, quantity: str, merge: str) -> str:
    """SQL for the latest of several parts: their greatest, which needs no sorting.

    By way of its text, because the greatest of several rows is a row of no known type.
    """
    newest = f"max(ROW({at}, {id}, {quantity})) FILTER (WHERE {merge} = {Merge.LATEST})"
    return f"({newest})::text::usage_latest"


def _readings(source: str, weight: str) -> str:
    """SQL for what each event says to each definition that reads it; NULL where it has no number to say."""
    return rf"""
        SELECT f.tenant_id, d.key AS meter, f.package, f.deployment, {STANDING} AS standing,
               {bin_of("minute", "f.at")} AS start, f.at, f.id || ' ' || f.source AS latest_id, {weight} AS weight,
               d.merge,
               CASE WHEN d.merge = {Merge.DISTINCT} THEN f.dimensions ->> d.value END AS value,
               CASE WHEN d.counts THEN 1 WHEN d.merge = {Merge.DISTINCT} THEN 0 WHEN d.value IS NULL THEN f.quantity
                    WHEN f.dimensions ->> d.value ~ {_NUMBER} THEN (f.dimensions ->> d.value)::numeric END AS reading,
               CASE jsonb_array_length(d.dimensions) WHEN 0 THEN NULL
                    WHEN 1 THEN CASE WHEN f.dimensions ? (d.dimensions ->> 0)
                        THEN jsonb_build_object(d.dimensions ->> 0, f.dimensions -> (d.dimensions ->> 0)) END
                    ELSE (
                        SELECT jsonb_object_agg(name, f.dimensions -> name)
                        FROM jsonb_array_elements_text(d.dimensions) AS name WHERE f.dimensions ? name
                    ) END AS dimensions
        FROM {source} f JOIN defined d ON d.tenant_id = f.tenant_id AND d.event = f.meter
        WHERE d.value IS NULL OR f.dimensions ? d.value
    """


DEFINED = """
    SELECT d.tenant_id, d.key, d.event, d.merge, d.counts, d.value, d.dimensions::jsonb AS dimensions
    FROM unnest(
        CAST(:d_tenants AS text[]), CAST(:d_keys AS text[]), CAST(:d_events AS text[]), CAST(:d_merges AS int[]),
        CAST(:d_counts AS boolean[]), CAST(:d_values AS text[]), CAST(:d_dimensions AS text[])
    ) AS d (tenant_id, key, event, merge, counts, value, dimensions)
"""
"""The relation `defined` of the statements above, from `defined_parameters`."""


def defined_parameters(definitions: Sequence[Definition]) -> dict[str, list[Any]]:
    """What a statement with `DEFINED` is executed with."""
    return {
        "d_tenants": [one.tenant for one in definitions],
        "d_keys": [one.key for one in definitions],
        "d_events": [one.event for one in definitions],
        "d_merges": [int(one.merge) for one in definitions],
        "d_counts": [one.aggregation == "count" for one in definitions],
        "d_values": [one.value for one in definitions],
        "d_dimensions": [msgspec.json.encode(list(one.dimensions)).decode() for one in definitions],
    }


# --- moving it -----------------------------------------------------------------------------------


def merged(table: str) -> str:
    """SQL for the whole that parts of a total make up; the parts are rows of `table`, of one kind of merge."""
    newest = _newest(*(f"{table}.{column}" for column in ("latest_at", "latest_id", "quantity", "merge")))
    return f"""
        CASE {table}.merge WHEN {Merge.LEAST} THEN min({table}.quantity) WHEN {Merge.GREATEST} THEN max({table}.quantity)
             WHEN {Merge.LATEST} THEN ({newest}).quantity ELSE sum({table}.quantity) END
    """


def _add_to(grain: str) -> str:
    # By what a key was defined as before and by what it is now, a series may have two kinds of parts until the build
    # of its meter clears both: one of them is as good, and nobody else's totals have to wait for that.
    newer = "(excluded.latest_at, excluded.latest_id) > (total.latest_at, total.latest_id)"
    return f"""
        INSERT INTO usage_{grain} AS total
            (series, start, events, latest_at, merge, tenant_id, quantity, latest_id)
        SELECT DISTINCT ON (series, {bin_of(grain)})
               series, {bin_of(grain)}, sum(events)::bigint, max(latest_at), merge, tenant_id, {merged("moved")},
               ({_newest("latest_at", "latest_id", "quantity", "merge")}).id
        FROM moved GROUP BY series, {bin_of(grain)}, merge, tenant_id ORDER BY series, {bin_of(grain)}
        ON CONFLICT (series, start) DO UPDATE SET
            events = total.events + excluded.events,
            quantity = CASE total.merge
                WHEN {Merge.LEAST} THEN least(total.quantity, excluded.quantity)
                WHEN {Merge.GREATEST} THEN greatest(total.quantity, excluded.quantity)
                WHEN {Merge.LATEST} THEN CASE WHEN {newer} THEN excluded.quantity ELSE total.quantity END
                ELSE total.quantity + excluded.quantity END,
            latest_at = CASE WHEN {newer} THEN excluded.latest_at ELSE total.latest_at END,
            latest_id = CASE WHEN {newer} THEN excluded.latest_id ELSE total.latest_id END
    """


_ROLL = text(f"""
    WITH moved AS (
        DELETE FROM usage_deltas
        WHERE seq <= :upto AND date_trunc('month', start, 'UTC') = ANY(CAST(:months AS timestamptz[]))
        RETURNING {COLUMNS}
    ), series AS (
        INSERT INTO usage_series (id, tenant_id, meter, package, deployment, standing, dimensions, value, merge)
        SELECT DISTINCT ON (series) series, tenant_id, meter, package, deployment, standing, dimensions, value, merge
        FROM moved WHERE NOT EXISTS (SELECT FROM usage_series known WHERE known.id = moved.series)
        ON CONFLICT DO NOTHING
    ), {", ".join(f"{grain}s AS ({_add_to(grain)})" for grain in GRAINS)}, periods AS (
        INSERT INTO period_totals (tenant_id, deployment, meter, period_start, dirty)
        SELECT DISTINCT tenant_id, deployment, meter, date_trunc('month', start, 'UTC'), true
        FROM moved WHERE standing
        ON CONFLICT (tenant_id, deployment, meter, period_start) DO UPDATE SET dirty = true
    )
    SELECT count(*) FROM moved
""")


async def lock_roller(connection: AsyncConnection, *, wait: bool = False) -> bool:
    """Be the only one that writes totals until the transaction ends; False when somebody else is."""
    if wait:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_ROLL_LOCK})"))
        return True
    locked = await connection.execute(text(f"SELECT pg_try_advisory_xact_lock({_ROLL_LOCK})"))
    return bool(locked.scalar_one())


async def prepare_roll(connection: AsyncConnection, limit: int) -> tuple[int, list[Any]] | None:
    """See to it that the oldest `limit` increments can be moved. Returns up to which, and of which months.

    In a transaction before the one that moves: making a partition and using the table would wait for each other.
    """
    row = (
        await connection.execute(
            text("""
                SELECT max(seq) AS upto, array_agg(DISTINCT date_trunc('month', start, 'UTC')) AS months
                FROM (SELECT seq, start FROM usage_deltas ORDER BY seq LIMIT :limit) AS oldest
            """),
            {"limit": limit},
        )
    ).one()
    if row.upto is None:
        return None
    await connection.execute(
        text("""
            SELECT ensure_usage_partition('usage_minute', (month AT TIME ZONE 'UTC')::date)
            FROM unnest(CAST(:months AS timestamptz[])) AS month
        """),
        {"months": row.months},
    )
    return row.upto, list(row.months)


async def roll(connection: AsyncConnection, upto: int, months: Sequence[Any]) -> int:
    """Move increments into the totals, under the roller's lock. Returns how many."""
    moved: int = (await connection.execute(_ROLL, {"upto": upto, "months": list(months)})).scalar_one()
    return moved
