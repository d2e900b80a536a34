"""Runs under kill -9: every process and part at random, workflows terminated, some runs cancelled.

Afterwards every accepted run has ended, every ended run has exactly one settled charge, no hold is left, and
usage events, metered totals and ledger agree to the micro-unit. Limits are off.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import agora_echo
import httpx
import msgspec
from agora_contracts.ids import derived
from agora_local.platform import Platform
from agora_local.settings import Ports
from agora_local.testing import own_folder
from temporalio.client import Client
from temporalio.service import RPCError

from tests.faults.account import Findings, examine, unsettled
from tests.faults.last_words import told_on_failure
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
_SUBMIT_SECONDS = 120.0
START_SECONDS = 300.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
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
    seed: int


FULL = Plan(
    runs=200,
    kills=40,
    restarts=8,
    terminations=6,
    concurrency=10,
    seconds_between=(0.5, 2.5),
    recovery_seconds=240,
    ahead=0.1,
    seed=1,
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
    seed=1,
)


class Outcome(msgspec.Struct, kw_only=True):
    """What was done and what was found."""

    findings: Findings
    kills: int
    restarts: int
    terminated: int
    seconds: float
    recovery_seconds: float


async def run(platform: Platform, plan: Plan, say: Callable[[str], None]) -> Outcome:
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
    say: Callable[[str], None],
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


async def submitted(client: httpx.AsyncClient, path: str, body: dict[str, Any], key: str) -> str:
    """Ask until a run is accepted, with the same key each time; its id.

    Raises:
        TimeoutError: it was not within two minutes.
        AssertionError: it was refused.
    """
    deadline = time.monotonic() + _SUBMIT_SECONDS
    last: object = None
    while time.monotonic() < deadline:
        answer = await attempt(client.post(path, json=body, headers={"Idempotency-Key": key}))
        last = answer
        if isinstance(answer, httpx.Response):
            if answer.status_code in (200, 202):
                return str(answer.json()["id"])
            if answer.status_code < 500 and answer.status_code != 429:
                raise AssertionError(f"{answer.status_code}: {answer.text}")
            last = answer.text
        await asyncio.sleep(0.3)
    raise TimeoutError(f"not accepted within {_SUBMIT_SECONDS} s: {last}")


async def attempt(request: Any) -> httpx.Response | httpx.TransportError:
    """The answer to a request, or why there is none."""
    try:
        answer: httpx.Response = await request
    except httpx.TransportError as error:
        return error
    return answer


async def _disturb(
    platform: Platform,
    plan: Plan,
    dice: random.Random,
    done: asyncio.Event,
    say: Callable[[str], None],
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


async def _terminate_one(platform: Platform, say: Callable[[str], None]) -> int:
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


async def _recovered(platform: Platform, runs: list[str], seconds: float, say: Callable[[str], None]) -> None:
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


async def settled_findings(platform: Platform, runs: list[str], account: str) -> Findings:
    """Look until nothing differs, for a while: tentative holds of requests that died lapse after two minutes."""
    deadline = time.monotonic() + 150
    while True:
        findings = await examine(platform, runs, account)
        if good(findings) or time.monotonic() > deadline:
            return findings
        await asyncio.sleep(2)


def good(found: Findings) -> bool:
    """Whether every run has ended as it should and was charged once."""
    wrong = found.lost or found.doubled or found.open_holds or found.differences
    return not wrong and found.accepted == found.ended == found.settled


def main(arguments: list[str]) -> int:
    """Run the fault test; progress on standard error, one JSON line last. Returns the exit code."""
    plan = SHORT if "--short" in arguments else FULL
    if "--seed" in arguments:
        plan = msgspec.structs.replace(plan, seed=int(arguments[arguments.index("--seed") + 1]))
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {line}", file=sys.stderr, flush=True)

    with own_folder() as folder, Platform(folder / "home", Ports.free(), say=lambda line: None) as platform:
        platform.wait_ready(START_SECONDS)
        with told_on_failure(platform.logs_folder, say) as verdict:
            outcome = asyncio.run(run(platform, plan, say))
            found = outcome.findings
            for difference in found.differences:
                say(difference)
            verdict.passed = good(found)
    line = {
        "faults": "runs",
        "passed": verdict.passed,
        **msgspec.to_builtins(found),
        "kills": outcome.kills,
        "restarts": outcome.restarts,
        "terminated": outcome.terminated,
        "recovery_seconds": outcome.recovery_seconds,
        "seconds": outcome.seconds,
        "seed": plan.seed,
    }
    time.sleep(0.5)  # Temporal's client: its threads must let go before the interpreter ends.
    print(msgspec.json.encode(line).decode(), flush=True)
    return 0 if verdict.passed else 1
