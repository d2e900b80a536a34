"""How long a tenant's first run takes behind another tenant's thousand: `./dev bench fairness`.

Tenant A submits 1,000 runs of the echo agent through the API and waits for none; as soon as the last is accepted,
tenant B submits one. Its time is that from POST to settled charge. *Alone* is the same time, of the median of ten runs
one after another, on the same platform while A has nothing to do.

`ratio` is alone ÷ behind: 1 where B notices nothing, 0.01 where it waits for all of A. The median of the rounds; one
JSON line last, with how many of A's runs still waited when B came, and how long the last of them took.
"""

import argparse
import asyncio
import statistics
import sys
import time
from typing import Any

import agora_echo
import httpx
import msgspec
from agora_local.platform import Platform
from agora_local.settings import Ports
from agora_local.testing import own_folder

from tests.support.tenancy import Customer, new_customer, operator, publish, until_executable

RUNS = 1000
CONCURRENCY = 50
ALONE = 10
_BODY = {"input": {"text": "hello"}}


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round: milliseconds of B's run alone and behind A's, what waited of A's then, and the seconds all took."""

    alone_ms: float
    behind_ms: float
    waiting: int
    submitted_seconds: float
    drained_seconds: float


async def one_run(client: httpx.AsyncClient) -> float:
    """Do one run to its settled charge. Returns the milliseconds it took."""
    begun = time.perf_counter()
    answer = await client.post("/packages/echo/execute", json=_BODY, headers={"Prefer": "wait=60"})
    took = (time.perf_counter() - begun) * 1000
    run = answer.raise_for_status().json()
    if run["status"] != "succeeded" or run["cost"] is None:
        raise RuntimeError(f"not settled: {run}")
    return took


async def submit(client: httpx.AsyncClient, count: int) -> None:
    """Submit runs and wait for none of them; what is refused for now is sent again."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(number: int) -> None:
        async with slots:
            while True:
                answer = await client.post("/packages/echo/execute", json=_BODY)
                if answer.status_code not in (429, 503):
                    answer.raise_for_status()
                    return
                await asyncio.sleep(float(answer.headers.get("retry-after", 1)))

    await asyncio.gather(*(one(number) for number in range(count)))


async def unfinished(client: httpx.AsyncClient) -> int:
    """How many of a tenant's runs have not ended; 200 stands for as many or more."""
    pages = [
        (await client.get("/runs", params={"status": status, "limit": 200})).raise_for_status().json()
        for status in ("accepted", "running")
    ]
    return sum(len(page["items"]) for page in pages)


async def measure(a: httpx.AsyncClient, b: httpx.AsyncClient, runs: int) -> Round:
    """One round."""
    alone = [await one_run(b) for _ in range(ALONE)]
    begun = time.perf_counter()
    await submit(a, runs)
    submitted = time.perf_counter() - begun
    behind = await one_run(b)
    waiting = await unfinished(a)
    while await unfinished(a):  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    return Round(
        alone_ms=statistics.median(alone),
        behind_ms=behind,
        waiting=waiting,
        submitted_seconds=submitted,
        drained_seconds=time.perf_counter() - begun,
    )


async def compare(platform: Platform, rounds: int, runs: int) -> dict[str, Any]:
    """All rounds, and what came of them."""
    async with operator(platform) as staff:
        await publish(staff, agora_echo.agent)
        tenants: list[Customer] = [
            await new_customer(staff, platform.api_url, credit="1000000.000000") for _ in range(2)
        ]
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    measured: list[Round] = []
    async with tenants[0].client(limits=limits, timeout=90) as a, tenants[1].client(timeout=90) as b:
        await until_executable(b, "echo", {"text": "ready?"})
        for _ in range(ALONE):
            await one_run(b)
        for number in range(rounds):
            one = await measure(a, b, runs)
            measured.append(one)
            print(
                f"round {number + 1} of {rounds}: alone {one.alone_ms:.0f} ms, behind {one.behind_ms:.0f} ms"
                f" ({one.waiting} or more waited); A submitted in {one.submitted_seconds:.1f} s,"
                f" all ended after {one.drained_seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    ratios = [one.alone_ms / one.behind_ms for one in measured]
    return {
        "bench": "fairness",
        "ratio": round(statistics.median(ratios), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "rounds": len(measured),
        "runs_of_a": runs,
        "alone_ms": round(statistics.median(one.alone_ms for one in measured), 1),
        "behind_ms": round(statistics.median(one.behind_ms for one in measured), 1),
        "submitted_seconds": round(statistics.median(one.submitted_seconds for one in measured), 1),
        "last_of_a_seconds": round(statistics.median(one.drained_seconds for one in measured), 1),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="./dev bench fairness", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args(arguments)
    with own_folder() as folder, Platform(folder / "home", Ports.free()) as platform:
        platform.wait_ready()
        line = asyncio.run(compare(platform, options.rounds, options.runs))
    print(msgspec.json.encode(line).decode(), flush=True)


if __name__ == "__main__":
    main()
