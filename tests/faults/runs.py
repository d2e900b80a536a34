"""Runs under kill -9: every process and part at random, workflows terminated, some runs cancelled.

Afterwards every accepted run has ended, every ended run has exactly one settled charge, no hold is left, and
usage events, metered totals and ledger agree to the micro-unit. Limits are off.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import agora_echo
import httpx
import msgspec
from agora_contracts.ids import derived
from agora_local.platform import Platform
from temporalio.client import Client
from temporalio.service import RPCError

from tests.faults.account import Findings, good, settled_findings, unsettled
from tests.faults.command import Say, SeededPlan, Verdict, carry_out, plan_of
from tests.faults.submitting import attempt, submitted
from tests.support.tenancy import Customer, new_customer, operator, publish, until_executable

KILLED = (
    "gateway",
    "execution",
    "worker",
    "metering",
    "billing",
    "catalog",
    "vectors",
    "nats",
    "postgres",
    "temporal",
)
RESTARTED = ("nats", "postgres", "execution", "worker", "billing", "metering")


class Plan(SeededPlan, frozen=True, kw_only=True):
    """How much of everything. `seconds_between` faults are drawn from this range.

    `ahead` is how far the share of faults may be before that of accepted runs: faults wait for a platform that is slow
    to come up, which would otherwise see most of them idle.
    """

    runs: int
    kills: int
    restarts: int
    terminations: int
    concurrency: int
    seconds_between: tuple[float, float]
    recovery_seconds: float
    ahead: float


FULL = Plan(
    runs=200,
    kills=40,
    restarts=8,
    terminations=6,
    concurrency=10,
    seconds_between=(0.5, 2.5),
    recovery_seconds=240,
    ahead=0.1,
)
SHORT = Plan(
    runs=40,
    kills=7,
    restarts=2,
    terminations=2,
    concurrency=8,
    seconds_between=(0.3, 1.0),
    recovery_seconds=150,
    ahead=0.3,
)


class Outcome(msgspec.Struct, kw_only=True):
    """What was done and what was found."""

    findings: Findings
    kills: int
    restarts: int
    terminated: int
    seconds: float
    recovery_seconds: float


async def run(platform: Platform, plan: Plan, say: Say) -> Outcome:
    """Do the whole plan on a running platform.

    Raises:
        TimeoutError: a run was not accepted in time, or recovery took longer than the plan allows.
    """
    dice = random.Random(plan.seed)
    started = time.monotonic()
    async with operator(platform) as staff:
        await publish(staff, agora_echo.agent)
        customer = await new_customer(staff, platform.api_url)
    async with customer.client() as client:
        await until_executable(client, "echo", {"text": "ready?"})
        done, runs = asyncio.Event(), list[str]()
        faults = asyncio.create_task(_disturb(platform, plan, dice, done, say, lambda: len(runs) / plan.runs))
        try:
            await _submit_all(client, customer, plan, dice, say, runs)
            done.set()
            kills, restarts, terminated = await faults
        finally:
            # Where a run was not accepted: nothing may go on to kill what is being stopped or tested next.
            faults.cancel()
        say("faults are over; waiting for every run to end and settle")
        recovering = time.monotonic()
        await asyncio.to_thread(platform.wait_ready, 60)
        await _recovered(platform, runs, plan.recovery_seconds, say)
    findings = await settled_findings(platform, runs, customer.account)
    return Outcome(
        findings=findings,
        kills=kills,
        restarts=restarts,
        terminated=terminated,
        seconds=round(time.monotonic() - started, 1),
        recovery_seconds=round(time.monotonic() - recovering, 1),
    )


async def _submit_all(
    client: httpx.AsyncClient,
    customer: Customer,
    plan: Plan,
    dice: random.Random,
    say: Say,
    accepted: list[str],
) -> None:
    slots = asyncio.Semaphore(plan.concurrency)
    inputs = [_an_input(dice, number) for number in range(plan.runs)]
    cancelled = set(dice.sample(range(plan.runs), plan.runs // 20))

    async def one(number: int) -> None:
        async with slots:
            run = await _submit(client, customer, f"run-{number}", inputs[number])
            accepted.append(run)
            if number in cancelled:
                await attempt(client.post(f"/runs/{run}/cancel"))
            if len(accepted) % 20 == 0:
                say(f"{len(accepted)} of {plan.runs} runs accepted")
            # Keep some time between submissions, so that the faults fall among living runs.
            await asyncio.sleep(inputs[number]["steps"] * 0.1)

    await asyncio.gather(*(one(number) for number in range(plan.runs)))


def _an_input(dice: random.Random, number: int) -> dict[str, Any]:
    return {
        "text": f"run {number}",
        "steps": dice.choice((1, 1, 2, 3, 5)),
        "delay_ms": dice.choice((0, 20, 100, 400)),
        "fail": dice.choices(("none", "retry_once", "crash", "rejected"), (85, 7, 4, 4))[0],
    }


async def _submit(client: httpx.AsyncClient, customer: Customer, key: str, run_input: dict[str, Any]) -> str:
    """Ask until accepted, with the same key each time: however often it is asked, it is one run."""
    run = await submitted(client, "/packages/echo/execute", {"input": run_input}, key)
    if run != derived("run", customer.tenant, key):
        raise AssertionError(f"the key {key} gave the run {run}")
    return run


async def _disturb(
    platform: Platform,
    plan: Plan,
    dice: random.Random,
    done: asyncio.Event,
    say: Say,
    share_accepted: Callable[[], float],
) -> tuple[int, int, int]:
    deeds = ["kill"] * plan.kills + ["restart"] * plan.restarts + ["terminate"] * plan.terminations
    dice.shuffle(deeds)
    counts = {"kill": 0, "restart": 0, "terminate": 0}
    for number, deed in enumerate(deeds):
        await asyncio.sleep(dice.uniform(*plan.seconds_between))
        while number / len(deeds) > share_accepted() + plan.ahead:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        if done.is_set() and deed == "terminate":
            continue
        if deed == "terminate":
            counts[deed] += await _terminate_one(platform, say)
            continue
        name = dice.choice(KILLED if deed == "kill" else RESTARTED)
        say(f"{deed} {name}")
        await asyncio.to_thread(platform.kill if deed == "kill" else platform.restart, name)
        counts[deed] += 1
    return counts["kill"], counts["restart"], counts["terminate"]


async def _terminate_one(platform: Platform, say: Say) -> int:
    """Terminate a running workflow as an operator would. Returns whether there was one."""
    try:
        client = await Client.connect(platform.temporal.address)
        async for workflow in client.list_workflows(
            "ExecutionStatus = 'Running' AND WorkflowType = 'AgentRun'"
        ):
            say(f"terminate {workflow.id}")
            await client.get_workflow_handle(workflow.id).terminate("fault test")
            return 1
    except (RPCError, RuntimeError) as error:
        say(f"terminate: Temporal is away ({type(error).__name__})")
    return 0


async def _recovered(platform: Platform, runs: list[str], seconds: float, say: Say) -> None:
    deadline = time.monotonic() + seconds
    said = (-1, -1)
    while time.monotonic() < deadline:
        now = await unsettled(platform, runs)
        if now == (0, 0):
            return
        if now != said:
            say(f"{now[0]} runs have not ended, {now[1]} are not settled")
            said = now
        await asyncio.sleep(1)
    say(f"recovery took longer than {seconds:g} s")


def verdict_of(outcome: Outcome) -> Verdict:
    """What the outcome says."""
    return Verdict(
        passed=good(outcome.findings),
        differences=outcome.findings.differences,
        figures={
            **msgspec.to_builtins(outcome.findings),
            "kills": outcome.kills,
            "restarts": outcome.restarts,
            "terminated": outcome.terminated,
            "recovery_seconds": outcome.recovery_seconds,
            "seconds": outcome.seconds,
        },
    )


def main(arguments: list[str]) -> int:
    """Run the fault test of runs. Returns the exit code."""
    plan = plan_of(arguments, full=FULL, short=SHORT)

    async def work(platform: Platform, say: Say) -> Verdict:
        return verdict_of(await run(platform, plan, say))

    return carry_out("runs", plan, work)
