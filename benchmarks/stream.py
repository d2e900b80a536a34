"""Tokens from a worker to customers through one gateway process: `./dev bench stream`.

200 runs write 5 tokens a second each (by default), told as the worker tells them (`agora_execution.runs.live`); each is
followed over server-sent events by a connection of its own. Every token carries the time at which it was made, so that
the delay is from there to the customer's socket: the worker's sending, NATS, the gateway, and the reading here.

`ratio` is the median over the rounds of tokens delivered within 80 ms ÷ tokens written. Memory is what the gateway has
more with all streams open and at work than before. One JSON line last.
"""

import argparse
import asyncio
import statistics
import sys
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil
from agora_local.platform import PROCESSES, Platform
from agora_local.settings import Ports
from agora_local.testing import own_folder

from benchmarks.cpu import cpu_seconds, milliseconds_each
from benchmarks.stream_producer import run_of
from tests.support.tenancy import Customer, new_customer, operator

NEEDED = ("billing", "gateway")
ON_TIME_MS = 80.0
_SETTLE_SECONDS = 1.0
_START_SECONDS = 60.0


class _Delta(msgspec.Struct, frozen=True):
    delta: str


_decode = msgspec.json.Decoder(_Delta).decode


class Reader:
    """One customer that follows one run; `delays` of its tokens in milliseconds."""

    def __init__(self, customer: Customer, run: str) -> None:
        self._customer = customer
        self._run = run
        self.delays: list[float] = []
        self.connected = asyncio.Event()

    async def follow(self) -> None:
        """Read until cancelled."""
        address = urlsplit(self._customer.api_url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        request = f"GET /api/v1/runs/{self._run}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
        writer.write(f"{request}Authorization: Bearer {self._customer.key}\r\n\r\n".encode())
        try:
            status = await reader.readline()
            if b" 200 " not in status:
                raise RuntimeError(f"the stream was refused: {status.decode()}")
            self.connected.set()
            while line := await reader.readline():
                if line.startswith(b"data: ") and b'"delta"' in line:
                    now = time.time_ns()
                    for token in _decode(line[6:]).delta.split(";")[:-1]:
                        self.delays.append((now - int(token.partition(":")[2])) / 1e6)
        finally:
            writer.close()


async def measure(platform: Platform, streams: int, per_second: float, rounds: int, seconds: float) -> Any:
    """Follow all runs while they write, round by round, and say what came of it."""
    async with operator(platform) as staff:
        customer = await new_customer(staff, platform.api_url)
    producer = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.stream_producer", customer.tenant, str(streams), str(per_second)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={
            "BENCH_EXECUTION": platform.nats_url("execution"),
            "BENCH_WORKER": platform.nats_url("worker"),
            "PATH": "",
        },
    )
    assert producer.stdin is not None and producer.stdout is not None
    async with asyncio.timeout(_START_SECONDS):
        await producer.stdout.readline()
    gateway = psutil.Process(platform.pids()["gateway"])
    found: list[list[float]] = []
    written: list[int] = []
    kilobytes: list[float] = []
    cpu: dict[str, float] = {}
    for number in range(rounds + 1):
        before = gateway.memory_info().rss
        readers = [Reader(customer, run_of(index)) for index in range(streams)]
        following = [asyncio.create_task(reader.follow()) for reader in readers]
        await asyncio.gather(*(reader.connected.wait() for reader in readers))
        await asyncio.sleep(_SETTLE_SECONDS)
        used = cpu_seconds(platform)
        producer.stdin.write(f"{seconds}\n".encode())
        await producer.stdin.drain()
        tokens = int(await producer.stdout.readline())
        await asyncio.sleep(_SETTLE_SECONDS)
        cpu = milliseconds_each(used, cpu_seconds(platform), tokens)
        more = (gateway.memory_info().rss - before) / streams / 1024
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        delays = sorted(delay for reader in readers for delay in reader.delays)
        if number == 0:
            # The first round warms up; what the gateway takes for the first streams is its memory's growth.
            kilobytes.append(more)
            continue
        found.append(delays)
        written.append(tokens)
        say = f"round {number} of {rounds}: {len(delays)} of {tokens} tokens"
        print(f"{say}, p50 {_at(delays, 0.5)} ms, p99 {_at(delays, 0.99)} ms", file=sys.stderr, flush=True)
    producer.stdin.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(producer.wait(), 10)
    ratios = [
        sum(delay <= ON_TIME_MS for delay in delays) / tokens
        for delays, tokens in zip(found, written, strict=True)
    ]
    every = sorted(delay for delays in found for delay in delays)
    return {
        "bench": "stream",
        "ratio": round(statistics.median(ratios), 4),
        "spread": [round(min(ratios), 4), round(max(ratios), 4)],
        "rounds": rounds,
        "streams": streams,
        "tokens_per_second": round(streams * per_second),
        "delay_p50_ms": _at(every, 0.5),
        "delay_p99_ms": _at(every, 0.99),
        "delay_max_ms": _at(every, 1.0),
        "lost": sum(written) - len(every),
        "kilobytes_per_stream": round(kilobytes[0], 1),
        "cpu_ms_per_token": cpu,
    }


def _at(ordered: list[float], share: float) -> float | None:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 2) if ordered else None


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="./dev bench stream", description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--tokens-per-second", type=float, default=5.0, help="of each stream")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round")
    options = parser.parse_args(arguments)
    processes = [spec for spec in PROCESSES if spec.name in NEEDED]
    with (
        own_folder() as folder,
        Platform(folder / "home", Ports.free(), processes=processes) as platform,
    ):
        platform.wait_ready()
        line = asyncio.run(
            measure(platform, options.streams, options.tokens_per_second, options.rounds, options.seconds)
        )
    print(msgspec.json.encode(line).decode(), flush=True)


if __name__ == "__main__":
    main()
