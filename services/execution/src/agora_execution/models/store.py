"""SQL for model calls: what a run may still spend, reserved before each try and settled after it. Never commits.

Both hot paths are one statement for many calls, which is a transaction by itself.
"""

from collections.abc import Sequence

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import metadata
from agora_execution.models.model import RETRIES_MAX, CallPlace, Opened, Opening, Room, Settlement

model_calls = Table(
    "model_calls",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("spent", BigInteger),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("reconciled", Boolean),
    Column("failure", Text),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("number", Integer, nullable=False, server_default="1"),
    Column("digest", Text),
    Column("reply", JSONB),
    Column("own_key", Boolean, nullable=False, server_default="false"),
    Column("cost", BigInteger),
    Column("cached", Boolean, nullable=False, server_default="false"),
    Column("settled_at", DateTime(timezone=True)),
)
Index("ix_model_calls_run_id", model_calls.c.run_id)
Index(
    "ix_model_calls_replies",
    model_calls.c.run_id,
    model_calls.c.step_id,
    model_calls.c.digest,
    model_calls.c.number,
    postgresql_where=model_calls.c.reply.is_not(None),
)
Index("ix_model_calls_at", model_calls.c.at, postgresql_using="brin", postgresql_with={"pages_per_range": 16})
Index("ix_model_calls_open", model_calls.c.at, postgresql_where=model_calls.c.spent.is_(None))

_ASKED = """
    asked AS (
        SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:tenants AS text[]), CAST(:runs AS text[]),
            CAST(:steps AS text[]), CAST(:attempts AS int[]), CAST(:models AS text[]), CAST(:amounts AS bigint[]),
            CAST(:digests AS text[]), CAST(:numbers AS int[]), CAST(:own AS boolean[]), CAST(:retries AS int[]))
            AS a(id, tenant, run, step, attempt, model, amount, digest, number, own, retry))
"""

_COLUMNS = "id, tenant_id, run_id, step_id, attempt, model, reserved, digest, number, own_key"
_VALUES = "id, tenant, run, step, attempt, model, amount, digest, number, own"

_KNOWN = """
    known AS (
        SELECT DISTINCT ON (asked.id) asked.id, m.reply FROM asked
        JOIN model_calls m ON m.run_id = asked.run AND m.step_id = asked.step AND m.digest = asked.digest
            AND m.number = asked.number AND m.reply IS NOT NULL
        ORDER BY asked.id, m.at)
"""

_REPLIES = text("""
    SELECT DISTINCT ON (asked.place) asked.place, m.reply::text AS reply
    FROM unnest(CAST(:runs AS text[]), CAST(:steps AS text[]), CAST(:digests AS text[]), CAST(:numbers AS int[]))
        WITH ORDINALITY AS asked(run, step, digest, number, place)
    JOIN model_calls m ON m.run_id = asked.run AND m.step_id = asked.step AND m.digest = asked.digest
        AND m.number = asked.number AND m.reply IS NOT NULL
    ORDER BY asked.place, m.at
""")

# A run's row is taken only where all of the batch's calls fit; the others are for `open_in_turn`, which looks at each.
_OPEN = text(f"""
    WITH {_ASKED}, {_KNOWN},
    fresh AS (SELECT * FROM asked WHERE id NOT IN (SELECT id FROM known)),
    wanted AS (SELECT run, sum(amount)::bigint AS amount, sum(retry)::int AS retries FROM fresh GROUP BY run),
    ready AS (
        SELECT runs.id FROM runs JOIN wanted ON wanted.run = runs.id
        WHERE finished_at IS NULL AND (wanted.amount = 0 OR model_spent + model_reserved + wanted.amount <= model_cost)
            AND model_retries + wanted.retries <= {RETRIES_MAX}
        ORDER BY runs.id FOR NO KEY UPDATE OF runs),
    taken AS (
        UPDATE runs SET model_reserved = model_reserved + wanted.amount,
            model_retries = model_retries + wanted.retries
        FROM wanted JOIN ready ON ready.id = wanted.run WHERE runs.id = wanted.run AND finished_at IS NULL
            AND (wanted.amount = 0 OR model_spent + model_reserved + wanted.amount <= model_cost)
            AND model_retries + wanted.retries <= {RETRIES_MAX}
        RETURNING runs.id),
    opened AS (
        INSERT INTO model_calls ({_COLUMNS}) SELECT {_VALUES} FROM fresh WHERE run IN (SELECT id FROM taken)
        RETURNING id)
    SELECT id, NULL AS reply FROM opened UNION ALL SELECT id, reply::text FROM known
""")

_LOCK = text("""
    SELECT id, model_cost, model_reserved, model_spent, model_retries, finished_at IS NOT NULL AS ended FROM runs
    WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR NO KEY UPDATE
""")

_RESERVE = text("""
    UPDATE runs SET model_reserved = model_reserved + u.taken, model_retries = model_retries + u.retried
    FROM unnest(CAST(:ids AS text[]), CAST(:taken AS bigint[]), CAST(:retried AS int[])) AS u(id, taken, retried)
    WHERE runs.id = u.id
""")

_INSERT = text(f"WITH {_ASKED} INSERT INTO model_calls ({_COLUMNS}) SELECT {_VALUES} FROM asked")

_SETTLE = text("""
    WITH given AS (
        SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:spent AS bigint[]), CAST(:costs AS bigint[]),
            CAST(:inputs AS bigint[]), CAST(:outputs AS bigint[]), CAST(:reconciled AS boolean[]),
            CAST(:failures AS text[]), CAST(:replies AS jsonb[]), CAST(:cached AS boolean[]))
            AS g(id, spent, cost, input, output, reconciled, failure, reply, cached)),
    settled AS (
        UPDATE model_calls SET spent = given.spent, cost = given.cost, input_tokens = given.input,
            output_tokens = given.output, reconciled = given.reconciled, failure = given.failure,
            reply = given.reply, cached = given.cached, settled_at = now()
        FROM given WHERE model_calls.id = given.id AND model_calls.spent IS NULL
        RETURNING model_calls.id, run_id, reserved, model_calls.spent),
    sums AS (
        SELECT run_id, sum(reserved)::bigint AS reserved, sum(spent)::bigint AS spent FROM settled GROUP BY run_id),
    ready AS (SELECT id FROM runs WHERE id IN (SELECT run_id FROM sums) ORDER BY id FOR NO KEY UPDATE),
    freed AS (
        UPDATE runs SET model_reserved = model_reserved - sums.reserved, model_spent = model_spent + sums.spent
        FROM sums JOIN ready ON ready.id = sums.run_id WHERE runs.id = sums.run_id)
    SELECT id FROM settled
""")

# What a call of this age was waiting for has long been given up: who made it died.
_LOST = text("""
    SELECT id, reserved FROM model_calls
    WHERE spent IS NULL AND at < now() - make_interval(secs => :seconds) ORDER BY at LIMIT 500
""")

_FORGET = text("""
    UPDATE model_calls SET reply = NULL FROM (
        SELECT m.id FROM model_calls m JOIN runs ON runs.id = m.run_id
        WHERE m.reply IS NOT NULL AND runs.finished_at < now() - make_interval(days => :days) LIMIT 1000) old
    WHERE model_calls.id = old.id
""")


# Of a run that has not ended no call is old: what it had answered may be asked for again.
_EXPIRE = text("""
    DELETE FROM model_calls USING (
        SELECT m.id FROM model_calls m JOIN runs ON runs.id = m.run_id
        WHERE m.at < now() - make_interval(days => :days) AND m.spent IS NOT NULL AND runs.finished_at IS NOT NULL
        LIMIT :most) old
    WHERE model_calls.id = old.id
""")


async def open_at_once(connection: AsyncConnection, openings: Sequence[Opening]) -> dict[str, Opened]:
    """Reserve what tries may cost, and find replies that earlier attempts got; ids that are left out need a turn."""
    rows = await connection.execute(_OPEN, _columns(openings))
    return {row.id: Opened(reply=None if row.reply is None else row.reply.encode()) for row in rows}


async def room(connection: AsyncConnection, run: str) -> tuple[int, int]:
    """What a run's models may cost in all, and what is left of it (micro-units)."""
    row = (
        await connection.execute(
            text(
                "SELECT model_cost, model_cost - model_spent - model_reserved AS left FROM runs WHERE id = :run"
            ),
            {"run": run},
        )
    ).one()
    return row.model_cost, row.left


async def raise_limit(connection: AsyncConnection, run: str, by: int) -> None:
    """Let a run's models cost so many micro-units more: its hold was increased."""
    await connection.execute(
        text("UPDATE runs SET model_cost = model_cost + :by WHERE id = :run"),
        {"run": run, "by": by},
    )


async def lock_rooms(connection: AsyncConnection, runs: Sequence[str]) -> dict[str, Room]:
    """Lock runs in the order of their ids, and say what each has for models."""
    rows = await connection.execute(_LOCK, {"ids": sorted(set(runs))})
    return {
        row.id: Room(
            limit=row.model_cost,
            reserved=row.model_reserved,
            spent=row.model_spent,
            retries=row.model_retries,
            ended=row.ended,
        )
        for row in rows
    }


async def save_openings(
    connection: AsyncConnection, rooms: dict[str, Room], openings: Sequence[Opening]
) -> None:
    """Write what was taken of locked rooms, and the tries that it is for."""
    if not openings:
        return
    changed = {run: room for run, room in rooms.items() if room.taken or room.retried}
    if changed:
        await connection.execute(
            _RESERVE,
            {
                "ids": list(changed),
                "taken": [room.taken for room in changed.values()],
                "retried": [room.retried for room in changed.values()],
            },
        )
    await connection.execute(_INSERT, _columns(openings))


async def settle(connection: AsyncConnection, settlements: Sequence[Settlement]) -> set[str]:
    """Replace reservations by what came of the tries; settling one again changes nothing. Returns those settled."""
    rows = await connection.execute(
        _SETTLE,
        {
            "ids": [one.id for one in settlements],
            "spent": [one.spent for one in settlements],
            "costs": [one.cost for one in settlements],
            "inputs": [one.input_tokens for one in settlements],
            "outputs": [one.output_tokens for one in settlements],
            "reconciled": [one.reconciled for one in settlements],
            "failures": [one.failure for one in settlements],
            "replies": [None if one.reply is None else one.reply.decode() for one in settlements],
            "cached": [one.cached for one in settlements],
        },
    )
    return set(rows.scalars())


async def replies_at(connection: AsyncConnection, places: Sequence[CallPlace]) -> list[bytes | None]:
    """The replies that earlier attempts got at these places, in their order."""
    rows = await connection.execute(
        _REPLIES,
        {
            "runs": [place.run for place in places],
            "steps": [place.step for place in places],
            "digests": [place.digest for place in places],
            "numbers": [place.number for place in places],
        },
    )
    found = {row.place: row.reply.encode() for row in rows}
    return [found.get(place) for place in range(1, len(places) + 1)]


async def lost_calls(connection: AsyncConnection, seconds: float) -> list[tuple[str, int]]:
    """Calls that nobody settled for so long, and what is reserved for each."""
    rows = await connection.execute(_LOST, {"seconds": seconds})
    return [(row.id, row.reserved) for row in rows]


async def forget_replies(connection: AsyncConnection, days: int) -> int:
    """Drop the replies of runs that ended so long ago; what was used and spent stays."""
    return (await connection.execute(_FORGET, {"days": days})).rowcount


async def expire(connection: AsyncConnection, days: int, most: int) -> int:
    """Delete so many calls at most that are older than this, of runs that have ended. Returns how many."""
    return (await connection.execute(_EXPIRE, {"days": days, "most": most})).rowcount


def _columns(openings: Sequence[Opening]) -> dict[str, list[object]]:
    places = [one.place for one in openings]
    return {
        "ids": [one.id for one in openings],
        "tenants": [place.tenant for place in places],
        "runs": [place.run for place in places],
        "steps": [place.step for place in places],
        "attempts": [place.attempt for place in places],
        "models": [one.model for one in openings],
        "amounts": [one.amount for one in openings],
        "digests": [place.digest for place in places],
        "numbers": [place.number for place in places],
        "own": [one.own_key for one in openings],
        "retries": [int(one.retry) for one in openings],
    }
