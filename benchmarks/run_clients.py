"""The clients of `bench run`, each in a process of its own: `python -m benchmarks.run_clients SIDE`.

Reads lines `{"count": N}` from standard input; does N runs at a concurrency of 20; answers with the seconds
they took, from the first request to the last settled charge (or finished workflow).
"""

import asyncio
import os
import sys
import time
import uuid
from datetime import timedelta

import httpx
import msgspec
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy

from benchmarks.raw_workflow import TASK_QUEUE, RawWorkflow

CONCURRENCY = 20


class Order(msgspec.Struct):
    """How many runs to do."""

    count: int


class Done(msgspec.Struct):
    """How long they took, and the latencies' middle and high end in milliseconds."""

    seconds: float
    p50_ms: float
    p95_ms: float


async def agora(order: Order) -> Done:
    """Runs through the API: POST, and the answer once the charge is settled."""
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    headers = {
        "Authorization": f"Bearer {os.environ['BENCH_KEY']}",
        "Prefer": "wait=60",
        "Content-Type": "application/json",
    }
    body = msgspec.json.encode({"input": {"text": "hello"}})
    async with httpx.AsyncClient(
        base_url=os.environ["BENCH_URL"], headers=headers, limits=limits, timeout=90
    ) as client:

        async def one() -> None:
            answer = await client.post("/api/v1/packages/echo/execute", content=body)
            run = answer.raise_for_status().json()
            if run["status"] != "succeeded" or run["cost"] is None:
                raise RuntimeError(f"not settled: {run}")

        return await _all(one, order.count)


async def raw(order: Order) -> Done:
    """Workflows with one activity, started with the options that runs are started with."""
    client = await Client.connect(os.environ["BENCH_TEMPORAL"])

    async def one() -> None:
        await client.execute_workflow(
            RawWorkflow.run,
            "hello",
            id=f"raw-{uuid.uuid4().hex}",
            task_queue=TASK_QUEUE,
            execution_timeout=timedelta(seconds=600),
            task_timeout=timedelta(seconds=10),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            static_summary="raw workflow",
        )

    return await _all(one, order.count)


async def _all(one, count: int) -> Done:  # type: ignore[no-untyped-def]
    slots = asyncio.Semaphore(CONCURRENCY)
    latencies: list[float] = []

    async def limited() -> None:
        async with slots:
            begun = time.perf_counter()
            await one()
            latencies.append(time.perf_counter() - begun)

    started = time.perf_counter()
    await asyncio.gather(*(limited() for _ in range(count)))
    seconds = time.perf_counter() - started
    latencies.sort()
    return Done(
        seconds=seconds,
        p50_ms=round(latencies[count // 2] * 1000, 1),
        p95_ms=round(latencies[int(count * 0.95)] * 1000, 1),
    )


def main() -> None:
    """Answer orders until standard input closes."""
    side = {"agora": agora, "raw": raw}[sys.argv[1]]

    async def serve() -> None:
        while line := await asyncio.to_thread(sys.stdin.readline):
            done = await side(msgspec.json.decode(line, type=Order))
            print(msgspec.json.encode(done).decode(), flush=True)
        await asyncio.sleep(0.5)  # Temporal's threads must let go before the interpreter ends.

    asyncio.run(serve())


if __name__ == "__main__":
    main()
