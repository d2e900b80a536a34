"""SQL for usage events. Never commits."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from operator import attrgetter
from typing import Any
from uuid import uuid4

import msgspec
from agora_contracts.envelope import Envelope
from agora_contracts.usage import UsageRecorded
from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.database import metadata
from agora_metering.totals.model import Definition
from agora_metering.totals.store import (
    DEFINED,
    INSERT_DELTAS,
    STANDING,
    defined_deltas,
    defined_parameters,
    plain_deltas,
)
from agora_metering.usage.model import Body, EventKey

usage_events = Table(
    "usage_events",
    metadata,
    Column("accepted_month", Date, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("run", Text),
    Column("deployment", Text),
    Column("package", Text),
    Column("meter", Text, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("dimensions", JSONB),
    PrimaryKeyConstraint("id", "source", "tenant_id", "accepted_month"),
)
Index("ix_usage_events_run", usage_events.c.run, postgresql_where=usage_events.c.run.is_not(None))
Index(
    "ix_usage_events_standing",
    usage_events.c.tenant_id,
    usage_events.c.deployment,
    usage_events.c.meter,
    usage_events.c.at,
    postgresql_where=text("run IS NULL AND deployment IS NOT NULL"),
)

usage_period = Table(
    "usage_period",
    metadata,
    Column("single", Boolean, nullable=False, server_default="true"),
    Column("current", Date, nullable=False),
    PrimaryKeyConstraint("single"),
)

MONTHS_BEFORE = 2
"""In how many months before the current one a duplicate is looked for: for 59 days at least."""


async def lock_month(connection: AsyncConnection) -> date:
    """The month that is accepted into, which does not change until the transaction ends."""
    month: date = (await connection.execute(text("SELECT current FROM usage_period FOR SHARE"))).scalar_one()
    return month


def months_before(month: date) -> list[date]:
    """The months in which, besides the current one, a duplicate may lie."""
    number = month.year * 12 + month.month - 1
    return [date((number - back) // 12, (number - back) % 12 + 1, 1) for back in range(1, MONTHS_BEFORE + 1)]


# Whatever was not there before is stored, and exactly that is added to the totals, in one statement. Columns travel as
# one text each, which costs the driver a quarter of what arrays do, and quantities as text because that is the cheaper
# way into `numeric`. The last row is none: it keeps a lone empty text from being taken for no text. What was stored
# comes back by run; event by event only when it was not all of them.
_STORE = """
    WITH fresh AS (
        INSERT INTO usage_events (accepted_month, tenant_id, source, id, run, deployment, package, meter, quantity, at,
                                  dimensions)
        SELECT :month, i.tenant_id, i.source, i.id, i.run, i.deployment, i.package, i.meter, i.quantity::numeric, i.at,
               i.dimensions::jsonb
        FROM unnest({columns}, CAST(:times AS timestamptz[]))
            AS i (tenant_id, source, id, run, deployment, package, meter, quantity, dimensions, at)
        WHERE i.tenant_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM usage_events before
            WHERE before.id = i.id AND before.source = i.source AND before.tenant_id = i.tenant_id
                AND before.accepted_month = ANY(CAST(:before AS date[]))
            OFFSET 0
        )
        ON CONFLICT DO NOTHING
        RETURNING tenant_id, source, id, run, deployment, package, meter, quantity, at, dimensions
    ), {deltas}
    SELECT tenant_id, run, count(*) AS events, NULL AS source, NULL AS id FROM fresh GROUP BY 1, 2
    UNION ALL
    SELECT tenant_id, NULL, 0, source, id FROM fresh WHERE (SELECT count(*) FROM fresh) < :count
"""
_TEXTS = (
    "tenants",
    "sources",
    "ids",
    "runs",
    "deployments",
    "packages",
    "meters",
    "quantities",
    "dimensions",
)
_COLUMNS = ", ".join(f"string_to_array(:{name}, :separator, :null)" for name in _TEXTS)
_TAKE_IN = text(_STORE.format(columns=_COLUMNS, deltas=f"plain AS ({INSERT_DELTAS} {plain_deltas('fresh')})"))


# What was recorded under a key that its tenant has defined adds nothing to a sum: its month is told from the events.
_TAKE_IN_DEFINED = text(
    _STORE.format(
        columns=_COLUMNS,
        deltas=f"""
            defined AS MATERIALIZED ({DEFINED}),
            plain AS ({INSERT_DELTAS} {plain_deltas("fresh", skip_defined=True)}),
            made AS ({INSERT_DELTAS} {defined_deltas("fresh")}),
            told AS (
                INSERT INTO period_totals (tenant_id, deployment, meter, period_start, dirty)
                SELECT DISTINCT tenant_id, deployment, meter, date_trunc('month', at, 'UTC'), true FROM fresh f
                WHERE {STANDING} AND EXISTS (
                    SELECT FROM meters m WHERE m.tenant_id = f.tenant_id AND m.key = f.meter)
                ORDER BY 1, 2, 3, 4
                ON CONFLICT (tenant_id, deployment, meter, period_start) DO UPDATE SET dirty = true
            )
        """,
    )
)


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What `take_in` has stored: how many events, of which (tenant, run), and which, unless it was all of them."""

    count: int
    runs: list[tuple[str, str]]
    keys: set[EventKey] | None


async def take_in(
    connection: AsyncConnection,
    events: Sequence[Envelope[UsageRecorded]],
    *,
    month: date,
    definitions: Sequence[Definition],
) -> Stored:
    """Store the events that are new and add them to the totals, as the definitions of their tenants say."""
    # Always in the same order: two batches that share events would otherwise wait for each other.
    events = sorted(events, key=attrgetter("id", "source", "tenant"))
    facts = [event.data for event in events]
    parameters: dict[str, Any] = {
        "month": month,
        "before": months_before(month),
        "count": len(events),
        "times": [event.time for event in events],
    } | joined(
        {
            "tenants": [event.tenant for event in events],
            "sources": [event.source for event in events],
            "ids": [event.id for event in events],
            "runs": [fact.run for fact in facts],
            "deployments": [fact.deployment for fact in facts],
            "packages": [fact.package for fact in facts],
            "meters": [fact.meter for fact in facts],
            "quantities": [str(fact.quantity) for fact in facts],
            "dimensions": [_json(fact.dimensions) if fact.dimensions else None for fact in facts],
        }
    )
    statement = _TAKE_IN
    if definitions:
        statement = _TAKE_IN_DEFINED
        parameters |= defined_parameters(definitions)
    rows = (await connection.execute(statement, parameters)).all()
    count = sum(row.events for row in rows)
    return Stored(
        count=count,
        runs=[(row.tenant_id, row.run) for row in rows if row.run is not None],
        keys=None
        if count == len(events)
        else {(row.id, row.source, row.tenant_id) for row in rows if row.id is not None},
    )


def joined(columns: Mapping[str, Sequence[str | None]]) -> dict[str, str]:
    """Columns of texts as one text each, with what separates and what stands for null, which no text of them holds.

    Each gets a null at its end.
    """
    separator, null = "\x1f", "\x1e"
    while True:
        texts = {
            name: separator.join([null if one is None else one for one in column]) + separator + null
            for name, column in columns.items()
        }
        if all(
            whole.count(separator) == len(columns[name])
            and whole.count(null) == columns[name].count(None) + 1
            for name, whole in texts.items()
        ):
            return texts | {"separator": separator, "null": null}
        # Somebody's text has them: others, which nobody can foresee.
        separator, null = f"\x1f{uuid4().hex}\x1f", f"\x1e{uuid4().hex}\x1e"


def _json(dimensions: dict[str, str]) -> str:
    return _encoder.encode(dimensions).decode()


_encoder = msgspec.json.Encoder()


async def stored_bodies(
    connection: AsyncConnection, keys: Collection[EventKey], *, month: date
) -> dict[EventKey, Body]:
    """What the stored events of these keys say."""
    ordered = sorted(keys)
    rows = await connection.execute(
        text("""
            SELECT e.id, e.source, e.tenant_id, e.run, e.deployment, e.package, e.meter, e.quantity, e.at, e.dimensions
            FROM unnest(CAST(:ids AS text[]), CAST(:sources AS text[]), CAST(:tenants AS text[]))
                AS i (id, source, tenant_id),
            LATERAL (
                SELECT * FROM usage_events e
                WHERE e.id = i.id AND e.source = i.source AND e.tenant_id = i.tenant_id
                    AND e.accepted_month = ANY(CAST(:months AS date[]))
            ) AS e
        """),
        {
            "ids": [key[0] for key in ordered],
            "sources": [key[1] for key in ordered],
            "tenants": [key[2] for key in ordered],
            "months": [month, *months_before(month)],
        },
    )
    return {
        (row.id, row.source, row.tenant_id): Body(
            run=row.run,
            deployment=row.deployment,
            package=row.package,
            meter=row.meter,
            quantity=row.quantity,
            at=row.at,
            dimensions=row.dimensions or {},
        )
        for row in rows
    }
