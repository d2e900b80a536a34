"""How long a month's usage takes to be asked for: `python -m benchmarks.usage_query`.

Totals of 1,000 tenants with 20 meters each, for 30 days of 24 hours, are generated into the tables of metering as its
roller leaves them: hour after hour, each in the order of the series, and the days they come to. Then the use case behind
`GET /api/v1/usage` answers a month's query grouped in several ways, of one tenant after the other drawn at random,
under the tenant's own role and row-level security.

PostgreSQL is the part of `./dev up` with its settings, on a folder and a port of its own. Prints one JSON line last;
`p95_milliseconds` is that of the slowest shape. `--tenants` makes it smaller.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from agora_contracts.metering import QueryUsage
from agora_kit.database import Database, migrate
from agora_kit.provision import DatabasePasswords, DatabaseUrls, provision
from agora_local.parts import Postgres
from agora_local.ports import free_port
from agora_local.testing import own_folder
from agora_metering.queries.service import query_usage

TENANTS = 1000
METERS = 20
DAYS = 30
QUERIES = 300
WARM_UP = 20
MONTH = datetime(2026, 3, 1, tzinfo=UTC)
TABLES = ("usage_series", "usage_hour", "usage_day")

SHAPES: dict[str, dict[str, Any]] = {
    "day": {"group_by": ["day"]},
    "meter": {"group_by": ["meter"]},
    "package": {"group_by": ["package"]},
    "meter, day": {"group_by": ["meter", "day"]},
    "day in Berlin": {"group_by": ["day"], "time_zone": "Europe/Berlin"},
    "one meter by hour": {"group_by": ["hour"], "meter": "meter_7"},
}


# --- the totals ----------------------------------------------------------------------------------

_SERIES = """
    INSERT INTO usage_series (id, tenant_id, meter, package, deployment, standing, merge)
    SELECT usage_series_id(tenant_id, meter, package, deployment, false, NULL, NULL), tenant_id, meter, package,
           deployment, false, 0
    FROM (
        SELECT 'ten_' || md5(t::text) AS tenant_id, 'meter_' || m AS meter, 'package-' || m % 5 AS package,
               'dep_' || md5(t || '-' || m % 5) AS deployment
        FROM generate_series(1, $1::int) AS t, generate_series(0, $2::int - 1) AS m
    ) AS named
"""
_HOURS = """
    INSERT INTO usage_hour (series, start, events, merge, tenant_id, quantity)
    SELECT s.id, h, 60, 0, s.tenant_id, (hashtext(s.id::text || h::text) & 65535)::numeric / 16
    FROM usage_series s, (SELECT $1::timestamptz AS h) AS hour ORDER BY s.id
"""
_DAYS = """
    INSERT INTO usage_day (series, start, events, merge, tenant_id, quantity)
    SELECT series, $1, sum(events), merge, tenant_id, sum(quantity) FROM usage_hour
    WHERE start >= $1 AND start < $1 + interval '1 day' GROUP BY series, merge, tenant_id ORDER BY series
"""


async def generate(urls: DatabaseUrls, tenants: int) -> dict[str, Any]:
    """Fill the tables, day after day; their rows and sizes."""
    connection = await asyncpg.connect(urls.owner.replace("+asyncpg", ""))
    await connection.execute(_SERIES, tenants, METERS)
    for number in range(DAYS):
        day = MONTH + timedelta(days=number)
        for hour in range(24):
            await connection.execute(_HOURS, day + timedelta(hours=hour))
        await connection.execute(_DAYS, day)
        print(f"day {number + 1} of {DAYS}", file=sys.stderr, flush=True)
    await connection.execute(f"VACUUM ANALYZE {', '.join(TABLES)}")
    rows = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}
    sizes = {
        table: round(await connection.fetchval("SELECT pg_total_relation_size($1::regclass)", table) / 2**20)
        for table in TABLES
    }
    await connection.close()
    return {"rows": rows, "megabytes_with_indexes": sizes}


# --- the queries ---------------------------------------------------------------------------------


async def ask(database: Database, tenants: Sequence[str], shape: dict[str, Any], count: int) -> list[float]:
    """Milliseconds of each of so many queries, of tenants drawn at random."""
    chance = random.Random(1)
    taken = []
    for number in range(count + WARM_UP):
        tenant = chance.choice(tenants)
        query = QueryUsage(tenant=tenant, start=MONTH, end=MONTH + timedelta(days=DAYS), **shape)
        started = time.perf_counter()
        async with database.transaction(tenant) as connection:
            report = await query_usage(connection, query)
        if number >= WARM_UP:
            taken.append((time.perf_counter() - started) * 1000)
        if not report.items:
            raise RuntimeError(f"{shape} found nothing")
    return taken


def percentiles(taken: Sequence[float]) -> dict[str, float]:
    """The median and the two that hurt, in milliseconds."""
    ordered = sorted(taken)
    return {
        f"p{percent}": round(ordered[min(len(ordered) * percent // 100, len(ordered) - 1)], 1)
        for percent in (50, 95, 99)
    }


async def measure(folder: Path, tenants: int, queries: int) -> dict[str, Any]:
    """Generate, ask, and say what it took."""
    with Postgres(folder / "postgres", free_port()) as server:
        words = DatabasePasswords(app="app", system="system", owner="owner")
        urls = await provision(server.url, "metering", words)
        await asyncio.to_thread(migrate, urls.owner, "agora_metering")
        generated = await generate(urls, tenants)
        database = Database(urls.app, urls.system)
        names = await _tenants(urls)
        shapes = {}
        for name, shape in SHAPES.items():
            shapes[name] = percentiles(await ask(database, names, shape, queries))
            print(f"by {name}: {shapes[name]}", file=sys.stderr, flush=True)
        await database.close()
    return {
        "bench": "usage-query",
        "p95_milliseconds": max(one["p95"] for one in shapes.values()),
        "shapes": shapes,
        "tenants": tenants,
        "queries_a_shape": queries,
        **generated,
    }


async def _tenants(urls: DatabaseUrls) -> list[str]:
    connection = await asyncpg.connect(urls.owner.replace("+asyncpg", ""))
    rows = await connection.fetch("SELECT DISTINCT tenant_id FROM usage_series ORDER BY 1")
    await connection.close()
    return [row["tenant_id"] for row in rows]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks.usage_query", description=__doc__.partition("\n")[0])
    parser.add_argument("--tenants", type=int, default=TENANTS)
    parser.add_argument("--queries", type=int, default=QUERIES, help="queries of each shape")
    options = parser.parse_args(arguments)
    with own_folder() as folder:
        report = asyncio.run(measure(folder, options.tenants, options.queries))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
