"""Beside `benchmarks/stream.py`: runs that write, told by the worker's own module, each token with the time it was made.

Reads how many seconds to write, a line each time, and answers with how many tokens were written.
"""

import asyncio
import os
import random
import sys
import time

import uvloop
from agora.live import TextWritten
from agora_contracts.ids import derived
from agora_contracts.runs import ListRunEvents, RunEventList
from agora_execution.runs.live import LiveRuns, LiveStep
from agora_kit.broker import Broker

STEP, NODE = "write/1", "write"


def run_of(number: int) -> str:
    """The id of a run of the benchmark."""
    return derived("run", "bench", str(number))


def token(number: int) -> TextWritten:
    """A token with its number and the time, in nanoseconds, at which the vendor would have sent it."""
    return TextWritten(text=f"{number}:{time.time_ns()};")


async def write(step: LiveStep, per_second: float, seconds: float) -> int:
    """Write tokens at a steady pace, from a moment of its own on."""
    await asyncio.sleep(random.random() / per_second)
    began = time.monotonic()
    count = round(per_second * seconds)
    for number in range(count):
        step.text(token(number))
        await asyncio.sleep(max(began + (number + 1) / per_second - time.monotonic(), 0))
    return count


async def no_events(_: ListRunEvents) -> RunEventList:
    """Execution's answer: the run goes on, and nothing durable has happened."""
    return RunEventList(items=[], complete=False)


async def produce(tenant: str, streams: int, per_second: float) -> None:
    """Write whenever asked to."""
    execution = Broker(os.environ["BENCH_EXECUTION"], "execution")
    execution.answer(ListRunEvents, no_events)
    await execution.start()
    worker = Broker(os.environ["BENCH_WORKER"], "worker")
    await worker.start()
    runs = LiveRuns(worker)
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        seconds = float(line)
        steps = [runs.step(tenant, run_of(number), STEP, NODE) for number in range(streams)]
        written = await asyncio.gather(*(write(step, per_second, seconds) for step in steps))
        print(sum(written), flush=True)
    await worker.stop()
    await execution.stop()


if __name__ == "__main__":
    uvloop.run(produce(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
