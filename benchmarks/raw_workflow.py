"""The other side of `bench run`: one workflow, one activity, as Temporal's own documentation has it.

`python -m benchmarks.raw_workflow` is its worker, with the sandbox that Temporal uses by default.
"""

import asyncio
import os
import signal
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

TASK_QUEUE = "raw"


@activity.defn
async def echo(text: str) -> str:
    """Return the text."""
    return text


@workflow.defn
class RawWorkflow:
    """One activity."""

    @workflow.run
    async def run(self, text: str) -> str:
        """Returns the text."""
        return await workflow.execute_activity(echo, text, start_to_close_timeout=timedelta(seconds=60))


async def main() -> None:
    """Work until asked to stop."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    client = await Client.connect(os.environ["BENCH_TEMPORAL"])
    async with Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[RawWorkflow],
        activities=[echo],
        max_concurrent_workflow_tasks=100,
        max_concurrent_activities=100,
    ):
        print("ready", flush=True)
        await asked.wait()
    await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(main())
