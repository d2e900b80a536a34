"""`client.swarms`: many agents on one goal."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from agora_contracts.runs import Deliverable, RunError, RunStatus
from agora_contracts.swarms import Evidence, Severity

from agora.client.transport import new_key, segment
from agora.client.types import Page, PublicMoney

if TYPE_CHECKING:
    from agora.client.transport import Transport

ENDED = frozenset({"succeeded", "failed", "timed_out", "cancelled"})


class SwarmTask(msgspec.Struct, frozen=True, kw_only=True):
    """One task of the plan."""

    id: str
    phase: str
    role: str
    items: int
    status: str
    run: str
    why: str = ""
    lens: str = ""


class SwarmPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan as it stands; `notes` say what was changed and why."""

    kind: str
    revision: int
    notes: list[str]
    tasks: list[SwarmTask]


class SwarmPhase(msgspec.Struct, frozen=True, kw_only=True):
    """How far a phase is, by role."""

    phase: str
    role: str
    planned: int
    working: int
    done: int
    failed: int


class SwarmAgent(msgspec.Struct, frozen=True, kw_only=True):
    """One agent: a run of its own."""

    run: str
    task: str
    role: str
    phase: str
    title: str
    package: str
    status: RunStatus
    quoted: PublicMoney
    accepted_at: datetime
    finished_at: datetime | None = None
    waiting_for: str | None = None
    cost: PublicMoney | None = None


class Swarm(msgspec.Struct, frozen=True, kw_only=True):
    """A swarm; read singly it has its plan, phases and agents."""

    id: str
    status: RunStatus
    quoted: PublicMoney
    accepted_at: datetime
    waiting_for: str | None = None
    cost: PublicMoney | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deliverable: Deliverable | None = None
    output: dict[str, Any] | None = None
    error: RunError | None = None
    plan: SwarmPlan | None = None
    phases: list[SwarmPhase] = []
    agents: list[SwarmAgent] = []
    agents_cost: PublicMoney | None = None
    findings: int = 0

    @property
    def ended(self) -> bool:
        """Whether the swarm is over."""
        return self.status in ENDED


class SwarmFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding, with the run and the step that posted it, and its evidence."""

    id: str
    run: str
    step: str
    topic: str
    at: datetime
    claim: str
    about: str
    rule: str
    severity: Severity
    remedy: str
    evidence: list[Evidence]
    data: dict[str, Any]


class Swarms:
    """`client.swarms`."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def start(
        self,
        goal: Mapping[str, Any],
        *,
        agents_max: int | None = None,
        concurrency: int | None = None,
        budget: str | None = None,
        agree: int | None = None,
        remedies: bool | None = None,
        max_cost: PublicMoney | None = None,
        idempotency_key: str | None = None,
    ) -> Swarm:
        """Let many agents work on a goal.

        Args:
            goal: Its `kind` is `audit`, `questions` or `map`; the guide on swarms shows the fields of each.
            agents_max: The most agents, 3 to 200.
            concurrency: How many of them work at once.
            budget: The most USD that they may cost together.
            agree: How many of three reviewers confirm a finding.
            remedies: Whether remedies are tried on copies.
            max_cost: The most that the swarm with everything in it may be quoted at.
            idempotency_key: The same key again gives the same swarm; made anew by default.
        """
        given = {
            "goal": goal, "agents_max": agents_max, "concurrency": concurrency, "budget": budget, "agree": agree,
            "remedies": remedies, "max_cost": max_cost,
        }  # fmt: skip
        body = {name: value for name, value in given.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        return await self._transport.call(Swarm, "POST", "/swarms", body=body, headers=headers)

    async def list(
        self, *, status: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Swarm]:
        """A page of swarms, newest first."""
        query = {"status": status, "cursor": cursor, "limit": limit}
        return await self._transport.call(Page[Swarm], "GET", "/swarms", query=query)

    async def get(self, swarm: str) -> Swarm:
        """One swarm with its plan, phases and agents."""
        return await self._transport.call(Swarm, "GET", f"/swarms/{segment(swarm)}")

    async def findings(
        self, swarm: str, *, topic: str = "finding", cursor: str | None = None, limit: int = 50
    ) -> Page[SwarmFinding]:
        """A page of what stands on the swarm's blackboard, in the order of posting."""
        query = {"topic": topic, "cursor": cursor, "limit": limit}
        return await self._transport.call(
            Page[SwarmFinding], "GET", f"/swarms/{segment(swarm)}/findings", query=query
        )

    async def cancel(self, swarm: str) -> Swarm:
        """Ask a swarm and all its agents to stop.

        Raises:
            ApiError: `run_ended`, it has ended already.
        """
        return await self._transport.call(Swarm, "POST", f"/swarms/{segment(swarm)}/cancel")

    async def wait(
        self, swarm: str, *, every_seconds: float = 1.0, timeout_seconds: float | None = None
    ) -> Swarm:
        """Ask again and again until a swarm has ended.

        Raises:
            TimeoutError: `timeout_seconds` have passed. The swarm goes on.
        """
        async with asyncio.timeout(timeout_seconds):
            while True:
                found = await self.get(swarm)
                if found.ended:
                    return found
                await asyncio.sleep(every_seconds)
