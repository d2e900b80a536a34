"""The demo itself: run everything, follow it live, collect what came of it."""

import asyncio
import time
from pathlib import Path

from agora import Client
from agora.client.runs import Run
from agora.client.types import RunState, StatementLine
from agora_contracts.money import parse_amount

from agora_local.demo.cases import DemoRun, Say, prepare
from agora_local.demo.outcome import Outcome, RunResult

CONCURRENCY = 4
_RUN_SECONDS = 300.0


async def run_demo(api_url: str, key: str, checkout: Path, say: Say) -> Outcome:
    """Hire the agents, run them, and compare the statement with the ledger."""
    started = time.monotonic()
    async with Client(api_url, key) as client:
        runs = await prepare(client, checkout, say)
        slots = asyncio.Semaphore(CONCURRENCY)

        async def limited(one: DemoRun) -> RunResult:
            async with slots:
                return await _run(client, one, say)

        results = await asyncio.gather(*(limited(one) for one in runs))
        lines, entries_sum, credit, held = await _statement(client)
    return Outcome(
        runs=list(results),
        statement=lines,
        lines_sum=sum(parse_amount(line.amount.amount) for line in lines),
        entries_sum=entries_sum,
        credit=credit,
        held=held,
        seconds=round(time.monotonic() - started, 1),
    )


async def _run(client: Client, one: DemoRun, say: Say) -> RunResult:
    started = time.monotonic()
    if one.deployment is None:
        run = await client.execute(one.agent, one.input)
    else:
        run = await client.deployments.execute(one.deployment, one.input)
    say(f"{one.agent}: {run.id[:12]} accepted: {one.label[:60]}")
    following = asyncio.create_task(_follow(run, one, say))
    state: RunState = await run.wait(_RUN_SECONDS)
    following.cancel()
    cost = None if state.cost is None else parse_amount(state.cost.amount)
    say(
        f"{one.agent}: {run.id[:12]} {state.status} for {state.cost.amount if state.cost else 'nothing settled'} USD"
    )
    return RunResult(
        agent=one.agent,
        label=one.label,
        run=state.id,
        status=state.status,
        steps=state.steps,
        seconds=round(time.monotonic() - started, 2),
        usage={quantity.meter: f"{quantity.quantity}" for quantity in state.usage},
        cost=cost,
        error=None if state.error is None else f"{state.error.code}: {state.error.detail}",
        output=state.output,
    )


async def _follow(run: Run, one: DemoRun, say: Say) -> None:
    """Show steps as they are recorded; following is a courtesy, and never fails the demo."""
    async for event in run.events():
        if event.type == "step.recorded":
            say(f"{one.agent}: {run.id[:12]}   {event.data['title']}")


async def _statement(client: Client) -> tuple[list[StatementLine], int, int, int]:
    lines: list[StatementLine] = []
    cursor = None
    while True:
        page = await client.account.statement(cursor=cursor, limit=200)
        lines += page.items
        cursor = page.next_cursor
        if cursor is None:
            balance = page.balance
            return (
                lines,
                parse_amount(page.entries_sum.amount),
                parse_amount(balance.credit.amount),
                parse_amount(balance.held.amount),
            )
