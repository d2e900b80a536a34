"""Runs per second, from POST to settled charge, against raw Temporal workflows: `./dev bench run`.

- *ours*: the echo agent's one step, hired through the public API; each request is answered once its charge is
  settled and journalled, so a run counts with admission, hold, workflow, metering, rating and ledger.
- *theirs*: a workflow with one activity on the same Temporal server with the same start options, sandboxed as
  Temporal does by default; its worker and its client are processes of their own, as ours are.

Concurrency 20, 200 runs a side, the platform as `./dev up` runs it on a folder and ports of its own, limits off.
One JSON line last, with CPU milliseconds per run by process.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
from typing import Any

import agora_echo
import asyncpg
import msgspec
from agora_local.platform import Platform
from agora_local.settings import Ports
from agora_local.testing import own_folder

from benchmarks.cpu import cpu_seconds, milliseconds_each
from benchmarks.pairs import interleave
from benchmarks.run_clients import CONCURRENCY, Done
from tests.support.tenancy import new_customer, operator, publish, until_executable

WARM_UP = 100


class Side:
    """A client process that does runs on order."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.run_clients", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | environment,
            text=True,
        )
        self.done: list[Done] = []

    def do(self, count: int) -> Done:
        """Do `count` runs and say how long they took."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the client has no pipes")
        self._process.stdin.write(f'{{"count": {count}}}\n')
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the client ended; its last words are above")
        done = msgspec.json.decode(line, type=Done)
        self.done.append(done)
        return done

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(10)


async def compare(platform: Platform, pairs: int, count: int) -> dict[str, Any]:
    """Measure both sides and say what came of it."""
    async with operator(platform) as staff:
        await publish(staff, agora_echo.agent)
        customer = await new_customer(staff, platform.api_url, credit="1000000.000000")
    async with customer.client() as client:
        await until_executable(client, "echo", {"text": "ready?"})
    environment = {
        "BENCH_URL": platform.api_url,
        "BENCH_KEY": customer.key,
        "BENCH_TEMPORAL": platform.temporal.address,
    }
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.raw_workflow",
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
    )
    ours, theirs = Side("agora", environment), Side("raw", environment)
    cpu: list[dict[str, float]] = []
    try:
        await asyncio.to_thread(ours.do, WARM_UP)
        await asyncio.to_thread(theirs.do, WARM_UP)
        ours.done.clear()
        theirs.done.clear()

        async def measure_ours() -> float:
            before = cpu_seconds(platform)
            done = await asyncio.to_thread(ours.do, count)
            cpu.append(milliseconds_each(before, cpu_seconds(platform), count))
            return count / done.seconds

        async def measure_theirs() -> float:
            return count / (await asyncio.to_thread(theirs.do, count)).seconds

        measured = await interleave(
            measure_ours,
            measure_theirs,
            pairs=pairs,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    finally:
        ours.close()
        theirs.close()
        worker.terminate()
        await worker.wait()
    by_process = {name: round(statistics.median(one[name] for one in cpu), 2) for name in cpu[0]}
    return measured.line(
        "run",
        runs_a_side=count,
        concurrency=CONCURRENCY,
        p50_ms=statistics.median(one.p50_ms for one in ours.done),
        p95_ms=statistics.median(one.p95_ms for one in ours.done),
        raw_p50_ms=statistics.median(one.p50_ms for one in theirs.done),
        cpu_ms_per_run=by_process,
        cpu_ms_per_run_in_all=round(sum(by_process.values()), 1),
        postgres=await _settings(platform),
    )


async def _settings(platform: Platform) -> dict[str, str]:
    connection = await asyncpg.connect(platform.postgres.url)
    try:
        names = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
        return {name: await connection.fetchval(f"SHOW {name}") for name in names}
    finally:
        await connection.close()


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="./dev bench run", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args(arguments)
    with own_folder() as folder, Platform(folder / "home", Ports.free()) as platform:
        platform.wait_ready()
        line = asyncio.run(compare(platform, options.pairs, options.count))
    print(msgspec.json.encode(line).decode(), flush=True)


if __name__ == "__main__":
    main()
