"""The engine under kill -9: runs that ask people and swarms that call agents, while workers die again and again.

Afterwards every run, called ones included, has ended and is charged once; every decision that was taken stands, is the
one that its run went on with, and nothing waits any more. Limits are off.
"""

import asyncio
import random
import time
from typing import Any

import asyncpg
import httpx
import msgspec
from agora_local.first_party import publish_installed
from agora_local.platform import Platform
from agora_local.testing import own_folder

from tests.faults.account import Findings, admin_url, good, settled_findings, unsettled
from tests.faults.command import Say, SeededPlan, Verdict, carry_out, plan_of
from tests.faults.submitting import attempt, submitted
from tests.support.tenancy import new_customer, operator, until_executable, until_offered

RESTARTED = ("nats", "postgres")


class Plan(SeededPlan, frozen=True, kw_only=True):
    """How much of everything. `seconds_between` faults are drawn from this range."""

    runs: int
    swarms: int
    agents: int
    worker_kills: int
    restarts: int
    concurrency: int
    seconds_between: tuple[float, float]
    recovery_seconds: float


FULL = Plan(
    runs=300,
    swarms=5,
    agents=20,
    worker_kills=100,
    restarts=10,
    concurrency=10,
    seconds_between=(1.0, 4.0),
    recovery_seconds=600,
)
SHORT = Plan(
    runs=15,
    swarms=1,
    agents=4,
    worker_kills=3,
    restarts=1,
    concurrency=5,
    seconds_between=(2.0, 5.0),
    recovery_seconds=240,
)


class Outcome(msgspec.Struct, kw_only=True):
    """What was done and what was found. `approvals_lost` counts decisions that did not come true."""

    findings: Findings
    swarms: int
    called: int
    approvals: int
    approvals_lost: int
    kills: int
    restarts: int
    seconds: float


async def run(platform: Platform, plan: Plan, say: Say) -> Outcome:
    """Do the whole plan on a running platform that offers the installed agents.

    Raises:
        TimeoutError: a run was not accepted in time.
    """
    dice = random.Random(plan.seed)
    started = time.monotonic()
    async with operator(platform) as staff:
        customer = await new_customer(staff, platform.api_url)
    async with customer.client() as client:
        await until_executable(client, "echo", {"text": "ready?"})
        await until_offered(client, "swarm")
        decider = _Decider(client, dice)
        deciding = asyncio.create_task(decider.decide_all())
        faults = asyncio.create_task(_disturb(platform, plan, dice, say))
        try:
            swarms = [await _start_swarm(client, plan, number) for number in range(plan.swarms)]
            accepted = await _start_runs(client, plan, dice, say)
            kills, restarts = await faults
            say("faults are over; waiting for every run to end and settle")
            await asyncio.to_thread(platform.wait_ready)
            family = await _recovered(platform, [*accepted, *swarms], plan.recovery_seconds, say)
        finally:
            faults.cancel()
            deciding.cancel()
    findings = await settled_findings(platform, family, customer.account)
    return Outcome(
        findings=findings,
        swarms=len(swarms),
        called=len(family) - len(accepted) - len(swarms),
        approvals=len(decider.decided),
        approvals_lost=await _lost_decisions(platform, decider.decided),
        kills=kills,
        restarts=restarts,
        seconds=round(time.monotonic() - started, 1),
    )


class _Decider:
    """A person who decides everything that waits, by dice, and remembers what."""

    def __init__(self, client: httpx.AsyncClient, dice: random.Random) -> None:
        self._client = client
        self._dice = random.Random(dice.random())
        self.decided: dict[str, bool] = {}

    async def decide_all(self) -> None:
        """Decide until cancelled."""
        while True:
            page = await attempt(self._client.get("/approvals", params={"state": "pending", "limit": 50}))
            if isinstance(page, httpx.Response) and page.is_success:
                for approval in page.json()["items"]:
                    await self._decide(approval["id"])
            await asyncio.sleep(0.5)

    async def _decide(self, approval: str) -> None:
        # Asked again after a fault, the same person decides the same.
        approve = self.decided.get(approval, self._dice.random() < 0.7)
        body = {"decision": "approve" if approve else "reject"}
        answer = await attempt(self._client.post(f"/approvals/{approval}/decide", json=body))
        if isinstance(answer, httpx.Response) and answer.is_success:
            self.decided[approval] = approve


async def _start_runs(client: httpx.AsyncClient, plan: Plan, dice: random.Random, say: Say) -> list[str]:
    slots = asyncio.Semaphore(plan.concurrency)
    accepted: list[str] = []
    inputs = [_an_input(dice, number) for number in range(plan.runs)]

    async def one(number: int) -> None:
        async with slots:
            path = "/packages/echo/execute"
            run_id = await submitted(client, path, {"input": inputs[number]}, f"engine-{number}")
            accepted.append(run_id)
            if number % 10 == 0:
                await attempt(client.post(f"/runs/{run_id}/pause"))
            await asyncio.sleep(inputs[number]["steps"] * 0.1)
            if number % 10 == 0:
                await _resumed(client, run_id)
            if len(accepted) % 20 == 0:
                say(f"{len(accepted)} of {plan.runs} runs accepted")

    await asyncio.gather(*(one(number) for number in range(plan.runs)))
    return accepted


async def _resumed(client: httpx.AsyncClient, run_id: str) -> None:
    """Ask until the run is told to go on, or over."""
    while True:
        answer = await attempt(client.post(f"/runs/{run_id}/resume"))
        if isinstance(answer, httpx.Response) and answer.status_code < 500:
            return
        await asyncio.sleep(0.3)


def _an_input(dice: random.Random, number: int) -> dict[str, Any]:
    return {
        "text": f"run {number}",
        "steps": dice.choice((1, 2, 3, 5)),
        "delay_ms": dice.choice((0, 20, 100, 400)),
        "ask": dice.random() < 0.3,
    }


async def _start_swarm(client: httpx.AsyncClient, plan: Plan, number: int) -> str:
    work = [
        {"text": f"swarm {number}, part {part}", "steps": 3, "delay_ms": 300} for part in range(plan.agents)
    ]
    body = {"goal": {"kind": "map", "package": "echo", "inputs": work}, "concurrency": 5, "budget": "3"}
    return await submitted(client, "/swarms", body, f"swarm-{number}")


async def _disturb(platform: Platform, plan: Plan, dice: random.Random, say: Say) -> tuple[int, int]:
    deeds = ["kill"] * plan.worker_kills + ["restart"] * plan.restarts
    dice.shuffle(deeds)
    for deed in deeds:
        await asyncio.sleep(dice.uniform(*plan.seconds_between))
        name = "worker" if deed == "kill" else dice.choice(RESTARTED)
        say(f"{deed} {name}")
        await asyncio.to_thread(platform.kill if deed == "kill" else platform.restart, name)
    return plan.worker_kills, plan.restarts


async def _recovered(platform: Platform, begun: list[str], seconds: float, say: Say) -> list[str]:
    """Wait until all runs, and those that they called, have ended and are settled; all of them."""
    deadline = time.monotonic() + seconds
    said = (-1, -1)
    while True:
        family = await _family(platform, begun)
        now = await unsettled(platform, family)
        if now == (0, 0) or time.monotonic() > deadline:
            return family
        if now != said:
            say(f"{now[0]} runs have not ended, {now[1]} are not settled")
            said = now
        await asyncio.sleep(2)


async def _family(platform: Platform, begun: list[str]) -> list[str]:
    connection = await asyncpg.connect(admin_url(platform, "execution"))
    try:
        rows = await connection.fetch(
            """
            WITH RECURSIVE family AS (
                SELECT id FROM runs WHERE id = ANY($1::text[])
                UNION SELECT r.id FROM runs r JOIN family f ON r.parent_id = f.id)
            SELECT id FROM family ORDER BY id
            """,
            begun,
        )
        return [row["id"] for row in rows]
    finally:
        await connection.close()


async def _lost_decisions(platform: Platform, decided: dict[str, bool]) -> int:
    """Decisions that do not stand as they were taken, or that their run did not follow; and what still waits."""
    connection = await asyncpg.connect(admin_url(platform, "execution"))
    try:
        rows = await connection.fetch(
            "SELECT a.id, a.state, r.status, r.error->>'code' AS code FROM approvals a JOIN runs r ON r.id = a.run_id"
        )
    finally:
        await connection.close()
    lost = 0
    for row in rows:
        approve = decided.get(row["id"])
        followed = (row["status"] == "succeeded") if approve else (row["code"] == "not_approved")
        stands = row["state"] == ("approved" if approve else "rejected")
        lost += approve is not None and not (stands and followed)
        lost += row["state"] == "pending"
    return lost


def is_good(outcome: Outcome) -> bool:
    """Whether nothing was lost, doubled, left open or decided in vain."""
    return good(outcome.findings) and not outcome.approvals_lost


def main(arguments: list[str]) -> int:
    """Run the fault test of the engine. Returns the exit code."""
    plan = plan_of(arguments, full=FULL, short=SHORT)

    async def work(platform: Platform, say: Say) -> Verdict:
        outcome = await run(platform, plan, say)
        return Verdict(
            passed=is_good(outcome),
            differences=outcome.findings.differences,
            figures={
                **msgspec.to_builtins(outcome.findings),
                "swarms": outcome.swarms,
                "called": outcome.called,
                "approvals": outcome.approvals,
                "approvals_lost": outcome.approvals_lost,
                "kills": outcome.kills,
                "restarts": outcome.restarts,
                "seconds": outcome.seconds,
            },
        )

    def install(platform: Platform, say: Say) -> None:
        with own_folder() as folder:
            publish_installed(folder, platform.api_url, platform.operator_token, say)

    return carry_out("engine", plan, work, prepare=install)
