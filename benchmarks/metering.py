"""Events metered per second, against fetching and copying the same events: `python -m benchmarks.metering`.

Both sides read the same stored events from the same stream, each in a process of its own, one after the other,
in alternating order, with new events for every pair:

- *metering*: the service's own consumer and roller as `./dev up` runs them: decoded, deduplicated over three months,
  indexed by run, looked up among the ended runs, committed, acknowledged, and added to the totals of tenant, deployment,
  package and meter by minute, hour and day, until nothing is left to be added; with a meter of each aggregation defined
  for all tenants (`--plain` leaves these away).
- *copy*: fetched 500 at a time from a consumer that needs no acknowledgement, and their bytes copied into a
  logged table without an index, one transaction a batch.

PostgreSQL and NATS are the parts of `./dev up` with its settings, on a folder and ports of their own. Prints
one JSON line last. With `--memory` it reports how the metering process grows over five million events instead.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import asyncpg
import msgspec
import nats
import psutil
from agora_contracts.ids import derived
from agora_contracts.meters import Aggregation, CheckTotals, CreateMeter
from agora_contracts.subjects import PLATFORM_TENANT, USAGE_STREAM
from agora_contracts.usage import UsageRecorded
from agora_kit.database import Database
from agora_kit.durable import is_caught_up
from agora_kit.outbox import Event, encode
from agora_kit.provision import DatabasePasswords, DatabaseUrls, provision
from agora_kit.relay import ensure_streams
from agora_local.parts import Nats, Postgres
from agora_local.ports import free_port, free_ports
from agora_local.testing import own_folder
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig

from benchmarks.pairs import interleave

COPY_BATCH = 500
USAGE_EVENTS_A_RUN = 4
RUNS_AT_ONCE = 50
TENANTS = [f"ten_{uuid.uuid5(uuid.NAMESPACE_DNS, f'tenant {number}').hex}" for number in range(20)]
METERS = ("tasks", "pages", "model.tokens", "storage.bytes")
START = datetime(2026, 3, 1, tzinfo=UTC)
PAIR_EVENTS = 100_000
MEMORY_EVENTS = 5_000_000
MEMORY_WARM_UP = 100_000
WARM_UP_EVENTS = 2000
_DURABLE = "metering-usage"
_COPY_TABLE = "benchmark_copy"
_TOTALS = """
    SELECT sum(t.events)::bigint, sum(t.quantity) FROM usage_{grain} t JOIN usage_series s ON s.id = t.series
    WHERE s.meter = ANY($1)
"""


DEFINED: tuple[CreateMeter, ...] = tuple(
    CreateMeter(
        tenant=PLATFORM_TENANT,
        key=f"benchmark.{aggregation}",
        unit="unit",
        aggregation=aggregation,
        event=METERS[number % len(METERS)],
        value="branch" if aggregation == "unique_count" else None,
        dimensions=["branch"],
    )
    for number, aggregation in enumerate(get_args(Aggregation))
)
"""A meter of each kind, beside the totals of what is recorded."""


# --- the events ----------------------------------------------------------------------------------


def events(label: str, count: int) -> Iterator[Event]:
    """As many usage events as asked for, of runs that go on side by side, as execution emits them."""
    for number in range(count):
        group, place = divmod(number, USAGE_EVENTS_A_RUN * RUNS_AT_ONCE)
        step, slot = divmod(place, RUNS_AT_ONCE)
        run_number = group * RUNS_AT_ONCE + slot
        tenant = TENANTS[run_number % len(TENANTS)]
        run = derived("run", label, str(run_number))
        meter = METERS[step % len(METERS)]
        yield Event(
            tenant=tenant,
            entity=run,
            id=derived("evt", run, str(step), meter),
            at=START + timedelta(seconds=number // 200),
            data=UsageRecorded(
                meter=meter,
                quantity=Decimal(number % 977) / 8,
                run=run,
                deployment=derived("dep", tenant, str(run_number % 3)),
                package=("ticket-resolver", "knowledge-base", "data-processor")[run_number % 3],
                step=f"work#{step}",
                dimensions={"branch": "main"},
            ),
        )


async def store_events(nats_url: str, label: str, count: int) -> None:
    """Put the events on the emptied stream."""
    connection = await nats.connect(nats_url)
    try:
        await ensure_streams(connection.jetstream())
        stream = connection.jetstream(publish_async_max_pending=4000)
        await stream.purge_stream(USAGE_STREAM.name)
        for event in events(label, count):
            _, subject, payload = encode(event)
            await stream.publish_async(subject, payload)
        await stream.publish_async_completed()
    finally:
        await connection.close()


# --- the two sides, each in a process of its own --------------------------------------------------


class SideResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a side measured: wall and own CPU seconds, and its resident memory along the way, in bytes."""

    seconds: float
    cpu_seconds: float
    resident: list[int] = []


@asynccontextmanager
async def connected(nats_url: str) -> AsyncIterator[Client]:
    """A NATS connection."""
    connection = await nats.connect(nats_url)
    try:
        yield connection
    finally:
        await connection.close()


async def run_metering(nats_url: str, urls: DatabaseUrls, objects_folder: str) -> SideResult:
    """Run the service's consumer of usage until everything on the stream is acknowledged."""
    from agora_metering.app import build
    from agora_metering.settings import MeteringSettings
    from agora_metering.totals.service import roll

    settings = MeteringSettings(
        database_url=urls.app,
        database_system_url=urls.system,
        nats_url=nats_url,
        # For exports, of which there are none here.
        objects_folder=objects_folder,
        log_level="error",
    )
    service = build(settings)
    (consumer,) = (one for one in service.broker.consumers if one.name == _DURABLE)
    process = psutil.Process()
    resident: list[int] = []
    async with connected(nats_url) as watching, connected(nats_url) as consuming:
        await service.database.check()
        started, cpu_before = time.perf_counter(), time.process_time()
        task = asyncio.create_task(consumer.run(consuming, service.database))
        rolling = asyncio.create_task(_keep_rolling(service.database, settings.roll_seconds))
        while True:
            await asyncio.sleep(0.02)
            if len(resident) <= (time.perf_counter() - started):
                resident.append(process.memory_info().rss)
            if await is_caught_up(watching, USAGE_STREAM.name, _DURABLE):
                break
        rolling.cancel()
        await asyncio.gather(rolling, return_exceptions=True)
        await roll(service.database)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_before
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await service.database.close()
    return SideResult(
        seconds=seconds, cpu_seconds=cpu_seconds, resident=[*resident, process.memory_info().rss]
    )


async def _keep_rolling(database: Database, seconds: float) -> None:
    """Move what was counted into the totals again and again, as the service does."""
    from agora_metering.totals.service import roll

    while True:
        await asyncio.sleep(seconds)
        await roll(database)


async def run_copy(nats_url: str, urls: DatabaseUrls, count: int) -> SideResult:
    """Fetch the events and copy their bytes into a table, a transaction a batch."""
    database = await asyncpg.connect(urls.owner.replace("+asyncpg", ""))
    await database.execute(f"DROP TABLE IF EXISTS {_COPY_TABLE}")
    await database.execute(f"CREATE TABLE {_COPY_TABLE} (payload bytea NOT NULL)")
    async with connected(nats_url) as connection:
        subscription = await connection.jetstream().pull_subscribe(
            USAGE_STREAM.subjects[0],
            stream=USAGE_STREAM.name,
            config=ConsumerConfig(ack_policy=AckPolicy.NONE),
        )
        started, cpu_before, copied = time.perf_counter(), time.process_time(), 0
        while copied < count:
            try:
                messages = await subscription.fetch(COPY_BATCH, timeout=5)
            except NatsTimeoutError:
                raise RuntimeError(f"only {copied} of {count} events came") from None
            await database.copy_records_to_table(
                _COPY_TABLE, records=[(message.data,) for message in messages], columns=["payload"]
            )
            copied += len(messages)
        result = SideResult(
            seconds=time.perf_counter() - started, cpu_seconds=time.process_time() - cpu_before
        )
    await database.execute(f"DROP TABLE {_COPY_TABLE}")
    await database.close()
    return result


async def in_own_process(side: str, nats_url: str, urls: DatabaseUrls, count: int) -> SideResult:
    """Run a side in a fresh process, with uvloop as the services have it."""
    environment = os.environ | {
        "BENCHMARK_NATS_URL": nats_url,
        "BENCHMARK_DATABASE_URLS": json.dumps([urls.app, urls.system, urls.owner]),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.metering", "--side", side, "--events", str(count)),
        env=environment,
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the side {side} failed with {process.returncode}")
    return msgspec.json.decode(output.splitlines()[-1], type=SideResult)


async def _side(side: str, count: int) -> SideResult:
    app, system, owner = json.loads(os.environ["BENCHMARK_DATABASE_URLS"])
    urls = DatabaseUrls(app=app, system=system, owner=owner)
    nats_url = os.environ["BENCHMARK_NATS_URL"]
    if side == "copy":
        return await run_copy(nats_url, urls, count)
    with tempfile.TemporaryDirectory() as folder:
        return await run_metering(nats_url, urls, folder)


# --- the comparison ------------------------------------------------------------------------------


class Bench:
    """The parts, running, and what both sides need of them."""

    def __init__(self, folder: Path) -> None:
        nats_port, monitor_port = free_ports(2)
        self.postgres = Postgres(folder / "postgres", free_port())
        self.nats = Nats(folder / "nats", nats_port, monitor_port)

    async def prepare(self, *, plain: bool) -> DatabaseUrls:
        """Make metering's database, as a first start does, and its meters unless only what is recorded is totalled."""
        from agora_kit.database import migrate

        words = DatabasePasswords(app="app", system="system", owner="owner")
        urls = await provision(self.postgres.url, "metering", words)
        await asyncio.to_thread(migrate, urls.owner, "agora_metering")
        if not plain:
            await _define_meters(urls)
        return urls

    async def check_totals(self, count: int) -> None:
        """Raise unless exactly `count` events were counted, and their totals say the same."""
        connection = await asyncpg.connect(self.postgres.url.removesuffix("/postgres") + "/agora_metering")
        stored = tuple(await connection.fetchrow("SELECT count(*), sum(quantity) FROM usage_events"))
        totals = {
            grain: tuple(await connection.fetchrow(_TOTALS.format(grain=grain), list(METERS)))
            for grain in ("minute", "hour", "day")
        }
        await connection.close()
        if stored[0] != count or any(total != stored for total in totals.values()):
            raise RuntimeError(f"{count} events were sent, {stored} are stored and {totals} are totalled")

    async def check_every_total(self, urls: DatabaseUrls) -> None:
        """Raise unless every total of every meter is what the stored events say."""
        from agora_metering.checks.service import check_totals

        database = Database(urls.app, urls.system)
        async with database.system() as connection:
            check = await check_totals(connection, CheckTotals(day=START.date()))
        await database.close()
        if check.differences or not check.checked:
            raise RuntimeError(f"{check.checked} totals were checked, and differ: {check.differences}")

    async def settings(self) -> dict[str, str]:
        """The settings of PostgreSQL that decide how fast it may be."""
        connection = await asyncpg.connect(self.postgres.url)
        names = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
        settings = {name: await connection.fetchval(f"SHOW {name}") for name in names}
        await connection.close()
        return settings


async def _define_meters(urls: DatabaseUrls) -> None:
    """Define a meter of each aggregation, for all tenants."""
    from agora_metering.meters.service import build_due, create_meter

    database = Database(urls.app, urls.system)
    async with database.system() as connection:
        for command in DEFINED:
            await create_meter(connection, command)
    await build_due(database)
    await database.close()


async def compare(bench: Bench, pairs: int, count: int, *, plain: bool) -> dict[str, Any]:
    """Run the pairs, each on new events."""
    urls = await bench.prepare(plain=plain)
    url = bench.nats.user_url("metering")
    await _warm_up(bench, url, urls)
    results: dict[str, list[SideResult]] = {"metering": [], "copy": []}

    async def measure(side: str) -> float:
        done = len(results[side])
        if all(done == len(one) for one in results.values()):
            await store_events(url, f"pair {done}", count)
        results[side].append(await in_own_process(side, url, urls, count))
        return count / results[side][-1].seconds

    measured = await interleave(
        lambda: measure("metering"),
        lambda: measure("copy"),
        pairs=pairs,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    await bench.check_totals(count * pairs + WARM_UP_EVENTS)
    await bench.check_every_total(urls)
    return measured.line(
        "metering",
        events=count,
        meters_defined=0 if plain else len(DEFINED),
        own_cpu_microseconds_per_event={
            side: round(statistics.median(one.cpu_seconds for one in found) / count * 1e6, 1)
            for side, found in results.items()
        },
        postgres=await bench.settings(),
    )


async def _warm_up(bench: Bench, url: str, urls: DatabaseUrls) -> None:
    """Both sides once, unmeasured: compiled modules, catalogue caches, the first pages of the tables."""
    await store_events(url, "warm-up", WARM_UP_EVENTS)
    for side in ("copy", "metering"):
        await in_own_process(side, url, urls, WARM_UP_EVENTS)


async def watch_memory(bench: Bench, count: int, *, plain: bool) -> dict[str, Any]:
    """How much the metering process grows from the warm-up to the end of `count` events."""
    urls = await bench.prepare(plain=plain)
    url = bench.nats.user_url("metering")
    print(f"storing {count} events", file=sys.stderr, flush=True)
    await store_events(url, "memory", count)
    result = await in_own_process("metering", url, urls, count)
    await bench.check_totals(count)
    # Samples are evenly spread over the run: drop those of the warm-up.
    samples = result.resident[len(result.resident) * min(MEMORY_WARM_UP, count // 10) // count :]
    megabyte = 1024 * 1024
    return {
        "bench": "metering-memory",
        "events": count,
        "events_per_second": round(count / result.seconds),
        "resident_megabytes": {
            "after_warm_up": round(samples[0] / megabyte, 1),
            "highest": round(max(samples) / megabyte, 1),
            "end": round(samples[-1] / megabyte, 1),
        },
        "growth_megabytes": round((samples[-1] - samples[0]) / megabyte, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, or, with --side, one side of it."""
    parser = argparse.ArgumentParser(prog="benchmarks.metering", description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument(
        "--events", type=int, help="usage events a side and pair (100,000; memory: 5 million)"
    )
    parser.add_argument("--memory", action="store_true", help="how the process grows, instead of its speed")
    parser.add_argument("--plain", action="store_true", help="without defined meters")
    parser.add_argument("--side", choices=("metering", "copy"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.side:
        import uvloop

        print(msgspec.json.encode(uvloop.run(_side(options.side, options.events))).decode())
        return
    with own_folder() as folder:
        bench = Bench(folder)
        with bench.postgres, bench.nats:
            if options.memory:
                report = asyncio.run(
                    watch_memory(bench, options.events or MEMORY_EVENTS, plain=options.plain)
                )
            else:
                report = asyncio.run(
                    compare(bench, options.pairs, options.events or PAIR_EVENTS, plain=options.plain)
                )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
