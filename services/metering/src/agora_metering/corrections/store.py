"""SQL for corrections and what they change in totals. Never commits."""

from collections.abc import Sequence
from typing import Any

from agora_contracts.subjects import PLATFORM_TENANT
from agora_contracts.usage_ingest import UsageCorrection
from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.corrections.model import Correction, Counted
from agora_metering.database import metadata
from agora_metering.totals.model import Definition, Merge
from agora_metering.totals.store import (
    DEFINED,
    INSERT_DELTAS,
    STANDING,
    bin_of,
    defined_deltas,
    defined_parameters,
    plain_deltas,
)
from agora_metering.totals.tables import GRAINS

usage_corrections = Table(
    "usage_corrections",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("accepted_month", Date, nullable=False),
    Column("corrects_source", Text, nullable=False),
    Column("corrects_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("difference", Numeric, nullable=False),
    Column("reason", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("run", Text),
    Column("deployment", Text),
    Column("used_at", DateTime(timezone=True), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("tenant_id", "source", "id"),
    UniqueConstraint(
        "corrects_id", "corrects_source", "tenant_id", "accepted_month", "number",
        name="uq_usage_corrections_corrected",
    ),
    CheckConstraint("kind IN ('void', 'amend')", name="kind"),
)  # fmt: skip

_EVENT_LOCK = 7_203_110


async def lock_event(connection: AsyncConnection, tenant: str, source: str, id: str) -> None:
    """Keep other corrections of the same event waiting until the transaction ends."""
    await connection.execute(
        text(f"SELECT pg_advisory_xact_lock({_EVENT_LOCK}, hashtext(:key))"),
        {"key": f"{tenant} {source} {id}"},
    )


async def find(connection: AsyncConnection, tenant: str, source: str, id: str) -> UsageCorrection | None:
    """A correction that was booked under this source and id."""
    rows = await connection.execute(
        text("""
            SELECT id, source, corrects_id, corrects_source, kind, meter, quantity, difference, reason, at, run,
                   deployment
            FROM usage_corrections WHERE tenant_id = :tenant AND source = :source AND id = :id
        """),
        {"tenant": tenant, "source": source, "id": id},
    )
    row = rows.one_or_none()
    return None if row is None else UsageCorrection(**row._mapping)


async def find_counted(connection: AsyncConnection, tenant: str, source: str, id: str) -> Counted | None:
    """An event as it counts now; the newest where an id was used again after its deduplication was over."""
    rows = await connection.execute(
        text("""
            SELECT e.accepted_month, e.source, e.id, e.meter, e.quantity, e.voided, e.at, e.run, e.deployment,
                   e.package,
                   (SELECT count(*) FROM usage_corrections c
                    WHERE c.corrects_id = e.id AND c.corrects_source = e.source AND c.tenant_id = e.tenant_id
                        AND c.accepted_month = e.accepted_month) AS corrections
            FROM usage_effective e WHERE e.id = :id AND e.source = :source AND e.tenant_id = :tenant
            ORDER BY e.accepted_month DESC LIMIT 1
        """),
        {"tenant": tenant, "source": source, "id": id},
    )
    row = rows.one_or_none()
    return None if row is None else Counted(**row._mapping)


async def insert(connection: AsyncConnection, correction: Correction) -> bool:
    """Book a correction; False when there is one under its source and id."""
    corrected = correction.corrects
    rows = await connection.execute(
        text("""
            INSERT INTO usage_corrections
                (tenant_id, source, id, accepted_month, corrects_source, corrects_id, number, kind, quantity,
                 difference, reason, meter, run, deployment, used_at, at)
            VALUES (:tenant, :source, :id, :month, :corrects_source, :corrects_id, :number, :kind, :quantity,
                    :difference, :reason, :meter, :run, :deployment, :used_at, :at)
            ON CONFLICT (tenant_id, source, id) DO NOTHING RETURNING id
        """),
        {
            "tenant": correction.tenant,
            "source": correction.source,
            "id": correction.id,
            "month": corrected.accepted_month,
            "corrects_source": corrected.source,
            "corrects_id": corrected.id,
            "number": correction.number,
            "kind": correction.kind,
            "quantity": correction.quantity,
            "difference": correction.difference,
            "reason": correction.reason,
            "meter": corrected.meter,
            "run": corrected.run,
            "deployment": corrected.deployment,
            "used_at": corrected.at,
            "at": correction.at,
        },
    )
    return rows.first() is not None


# --- what totals change --------------------------------------------------------------------------

# The event as it counted, taken away, and as it counts, added: either is left out where the event is voided.
_CHANGED = """
    changed AS (
        SELECT e.tenant_id, e.source, e.id, e.run, e.deployment, e.package, e.meter, v.quantity, e.at, e.dimensions,
               v.weight
        FROM usage_events e,
            (VALUES (CAST(:before AS numeric), -1), (CAST(:after AS numeric), 1)) AS v (quantity, weight)
        WHERE e.id = :id AND e.source = :source AND e.tenant_id = :tenant AND e.accepted_month = :month
            AND v.quantity IS NOT NULL
    )
"""
_PLAIN = text(
    f"WITH {_CHANGED}, defined AS ({DEFINED}), "
    f"added AS ({INSERT_DELTAS} {plain_deltas('changed', weighted=True, skip_defined=True)}) SELECT"
)
_ADDED = text(
    f"WITH {_CHANGED}, defined AS ({DEFINED}), "
    f"added AS ({INSERT_DELTAS} {defined_deltas('changed', weighted=True)}) SELECT"
)


async def change_sums(
    connection: AsyncConnection, correction: Correction, definitions: Sequence[Definition]
) -> None:
    """Add what a correction changes to the totals that are sums and counts: the increments say it all."""
    corrected = correction.corrects
    parameters: dict[str, Any] = {
        "before": None if corrected.voided else corrected.quantity,
        "after": None if correction.kind == "void" else correction.quantity,
        "tenant": correction.tenant,
        "source": corrected.source,
        "id": corrected.id,
        "month": corrected.accepted_month,
    }
    await connection.execute(_PLAIN, parameters | defined_parameters(definitions))
    additive = [one for one in definitions if one.event == corrected.meter and not _by_order(one)]
    if additive:
        await connection.execute(_ADDED, parameters | defined_parameters(additive))


def by_order(definitions: Sequence[Definition], meter: str) -> list[Definition]:
    """The definitions that read a meter and whose totals no increment can mend: least, greatest and latest."""
    return [one for one in definitions if one.event == meter and _by_order(one)]


def _by_order(definition: Definition) -> bool:
    return definition.merge in (Merge.LEAST, Merge.GREATEST, Merge.LATEST)


def _of_series(table: str, when: str) -> str:
    return f"DELETE FROM {table} WHERE series = (SELECT id FROM touched) AND {when}"


# All of the group's day is taken away and put back as increments, in one statement: whoever looks sees either.
# What others have counted and not committed yet is in neither, and is added to it.
_TODAY = f"start >= {bin_of('day', 'CAST(:at AS timestamptz)')} AND start < {bin_of('day', 'CAST(:at AS timestamptz)')} + interval '1 day'"
# Nothing is accepted long before it happened: what was in the months before need not be read.
_SINCE = """
    e.accepted_month >= date_trunc('month', CAST(:at AS timestamptz) AT TIME ZONE 'UTC' - interval '1 day')
"""
_SAME_GROUP = f"""
    SELECT e.*, {STANDING.replace("run", "e.run").replace("deployment", "e.deployment")} AS stands,
           CASE WHEN d.dimensions <> '[]' THEN (
               SELECT jsonb_object_agg(name, e.dimensions -> name)
               FROM jsonb_array_elements_text(d.dimensions) AS name WHERE e.dimensions ? name
           ) END AS grouped
    FROM usage_effective e JOIN defined d ON d.tenant_id = e.tenant_id AND d.event = e.meter
"""
_RECOUNT = text(f"""
    WITH defined AS MATERIALIZED ({DEFINED}), corrected AS (
        {_SAME_GROUP}
        WHERE e.id = :id AND e.source = :source AND e.tenant_id = :tenant AND e.accepted_month = :month
    ), touched AS (
        SELECT usage_series_id(c.tenant_id, d.key, c.package, c.deployment, c.stands, c.grouped, NULL) AS id
        FROM corrected c, defined d
    ), members AS MATERIALIZED (
        SELECT m.* FROM ({_SAME_GROUP} WHERE e.tenant_id = :tenant AND NOT e.voided AND {_TODAY.replace("start", "e.at")} AND {_SINCE}) AS m
        JOIN corrected c ON m.package IS NOT DISTINCT FROM c.package AND m.stands = c.stands
            AND m.deployment IS NOT DISTINCT FROM c.deployment AND m.grouped IS NOT DISTINCT FROM c.grouped
    ), {", ".join(f"{grain}s AS ({_of_series(f'usage_{grain}', _TODAY)})" for grain in GRAINS)},
    waiting AS ({_of_series("usage_deltas", _TODAY)}),
    added AS ({INSERT_DELTAS} {defined_deltas("members")})
    SELECT
""")


async def building(connection: AsyncConnection, definition: Definition) -> str | None:
    """Whose meter it is that is being back-filled under this definition's key: the tenant's or the platform's; None
    where nothing is being back-filled."""
    rows = await connection.execute(
        text("""
            SELECT tenant_id FROM meters
            WHERE key = :key AND tenant_id IN (:tenant, :platform) AND state = 'backfilling'
        """),
        {"key": definition.key, "tenant": definition.tenant, "platform": PLATFORM_TENANT},
    )
    owner: str | None = rows.scalar_one_or_none()
    return owner


async def recount(connection: AsyncConnection, correction: Correction, definition: Definition) -> None:
    """Make the totals of the corrected event's group and day anew from what is stored; under the roller's lock."""
    corrected = correction.corrects
    await connection.execute(
        _RECOUNT,
        {
            "tenant": correction.tenant,
            "source": corrected.source,
            "id": corrected.id,
            "month": corrected.accepted_month,
            "at": corrected.at,
        }
        | defined_parameters([definition]),
    )
