"""Swarms as the public API shows them: a run, its plan as it stands, and the runs that work for it."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from agora_contracts.money import Money, PublicMoney, to_public
from agora_contracts.runs import Deliverable, Run, RunError, RunStatus, WaitingFor
from agora_contracts.steering import ChildRun
from agora_contracts.swarms import Evidence, Finding, FindingPage, PostedFinding, Severity
from msgspec import Meta

from agora_gateway.edge.shapes import MoneyBody, optional_money

PACKAGE = "swarm"
"""The package whose runs are swarms."""

Topic = Literal["finding", "vote", "verdict", "remedy", "inventory", "assessment", "answer"]
TaskStatus = Literal["pending", "done", "failed", "given_up", "replanned"]


class SwarmBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a swarm is to do, and its bounds; the fields are those of the package's input.

    `goal` has a `kind`: `audit` with `files`, `questions` with `questions` and who answers them, `map` with `inputs` and
    who works on them. `budget` bounds what the agents cost in USD, `max_cost` the swarm with all that it sets aside.
    """

    goal: dict[str, Any]
    agents_max: int | None = None
    concurrency: int | None = None
    budget: str | None = None
    agree: int | None = None
    remedies: bool | None = None
    max_cost: MoneyBody | None = None

    @property
    def input(self) -> dict[str, Any]:
        """The input of the swarm's run: what was given."""
        given: dict[str, Any] = msgspec.structs.asdict(self)
        del given["max_cost"]
        return {name: value for name, value in given.items() if value is not None}


class SwarmAgent(msgspec.Struct, frozen=True, kw_only=True):
    """One agent of a swarm: a run of its own. `task`, `role` and `phase` are the plan's."""

    run: str
    task: str
    role: str
    phase: str
    title: str
    package: str
    status: RunStatus
    waiting_for: WaitingFor | None
    accepted_at: datetime
    finished_at: datetime | None
    quoted: PublicMoney
    cost: PublicMoney | None


class SwarmTask(msgspec.Struct, frozen=True, kw_only=True):
    """One task of the plan. `why` says why it failed, was planned anew or given up."""

    id: str
    phase: str
    role: str
    items: int
    status: TaskStatus
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
    """How far a phase is, by role: tasks planned, agents at work, and tasks that are done or were not to be done."""

    phase: str
    role: str
    planned: int
    working: int
    done: int
    failed: int


class SwarmShape(msgspec.Struct, frozen=True, kw_only=True):
    """A swarm. `cost` is what its own run costs, `agents_cost` what its agents have cost so far."""

    id: str
    status: RunStatus
    waiting_for: WaitingFor | None
    quoted: PublicMoney
    cost: PublicMoney | None
    accepted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deliverable: Deliverable | None
    output: dict[str, Any] | None
    error: RunError | None


class SwarmPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of swarms, newest first."""

    items: list[SwarmShape]
    next_cursor: str | None = None


class SwarmDetailShape(SwarmShape, frozen=True, kw_only=True):
    """A swarm with its plan, its agents, and how many findings there are.

    It waits for `pause` also while all of its agents that have not ended do.
    """

    plan: SwarmPlan | None
    phases: list[SwarmPhase]
    agents: list[SwarmAgent]
    agents_cost: PublicMoney
    findings: int


class FindingShape(msgspec.Struct, frozen=True, kw_only=True):
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


class FindingPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of findings in the order in which they came to be shown, and how many there are in all by now."""

    items: list[FindingShape]
    total: int
    next_cursor: str | None = None


class _PlanPiece(msgspec.Struct, frozen=True, kw_only=True):
    """A plan as the coordinator posts it, in pieces."""

    kind: str
    revision: int
    notes: list[Annotated[str, Meta(max_length=2_000)]]
    tasks: list[SwarmTask]


def swarm_shape(run: Run) -> SwarmShape:
    """A swarm in a list."""
    return SwarmShape(**_fields(run))


def swarm_detail(
    run: Run, posted: list[PostedFinding], children: list[ChildRun], findings: int
) -> SwarmDetailShape:
    """A swarm with its plan and its agents."""
    plan = plan_of(posted)
    tasks = {} if plan is None else {task.id: task for task in plan.tasks}
    agents = [_agent(child, tasks) for child in children]
    spent = sum(child.cost.amount for child in children if child.cost is not None)
    return SwarmDetailShape(
        **(_fields(run) | _resting(run, agents)),
        plan=plan,
        phases=phases_of(plan, agents),
        agents=agents,
        agents_cost=to_public(Money(amount=spent, currency=run.quoted.currency)),
        findings=findings,
    )


def _resting(run: Run, agents: list[SwarmAgent]) -> dict[str, Any]:
    """What is shown of a swarm that is paused while it waits for its agents: its own run rests only behind them."""
    open_ones = [agent for agent in agents if agent.finished_at is None]
    paused = bool(open_ones) and all(agent.waiting_for == "pause" for agent in open_ones)
    return {"status": "waiting", "waiting_for": "pause"} if run.status == "running" and paused else {}


def plan_of(posted: list[PostedFinding]) -> SwarmPlan | None:
    """The plan out of its pieces; None where there is none yet, or it is not one that is known here."""
    try:
        pieces = [msgspec.convert(one.finding.data, _PlanPiece) for one in posted]
    except msgspec.ValidationError:
        return None
    if not pieces:
        return None
    first = pieces[0]
    tasks = [task for piece in pieces for task in piece.tasks]
    return SwarmPlan(kind=first.kind, revision=first.revision, notes=first.notes, tasks=tasks)


def phases_of(plan: SwarmPlan | None, agents: list[SwarmAgent]) -> list[SwarmPhase]:
    """How far each phase is. The plan says what ended; who works at this moment, the runs say."""
    if plan is None:
        return []
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for task in plan.tasks:
        count = counts.setdefault(
            (task.phase, task.role), {"planned": 0, "working": 0, "done": 0, "failed": 0}
        )
        count["planned"] += 1
        count["done"] += task.status == "done"
        count["failed"] += task.status in ("failed", "given_up", "replanned")
    pending = {task.id for task in plan.tasks if task.status == "pending"}
    for agent in agents:
        if agent.task not in pending:
            continue
        count = counts[agent.phase, agent.role]
        count["done"] += agent.status == "succeeded"
        count["failed"] += agent.status in ("failed", "timed_out", "cancelled")
        count["working"] += agent.status in ("accepted", "running", "waiting")
    return [SwarmPhase(phase=phase, role=role, **count) for (phase, role), count in counts.items()]


def finding_page(page: FindingPage) -> FindingPageShape:
    """Findings for the public."""
    return FindingPageShape(
        items=[_finding(one) for one in page.items], total=page.total, next_cursor=page.next_cursor
    )


def _finding(one: PostedFinding) -> FindingShape:
    finding: Finding = one.finding
    return FindingShape(
        id=finding.id,
        run=one.run,
        step=one.step,
        topic=one.topic,
        at=one.at,
        claim=finding.claim,
        about=finding.about,
        rule=finding.rule,
        severity=finding.severity,
        remedy=finding.remedy,
        evidence=finding.evidence,
        data=finding.data,
    )


def _agent(child: ChildRun, tasks: dict[str, SwarmTask]) -> SwarmAgent:
    # The coordinator calls its agents by the task's id first.
    name = child.title.partition(" ")[0]
    task = tasks.get(name)
    return SwarmAgent(
        run=child.id,
        task=name if task is not None else "",
        role="" if task is None else task.role,
        phase="" if task is None else task.phase,
        title=child.title,
        package=child.package,
        status=child.status,
        waiting_for=child.waiting_for,
        accepted_at=child.accepted_at,
        finished_at=child.finished_at,
        quoted=to_public(child.quoted),
        cost=optional_money(child.cost),
    )


def _fields(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "status": run.status,
        "waiting_for": run.waiting_for,
        "quoted": to_public(run.quoted),
        "cost": optional_money(run.cost),
        "accepted_at": run.accepted_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "deliverable": run.deliverable,
        "output": run.output,
        "error": run.error,
    }


# --- examples of the documentation ---------------------------------------------------------------

_RUN = "run_0190a5b07c3a7d4e8f00112233445566"
_AGENT = "run_0190a5b07c3a7d4e8f00112233445577"
_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_USD = PublicMoney(amount="2.100000", currency="USD")
_CENT = PublicMoney(amount="0.010000", currency="USD")

A_SWARM_BODY = SwarmBody(
    goal={
        "kind": "audit",
        "files": [{"file": "file_0190a5b07c3a7d4e8f00112233445566", "path": "deploy/web.yaml"}],
    },
    agents_max=40,
    concurrency=10,
    budget="2.00",
)
A_SWARM = SwarmShape(
    id=_RUN,
    status="running",
    waiting_for=None,
    quoted=_USD,
    cost=None,
    accepted_at=_AT,
    started_at=_AT,
    finished_at=None,
    deliverable=None,
    output=None,
    error=None,
)
A_SWARM_PAGE = SwarmPageShape(items=[A_SWARM])
A_SWARM_DETAIL = SwarmDetailShape(
    **msgspec.structs.asdict(A_SWARM),
    plan=SwarmPlan(
        kind="audit",
        revision=1,
        notes=["1 files for 1 engineers; 0 are copies, 0 given up"],
        tasks=[
            SwarmTask(
                id="engineer-1", phase="engineering", role="engineer", items=1, status="pending", run=""
            )
        ],
    ),
    phases=[SwarmPhase(phase="engineering", role="engineer", planned=1, working=1, done=0, failed=0)],
    agents=[
        SwarmAgent(
            run=_AGENT,
            task="engineer-1",
            role="engineer",
            phase="engineering",
            title="engineer-1 on f1",
            package="swarm-worker",
            status="running",
            waiting_for=None,
            accepted_at=_AT,
            finished_at=None,
            quoted=_CENT,
            cost=None,
        )
    ],
    agents_cost=PublicMoney(amount="0.000000", currency="USD"),
    findings=0,
)
A_FINDING_PAGE = FindingPageShape(
    items=[
        FindingShape(
            id="f1:K8S001:14:9f86d0",
            run=_AGENT,
            step=f"{_AGENT}/work/1",
            topic="finding",
            at=_AT,
            claim="A privileged container: privileged: the container can do all that the node's root can",
            about="deploy/web.yaml",
            rule="K8S001",
            severity="critical",
            remedy="Remove `privileged: true`; add the single capability that is needed.",
            evidence=[Evidence(source="deploy/web.yaml", place="line 14", quote="privileged: true")],
            data={"item": "f1", "line": 14},
        )
    ],
    total=1,
)
