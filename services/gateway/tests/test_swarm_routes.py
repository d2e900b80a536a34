"""The routes of swarms: what they ask of execution, and what they show of its answers."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import GetRun, ListRuns, Run, RunPage, StartRun
from agora_contracts.steering import ChildPage, ChildRun, ListChildren
from agora_contracts.swarms import Evidence, Finding, FindingPage, ListFindings, PostedFinding

from .conftest import Customer, Others

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SWARM = f"run_{'a' * 32}"
AGENT = f"run_{'b' * 32}"
RUN = Run(
    id=SWARM,
    tenant="ten_1",
    status="running",
    package="swarm",
    version="1.0.0",
    basis="job",
    accepted_at=AT,
    quoted=Money(amount=2_000_000),
)
TASKS = [
    {
        "id": "engineer-1",
        "phase": "engineering",
        "role": "engineer",
        "items": 2,
        "status": "pending",
        "run": "",
    },
    {
        "id": "researcher-1",
        "phase": "research",
        "role": "researcher",
        "items": 2,
        "status": "done",
        "run": "run_x",
    },
]
PLAN = PostedFinding(
    run=SWARM,
    step=f"{SWARM}/plan/1",
    topic="plan",
    at=AT,
    finding=Finding(
        id="plan:0", claim="", data={"kind": "audit", "revision": 1, "notes": ["n"], "tasks": TASKS}
    ),
)
CHILD = ChildRun(
    id=AGENT,
    parent=SWARM,
    step=f"{SWARM}/engineer/1",
    title="engineer-1 on 2 items",
    package="swarm-worker",
    status="running",
    accepted_at=AT,
    quoted=Money(amount=4_000),
    steps=0,
    cost=Money(amount=1_500),
)
FOUND = PostedFinding(
    run=AGENT,
    step=f"{AGENT}/work/1",
    topic="finding",
    at=AT,
    finding=Finding(id="f1", claim="c", evidence=[Evidence(source="a.yaml", place="line 1", quote="a")]),
)


async def findings(query: ListFindings) -> FindingPage:
    """The plan, or one finding of seven."""
    if query.topic == "plan":
        return FindingPage(items=[PLAN], total=1)
    return FindingPage(items=[FOUND], total=7, next_cursor="more")


async def test_a_swarm_is_started_as_a_run_of_its_package(customer: Customer, others: Others) -> None:
    """
    What was given is the run's input, nothing else; the same key makes the same run.
    """
    await others.answer((StartRun, RUN))
    goal = {"kind": "map", "package": "echo", "inputs": [{}]}
    body = {"goal": goal, "agents_max": 9, "max_cost": {"amount": "1.50", "currency": "USD"}}
    for _ in range(2):
        answer = await customer.http.post("/swarms", json=body, headers={"Idempotency-Key": "k"})
    first, second = (asked for asked in others.asked if isinstance(asked, StartRun))

    assert (202, f"/api/v1/swarms/{SWARM}") == (answer.status_code, answer.headers["location"])
    assert ("swarm", {"goal": goal, "agents_max": 9}) == (first.package, first.input)
    assert Money(amount=1_500_000) == first.max_cost
    assert (first.run_id, first.fingerprint) == (second.run_id, second.fingerprint)


async def test_a_swarm_is_shown_with_its_plan_agents_and_cost(customer: Customer, others: Others) -> None:
    """
    Tasks and runs are joined: who works in which phase, and what the agents have cost so far.
    """
    await others.answer((GetRun, RUN), (ListFindings, findings), (ListChildren, ChildPage(items=[CHILD])))
    shown = (await customer.http.get(f"/swarms/{SWARM}")).json()

    assert ("engineer", "engineering") == (shown["agents"][0]["role"], shown["agents"][0]["phase"])
    assert "0.001500" == shown["agents_cost"]["amount"]
    assert 7 == shown["findings"]
    assert [("engineering", 1, 1, 0), ("research", 1, 0, 1)] == [
        (one["phase"], one["planned"], one["working"], one["done"]) for one in shown["phases"]
    ]


@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        (["pause", "pause", None], ("waiting", "pause")),
        (["pause", "approval"], ("running", None)),
        ([None], ("running", None)),
        ([], ("running", None)),
    ],
)
async def test_a_swarm_whose_agents_rest_is_paused(
    customer: Customer, others: Others, agents: list[Any], expected: tuple[str, str | None]
) -> None:
    """
    Its own run is still at the step that waits for the agents; those that have ended do not count.
    """
    replace = msgspec.structs.replace
    children = [
        replace(CHILD, id=f"run_{number}", status="succeeded", finished_at=AT)
        if waiting_for is None
        else replace(CHILD, id=f"run_{number}", status="waiting", waiting_for=waiting_for)
        for number, waiting_for in enumerate(agents)
    ]
    await others.answer((GetRun, RUN), (ListFindings, findings), (ListChildren, ChildPage(items=children)))
    shown = (await customer.http.get(f"/swarms/{SWARM}")).json()

    assert expected == (shown["status"], shown["waiting_for"])


async def test_a_plan_that_is_not_understood_is_left_out(customer: Customer, others: Others) -> None:
    """
    A newer coordinator's plan does not keep the rest from being shown.
    """
    strange = msgspec.structs.replace(PLAN, finding=Finding(id="plan:0", claim="", data={"tasks": "many"}))

    async def answer(query: ListFindings) -> FindingPage:
        return FindingPage(items=[strange], total=1)

    await others.answer((GetRun, RUN), (ListFindings, answer), (ListChildren, ChildPage(items=[CHILD])))
    shown = (await customer.http.get(f"/swarms/{SWARM}")).json()

    assert (None, []) == (shown["plan"], shown["phases"])
    assert [AGENT] == [one["run"] for one in shown["agents"]]


async def test_a_run_of_another_package_is_no_swarm(customer: Customer, others: Others) -> None:
    """
    Neither read nor its findings nor cancelled as one.
    """
    await others.answer((GetRun, msgspec.structs.replace(RUN, package="echo")))
    answers: list[Any] = [
        await customer.http.get(f"/swarms/{SWARM}"),
        await customer.http.get(f"/swarms/{SWARM}/findings"),
        await customer.http.post(f"/swarms/{SWARM}/cancel"),
    ]

    assert [404] * 3 == [answer.status_code for answer in answers]


async def test_the_list_is_that_of_the_packages_runs(customer: Customer, others: Others) -> None:
    """
    Swarms are listed by state and page.
    """
    await others.answer((ListRuns, RunPage(items=[RUN], next_cursor="more")))
    listed = (await customer.http.get("/swarms", params={"status": "running", "limit": 2})).json()
    (asked,) = others.asked[-1:]

    assert ([SWARM], "more") == ([one["id"] for one in listed["items"]], listed["next_cursor"])
    assert ("swarm", "running", 2) == (asked.package, asked.status, asked.limit)


async def test_findings_are_shown_with_their_evidence(customer: Customer, others: Others) -> None:
    """
    By topic and page; an unknown topic is refused.
    """
    await others.answer((GetRun, RUN), (ListFindings, findings))
    page = (await customer.http.get(f"/swarms/{SWARM}/findings", params={"topic": "vote"})).json()
    unknown = await customer.http.get(f"/swarms/{SWARM}/findings", params={"topic": "plan"})

    assert (7, "more", AGENT) == (page["total"], page["next_cursor"], page["items"][0]["run"])
    assert {"source": "a.yaml", "place": "line 1", "quote": "a"} == page["items"][0]["evidence"][0]
    assert unknown.status_code in (400, 422)


async def test_what_execution_refuses_is_told(customer: Customer, others: Others) -> None:
    """
    An unknown swarm is not found.
    """

    async def unknown(query: GetRun) -> Run:
        raise AgoraError("not_found", f"no run {query.run}")

    await others.answer((GetRun, unknown))

    assert 404 == (await customer.http.get(f"/swarms/{SWARM}")).status_code
