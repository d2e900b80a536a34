"""How well a swarm keeps its agents busy: `./dev bench swarm`.

100 agents whose work is a wait of a known length (20 to 40 s, seeded) work under one coordinator, 25 at a time, through
the public API on a platform of the benchmark's own. `ratio` is the makespan, from the swarm's start to its end as its
run says, divided by the makespan of the best list schedule of the same waits on 25 machines: the shortest of
longest-first, of the given order, and of 200 shuffled orders. Beside it the coordinator's history: events and bytes, and
the same for 200 agents with short waits.

One JSON line last.
"""

import argparse
import asyncio
import heapq
import random
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
from agora import loading
from agora_local.platform import Platform
from agora_local.settings import Ports
from agora_local.testing import own_folder
from temporalio.client import Client

from tests.support.tenancy import new_customer, operator, publish, until_executable

AGENTS_FOLDER = Path(__file__).parent / "agents"
AGENTS, CONCURRENCY, SEED = 100, 25, 20
WAIT_MS = (20_000, 40_000)
SHUFFLES = 200


def list_schedule(waits: Sequence[float], machines: int) -> float:
    """When the last of the waits ends, each begun in turn on the machine that is free first."""
    free = [0.0] * machines
    for wait in waits:
        heapq.heapreplace(free, free[0] + wait)
    return max(free)


def best_list_schedule(waits: Sequence[float], machines: int, seed: int) -> float:
    """The shortest makespan of longest-first, the given order, and shuffled ones."""
    draw = random.Random(seed)
    orders = [sorted(waits, reverse=True), list(waits)]
    orders += [draw.sample(list(waits), len(waits)) for _ in range(SHUFFLES)]
    return min(list_schedule(order, machines) for order in orders)


async def run_swarm(
    http: httpx.AsyncClient, temporal: Client, waits_ms: list[int], concurrency: int
) -> dict[str, Any]:
    """Let one swarm do all waits; its makespan and its history."""
    goal = {
        "kind": "map",
        "package": "waiter",
        "inputs": [{"wait_ms": wait} for wait in waits_ms],
        "weights": [wait / 1000 for wait in waits_ms],
    }
    answer = await http.post("/swarms", json={"goal": goal, "concurrency": concurrency})
    swarm = answer.raise_for_status().json()
    while True:
        found = (
            (await http.get(f"/runs/{swarm['id']}", headers={"Prefer": "wait=20"})).raise_for_status().json()
        )
        if found["finished_at"]:
            break
    if found["status"] != "succeeded" or found["output"]["deliverable"] != "full":
        raise RuntimeError(f"the swarm has not delivered: {found['error']} {found['output']}")
    started, finished = (msgspec.convert(found[name], datetime) for name in ("started_at", "finished_at"))
    described = await temporal.get_workflow_handle(swarm["id"]).describe()
    info = described.raw_description.workflow_execution_info
    return {
        "agents": found["output"]["agents"],
        "makespan_seconds": round((finished - started).total_seconds(), 2),
        "history_events": info.history_length,
        "history_bytes": info.history_size_bytes,
        "quoted": found["quoted"]["amount"],
    }


async def measure(platform: Platform, agents: int, concurrency: int, seed: int) -> dict[str, Any]:
    """Both swarms, the timed one first."""
    sys.path.insert(0, str(AGENTS_FOLDER))
    async with operator(platform) as staff:
        for package in ("swarm", "waiter"):
            agent = loading.installed(package)
            if agent is None:
                raise RuntimeError(f"the agent {package} is not installed")
            await publish(staff, agent)
        customer = await new_customer(staff, platform.api_url, credit="100000.000000")
    temporal = await Client.connect(platform.temporal.address)
    draw = random.Random(seed)
    waits = [draw.randint(*WAIT_MS) for _ in range(agents)]
    async with customer.client(timeout=60) as http:
        await until_executable(http, "waiter", {"wait_ms": 0})
        await until_executable(http, "swarm", {"goal": {"kind": "map", "package": "waiter", "inputs": [{}]}})
        await run_swarm(http, temporal, [100] * 10, concurrency)
        timed = await run_swarm(http, temporal, waits, concurrency)
        print(f"{agents} agents: {timed}", file=sys.stderr, flush=True)
        many = await run_swarm(http, temporal, [draw.randint(200, 400) for _ in range(200)], concurrency)
    best = best_list_schedule([wait / 1000 for wait in waits], concurrency, seed)
    return {
        "bench": "swarm",
        "ratio": round(timed["makespan_seconds"] / best, 3),
        "best_list_schedule_seconds": round(best, 2),
        "concurrency": concurrency,
        **timed,
        "at_200_agents": many,
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="./dev bench swarm", description=__doc__)
    parser.add_argument("--agents", type=int, default=AGENTS)
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    environment = {"PYTHONPATH": str(AGENTS_FOLDER)}
    with own_folder() as folder, Platform(folder / "home", Ports.free(), environment=environment) as platform:
        platform.wait_ready()
        line = asyncio.run(measure(platform, options.agents, options.concurrency, options.seed))
    print(msgspec.json.encode(line).decode(), flush=True)


if __name__ == "__main__":
    main()
