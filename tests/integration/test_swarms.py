"""Swarms from outside: the guide's examples, what is shown of one, and how one ends."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import agora
import httpx
import pytest
from agora.client.swarms import Swarm

from tests.support.answers import refused
from tests.support.tenancy import Customer
from tests.support.terminal import run

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "swarms.md").read_text(encoding="utf-8")
REPOSITORY = Path(__file__).parents[2]

FILES = {
    "web.yaml": "services:\n  web:\n    image: nginx\n    privileged: true\n    mem_limit: 1g\n",
    "copy/web.yaml": "services:\n  web:\n    image: nginx\n    privileged: true\n    mem_limit: 1g\n",
    "app.env": "DEBUG=true\nDB_PASSWORD=k83hd-s93h-22\n",
    "clean.toml": "[server]\nport = 8080\n",
}
RETURNS = "Goods can be returned within 30 days.\n\nThe buyer pays for sending them back.\n"


def block(name: str) -> str:
    """A code block of the guide, by what stands behind its language."""
    found = re.search(rf"```\w+ {name}\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None, f"the guide has no example {name}"
    return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that the guide audits."""
    for name, content in FILES.items():
        path = tmp_path / "deploy" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)
    return tmp_path


async def ended(client: agora.Client, swarm: str) -> Swarm:
    """The swarm, once it has ended."""
    return await client.swarms.wait(swarm, every_seconds=0.2, timeout_seconds=120)


async def body(client: agora.Client, name: str, folder: Path) -> dict[str, Any]:
    """The guide's example with files that were uploaded."""
    text = block(name)
    if name == "questions":
        (folder / "returns.md").write_text(RETURNS)
        text = text.replace("file_…", (await client.files.upload(folder / "returns.md")).id)
    for path in re.findall(r'"path": "([^"]+)"', text):
        uploaded = await client.files.upload(folder / "deploy" / path)
        text = text.replace("file_…", uploaded.id, 1)
    read: dict[str, Any] = json.loads(text)
    return read


def test_the_guides_audit_of_a_folder(newcomer: Customer, folder: Path) -> None:
    """
    The command audits the folder, says how far it is, and prints the statements; the swarm is then shown and its
    findings are listed.
    """
    command = next(line for line in GUIDE.splitlines() if line.startswith("agora swarm audit"))
    done = run([*command.split(), "--json"], newcomer, folder)
    assert 0 == done.returncode, done.stderr
    swarm = json.loads(done.stdout)
    claims = swarm["output"]["claims"]

    assert ["CMP001", "SEC001", "CMP004", "DBG001"] == [claim["rule"] for claim in claims]
    assert "engineer 1/1" in done.stderr
    shown = run(["agora", "swarm", "show", swarm["id"], "--agents"], newcomer, folder)
    assert "CMP001 (critical)" in shown.stdout
    assert "engineer-1" in shown.stdout
    listed = run(["agora", "swarm", "findings", swarm["id"]], newcomer, folder)
    assert "CMP001" in listed.stdout
    assert "k83hd" not in listed.stdout + done.stdout
    assert swarm["id"] in run(["agora", "swarm", "list"], newcomer, folder).stdout


def test_an_audit_repeated_under_its_key_is_the_same_swarm(newcomer: Customer, folder: Path) -> None:
    """
    Files that are there already are not uploaded again, also where two have the same name and bytes; other files under
    the same key are another request.
    """
    command = ["agora", "swarm", "audit", "./deploy", "--idempotency-key", "nightly", "--json"]
    first, second = (run(command, newcomer, folder) for _ in range(2))
    (folder / "deploy" / "app.env").write_text("DEBUG=false\n")
    other = run(command, newcomer, folder)

    assert 0 == first.returncode == second.returncode, first.stderr + second.stderr
    assert json.loads(first.stdout)["id"] == json.loads(second.stdout)["id"]
    assert 0 != other.returncode
    assert "used for another request" in other.stderr


@pytest.mark.parametrize("name", ["audit", "questions", "map"])
async def test_the_guides_goals(
    client: agora.Client, http: httpx.AsyncClient, folder: Path, name: str
) -> None:
    """
    Each example of a goal is a swarm that delivers.
    """
    given = await body(client, name, folder)
    answer = await http.post("/swarms", json=given)
    assert 202 == answer.status_code, answer.text
    swarm = await ended(client, answer.json()["id"])

    assert ("succeeded", "full") == (swarm.status, swarm.deliverable), swarm.error
    assert swarm.output is not None
    if name == "map":
        assert ["one", "two"] == [one["output"]["text"] for one in swarm.output["results"]]
    if name == "questions":
        assert "30 days" in swarm.output["answers"][0]["answer"]


def test_the_guides_swarm_alone(tmp_path: Path) -> None:
    """
    Without a platform the same swarm runs in one process.
    """
    command = block("alone").strip().replace("agents/swarm", str(REPOSITORY / "agents" / "swarm"))
    given = command.partition("--input '")[2].removesuffix("'")
    folder = command.split()[2]
    done = run([sys.executable, "-m", "agora.cli", "run", folder, "--input", given, "--json"], None, tmp_path)

    assert 0 == done.returncode, done.stderr
    assert "full" == json.loads(done.stdout)["output"]["deliverable"]


async def test_what_is_shown_of_a_swarm(
    client: agora.Client, http: httpx.AsyncClient, stranger: httpx.AsyncClient, folder: Path
) -> None:
    """
    Plan, phases and agents with their cost add up; findings name their run; nobody else sees any of it, and a run of
    another package is no swarm.
    """
    started = await client.swarms.start((await body(client, "audit", folder))["goal"], idempotency_key="once")
    again = await client.swarms.start((await body(client, "audit", folder))["goal"], idempotency_key="other")
    swarm = await ended(client, started.id)
    await ended(client, again.id)
    agents = {agent.run: agent for agent in swarm.agents}

    assert started.id != again.id
    assert swarm.plan is not None
    assert {task.run for task in swarm.plan.tasks} == set(agents)
    assert all(phase.planned == phase.done for phase in swarm.phases)
    assert {"research", "engineering", "review"} == {phase.phase for phase in swarm.phases}
    findings = await client.swarms.findings(swarm.id)
    assert {"engineer"} == {agents[one.run].role for one in findings.items}
    assert swarm.findings == len(findings.items)
    children = (await http.get(f"/runs/{swarm.id}/children")).raise_for_status().json()["items"]
    assert set(agents) == {child["id"] for child in children}
    for path in (f"/swarms/{swarm.id}", f"/swarms/{swarm.id}/findings"):
        refused(await stranger.get(path), "not_found")
    refused(await http.get(f"/swarms/{swarm.agents[0].run}"), "not_found")
    receipt = (await http.get(f"/runs/{swarm.agents[0].run}/receipt")).raise_for_status().json()
    assert swarm.agents[0].cost is not None
    assert receipt["charged"]["amount"] == swarm.agents[0].cost.amount


async def test_a_swarm_too_large_costs_nothing(client: agora.Client, http: httpx.AsyncClient) -> None:
    """
    It is refused by its plan with what would fit, and no agent has worked.
    """
    goal = {"kind": "map", "package": "echo", "inputs": [{"text": "x"}] * 30}
    started = await client.swarms.start(goal, agents_max=20)
    swarm = await ended(client, started.id)
    settled = (await http.get(f"/runs/{swarm.id}", headers={"Prefer": "wait=20"})).json()

    assert swarm.error is not None
    assert ("failed", "swarm_too_large", []) == (swarm.status, swarm.error.code, swarm.agents)
    assert "0.000000" == settled["cost"]["amount"]


async def test_one_failing_worker_does_not_take_the_others_with_it(client: agora.Client) -> None:
    """
    The input that its agent rejects is tried once more and given up with the reason; the others are delivered.
    """
    inputs = [{"text": "a"}, {"text": "b", "fail": "rejected"}, {"text": "c"}]
    started = await client.swarms.start({"kind": "map", "package": "echo", "inputs": inputs})
    swarm = await ended(client, started.id)
    assert swarm.output is not None

    assert ("succeeded", "partial") == (swarm.status, swarm.deliverable)
    assert ["i2"] == [one["item"] for one in swarm.output["given_up"]]
    assert "asked_to_reject" in swarm.output["given_up"][0]["reason"]
    assert ["a", None, "c"] == [(one["output"] or {}).get("text") for one in swarm.output["results"]]


async def test_a_budget_that_ends_in_the_middle_is_never_overspent(client: agora.Client) -> None:
    """
    Shares that cover nobody's quote are divided anew by what the calls need: the budget lasts for three of six inputs,
    and the rest is given up with the reason.
    """
    inputs = [{"text": str(number)} for number in range(6)]
    goal = {"kind": "map", "package": "echo", "inputs": inputs, "weights": [1] * 6}
    started = await client.swarms.start(goal, budget="0.03")
    swarm = await ended(client, started.id)
    assert swarm.output is not None
    spent = sum(int(float(agent.cost.amount) * 1_000_000) for agent in swarm.agents if agent.cost)

    assert spent <= 30_000
    assert ["i4", "i5", "i6"] == [one["item"] for one in swarm.output["given_up"]]
    assert {"budget_exhausted"} == {one["code"] for one in swarm.output["given_up"]}
    assert "partial" == swarm.deliverable


async def test_cancelling_a_swarm_cancels_its_agents(client: agora.Client, http: httpx.AsyncClient) -> None:
    """
    Agents at work stop with the swarm, and what they have not delivered is not charged.
    """
    inputs = [{"text": str(number), "delay_ms": 30_000} for number in range(4)]
    started = await client.swarms.start({"kind": "map", "package": "echo", "inputs": inputs}, concurrency=2)

    async def working() -> bool:
        found = await client.swarms.get(started.id)
        return sum(agent.status == "running" for agent in found.agents) >= 2

    async with asyncio.timeout(60):
        while True:
            if await working():
                break
            await asyncio.sleep(0.2)
    await client.swarms.cancel(started.id)
    swarm = await ended(client, started.id)
    async with asyncio.timeout(60):
        while any(agent.status in ("accepted", "running", "waiting") for agent in swarm.agents):
            await asyncio.sleep(0.2)
            swarm = await client.swarms.get(started.id)

    assert "cancelled" == swarm.status
    assert {"cancelled"} == {agent.status for agent in swarm.agents}
    refused(await http.post(f"/swarms/{swarm.id}/cancel"), "run_ended")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"goal": {"kind": "conquer"}},
        {"goal": {"kind": "audit", "files": []}},
        {"goal": {"kind": "map", "package": "echo", "inputs": [{"text": "x"}]}, "agents_max": 201},
        {"goal": {"kind": "map", "package": "echo", "inputs": [{"text": "x"}]}, "budget": "lots"},
        {"goal": {"kind": "audit", "files": [{"file": "file_00000000000000000000000000000000"}]}},
    ],
)
async def test_a_goal_that_is_none_is_refused(http: httpx.AsyncClient, given: dict[str, Any]) -> None:
    """
    Unknown kinds, no files, too many agents, no number, a file that is not there: nothing is started.
    """
    answer = await http.post("/swarms", json=given)

    assert answer.status_code == 422, answer.text
    assert [] == (await http.get("/swarms")).json()["items"]
