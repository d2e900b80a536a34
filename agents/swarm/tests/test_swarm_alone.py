"""A whole swarm in one process: the coordinator and its workers, without a platform and without a model."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import agora
import msgspec
import pytest
from agora import alone
from agora.blackboard import Finding, Posted
from agora.suspension import CallRequest, CallResult, CallsEnded, Request
from agora_swarm import agent, nodes
from agora_swarm.synthesis import verdicts_by_finding
from agora_swarm.types import Output

SOURCES = Path(__file__).parents[2] / "swarm-worker" / "evals"

FILES = {
    "web.yaml": "services:\n  web:\n    image: nginx\n    privileged: true\n    mem_limit: 1g\n",
    "copy/web.yaml": "services:\n  web:\n    image: nginx\n    privileged: true\n    mem_limit: 1g\n",
    "app.env": "DEBUG=true\nDB_PASSWORD=k83hd-s93h-22\n",
    "clean.toml": "[server]\nport = 8080\n",
    "empty.json": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of configuration files."""
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return tmp_path


def audit_goal(folder: Path) -> dict[str, Any]:
    """An audit of all of them."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {"kind": "audit", "files": [{"file": name, "path": name} for name in names]}


async def no_wait(seconds: float) -> None:
    """Between attempts, do not wait."""


async def swarm(folder: Path, answers: Any = None, **given: Any) -> alone.AloneResult:
    """Run a swarm."""
    return await alone.run(
        agent, given, base=folder, out=folder / "out", cache=folder / ".cache", answers=answers, sleep=no_wait
    )


async def test_an_audit_names_for_every_claim_who_found_and_confirmed_it(folder: Path) -> None:
    """
    The claims are the files' faults, worst first, each with its run, three confirmations and the line; copies are
    audited once and named, what cannot be read is given up with the reason.
    """
    result = await swarm(folder, goal=audit_goal(folder))
    output: Output = result.output

    assert ["CMP001", "SEC001", "CMP004", "DBG001"] == [claim.rule for claim in output.claims]
    assert all(claim.found_by.startswith("run_") for claim in output.claims)
    assert all(3 == len(claim.confirmed_by) for claim in output.claims)
    assert {"copy/web.yaml", "web.yaml"} == {output.claims[0].about, *output.claims[0].also_in}
    assert [("empty.json", "unread")] == [(one.name, one.code) for one in output.given_up]
    assert ("partial", "baseline", []) == (output.deliverable, output.mode, output.disputed)
    assert "k83hd-s93h-22" not in msgspec.json.encode(output).decode()


async def test_every_statement_rests_on_claims_and_every_claim_on_evidence(folder: Path) -> None:
    """
    Provenance has no gap: statement, claims, evidence, the line of the file itself.
    """
    output: Output = (await swarm(folder, goal=audit_goal(folder))).output
    claims = {claim.id: claim for claim in output.claims}

    assert output.statements
    for statement in output.statements:
        assert set(statement.claims) <= set(claims)
    for claim in output.claims:
        (evidence,) = claim.evidence
        line = (folder / evidence.source).read_text().splitlines()[int(evidence.place.split()[1]) - 1]
        assert evidence.quote.split("***")[0].strip() in line


async def test_more_claims_than_an_output_holds_stand_in_the_files(tmp_path: Path) -> None:
    """
    Claims that statements name and the output leaves out are in the report and the SARIF under their ids; what is left
    out is counted.
    """
    service = "  s{0}:\n    image: nginx:{0}.0\n    privileged: true\n    mem_limit: 1g\n"
    for number in range(20):
        services = "".join(service.format(100 * number + each) for each in range(10))
        (tmp_path / f"{number}.yaml").write_text(f"services:\n{services}")
        passwords = "".join(f"DB{each}_PASSWORD=k83hd-s93h-{number}{each}\n" for each in range(10))
        (tmp_path / f"{number}.env").write_text(f"DEBUG=true\n{passwords}")
    output: Output = (await swarm(tmp_path, goal=audit_goal(tmp_path))).output
    report = (tmp_path / "out" / str(output.report)).read_text()
    sarif = json.loads((tmp_path / "out" / str(output.sarif)).read_text())
    ids = {one["properties"]["claim"] for one in sarif["runs"][0]["results"]}
    named = {claim for statement in output.statements for claim in statement.claims}

    assert output.claims_in_all > len(output.claims)
    assert named - {claim.id for claim in output.claims}
    assert named <= ids
    assert all(f"`{claim}`" in report for claim in named)
    assert output.claims_in_all == len(ids) == sum(one.claims_in_all for one in output.statements)


async def test_the_report_comes_as_markdown_sarif_and_a_diff(folder: Path) -> None:
    """
    The files hold what the output says, and remedies that were tried.
    """
    output: Output = (await swarm(folder, goal=audit_goal(folder))).output
    assert output.report is not None
    assert output.sarif is not None
    assert output.changes is not None
    report = (folder / "out" / output.report).read_text()
    sarif = json.loads((folder / "out" / output.sarif).read_text())
    diff = (folder / "out" / output.changes).read_text()

    assert output.summary in report
    assert [claim.rule for claim in output.claims] == [one["ruleId"] for one in sarif["runs"][0]["results"]]
    assert "+DEBUG=false" in diff
    assert {"CMP001", "DBG001"} <= {claim.rule for claim in output.claims if claim.remedy_works}


async def test_usage_is_one_job(folder: Path) -> None:
    """
    The swarm itself is one job, however many agents worked; their work is theirs.
    """
    result = await swarm(folder, goal=audit_goal(folder))

    assert [("jobs", Decimal(1))] == [(used.meter, used.quantity) for used in result.usage]


async def test_a_hundred_files_of_all_formats(tmp_path: Path) -> None:
    """
    A folder of 100 files is audited by some thirty agents, and all the files are accounted for.
    """
    paths = sorted((SOURCES / "sources").iterdir())
    texts = [re.sub(r"[ \t]*⟦[^⟧]*⟧", "", path.read_text()) for path in paths]
    names = [path.name.partition("-")[2] for path in paths]
    listed = []
    for number in range(100):
        path = tmp_path / str(number) / names[number % len(names)]
        path.parent.mkdir()
        path.write_text(f"{texts[number % len(texts)]}\n# {number}\n")
        listed.append(
            {"file": path.relative_to(tmp_path).as_posix(), "path": path.relative_to(tmp_path).as_posix()}
        )
    output: Output = (await swarm(tmp_path, goal={"kind": "audit", "files": listed}, concurrency=8)).output

    assert "full" == output.deliverable
    assert 30 <= output.agents <= 40
    assert output.claims_in_all > 200
    assert [] == output.disputed


async def test_a_swarm_too_large_is_refused(tmp_path: Path) -> None:
    """
    More inputs than agents: nothing is called.
    """
    called: list[Request] = []
    with pytest.raises(agora.RunFailed) as failed:
        goal = {"kind": "map", "package": "echo", "inputs": [{"text": "x"}] * 201}
        await swarm(tmp_path, goal=goal, answers=lambda request: called.append(request))

    assert ("swarm_too_large", []) == (failed.value.code, called)


async def test_a_package_on_many_inputs(tmp_path: Path) -> None:
    """
    Every input has its result in its place; one that is rejected fails alone and is given up with its reason.
    """
    inputs = [{"text": str(number)} for number in range(5)] + [{"text": "x", "fail": "rejected"}]
    output: Output = (await swarm(tmp_path, goal={"kind": "map", "package": "echo", "inputs": inputs})).output

    assert ["0", "1", "2", "3", "4"] == [one.output["text"] for one in output.results if one.output]
    assert "partial" == output.deliverable
    assert ["i6"] == [one.item for one in output.given_up]
    # Tried once more before it was given up.
    assert 7 == output.agents


def answering(*results: CallResult) -> Any:
    """Answers the call of each question with what a made-up agent gives."""

    def answer(request: Request) -> CallsEnded | None:
        if isinstance(request, CallRequest) and request.calls[0].package == "kb":
            numbers = [int(call.title.partition(" ")[0].removeprefix("executor-")) for call in request.calls]
            return CallsEnded(results=[results[number - 1] for number in numbers])
        return None

    return answer


def answered(run: str, text: str, quote: str) -> CallResult:
    """An answer with one citation."""
    citation = {"source": "faq.md", "locator": "line 3", "quote": quote, "score": 1}
    output = {"answer": text, "answered": True, "citations": [citation]}
    return CallResult(run=run, package="kb", outcome="succeeded", deliverable="full", output=output)


async def test_questions_are_answered_and_reviewed(tmp_path: Path) -> None:
    """
    Each question has its answer, its run and its passages; an answer with a number that stands nowhere is not accepted,
    and the same question asked twice has one agent.
    """
    goal = {"kind": "questions", "package": "kb", "questions": ["How long?", "How much?", "how long?"]}
    answers = answering(
        answered("run_1", "Goods can be returned within 30 days.", "Goods can be returned within 30 days."),
        answered("run_2", "It costs 12 euros.", "It costs 10 euros."),
    )
    output: Output = (await swarm(tmp_path, goal=goal, answers=answers)).output

    assert ["accepted", "rejected", "accepted"] == [one.verdict for one in output.answers]
    assert ["run_1", "run_2", "run_1"] == [one.run for one in output.answers]
    assert "12" in output.answers[1].reasons[1]
    assert "full" == output.deliverable


async def test_when_the_money_ends_the_rest_is_given_up_and_what_was_done_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Refused for want of budget, again and again: these items are given up with that reason, the others are delivered.
    """
    monkeypatch.setattr(nodes, "RETURN_SECONDS", 0)
    refused = CallResult(
        run="", package="kb", outcome="refused", code="budget_exhausted", detail="0.10 USD are left"
    )
    goal = {"kind": "questions", "package": "kb", "questions": ["How long?", "How much?"]}
    answers = answering(answered("run_1", "It takes 30 days.", "It takes 30 days."), refused)
    output: Output = (await swarm(tmp_path, goal=goal, answers=answers)).output

    assert ("partial", 1) == (output.deliverable, len(output.answers))
    assert [("q2", "budget_exhausted")] == [(one.item, one.code) for one in output.given_up]


async def test_a_budget_is_divided_among_the_agents(folder: Path) -> None:
    """
    All calls together may cost no more than the budget.
    """
    given: list[int] = []

    def answer(request: Request) -> None:
        if isinstance(request, CallRequest):
            given.extend(call.max_cost.amount for call in request.calls if call.max_cost)

    await swarm(folder, goal=audit_goal(folder), budget="1.50", answers=answer)

    assert len(given) > 5
    assert 0 < sum(given) <= 1_500_000


def losing(*roles: str) -> Any:
    """Answers the calls of workers in these roles with their failure."""

    def answer(request: Request) -> CallsEnded | None:
        if isinstance(request, CallRequest) and request.calls[0].input.get("role") in roles:
            lost = CallResult(run="run_x", package="", outcome="failed", code="internal", detail="gone")
            return CallsEnded(results=[lost] * len(request.calls))
        return None

    return answer


@pytest.mark.parametrize("role", ["validator", "reviewer"])
async def test_an_audit_whose_review_is_lost_claims_nothing_and_is_not_whole(folder: Path, role: str) -> None:
    """
    Findings that no verdict stands for are shown as not reviewed, and are no claims; their files are given up with the
    reason. What has no findings is done.
    """
    output: Output = (await swarm(folder, goal=audit_goal(folder), answers=losing(role))).output

    assert [] == output.claims
    assert {"unreviewed"} == {one.verdict for one in output.disputed}
    assert {"app.env": "unreviewed", "copy/web.yaml": "unreviewed", "empty.json": "unread"} == {
        one.name: one.code for one in output.given_up
    }
    assert (
        "gone" in next(one.reason for one in output.given_up if one.code == "unreviewed")
        or role != "validator"
    )
    assert "partial" == output.deliverable
    assert "What was found in 2 files was not reviewed to the end." in output.summary


async def test_an_audit_of_which_nothing_is_reviewed_is_not_charged(tmp_path: Path) -> None:
    """
    Where all files have findings that nobody reviewed, nothing was delivered.
    """
    (tmp_path / "web.yaml").write_text(FILES["web.yaml"])
    result = await swarm(tmp_path, goal=audit_goal(tmp_path), answers=losing("reviewer"))

    assert ("empty", []) == (result.output.deliverable, result.usage)


async def test_answers_that_nobody_reviewed_are_delivered_as_such(tmp_path: Path) -> None:
    """
    The swarm is not whole then, and says which answers no reviewer has seen.
    """

    def answers(request: Request) -> CallsEnded | None:
        known = answering(answered("run_1", "It takes 30 days.", "It takes 30 days."))
        given: CallsEnded | None = known(request) or losing("reviewer")(request)
        return given

    goal = {"kind": "questions", "package": "kb", "questions": ["How long?"]}
    output: Output = (await swarm(tmp_path, goal=goal, answers=answers)).output

    assert ("partial", ["unreviewed"]) == (output.deliverable, [one.verdict for one in output.answers])
    assert [("q1", "unreviewed")] == [(one.item, one.code) for one in output.given_up]


@pytest.mark.parametrize(
    ("verdict", "confirmed", "rejected", "stands"),
    [
        ("disputed", ["rule"], [], False),
        ("rejected", [], ["rule"], False),
        ("rejected", [], ["rule", "reproduction"], True),
        ("rejected", [], ["evidence"], True),
        ("accepted", ["rule", "evidence"], [], True),
        ("disputed", ["evidence"], ["rule", "reproduction"], True),
    ],
)
def test_a_missing_vote_leaves_open_what_it_could_have_turned(
    verdict: str, confirmed: list[str], rejected: list[str], stands: bool
) -> None:
    """
    Two of three votes confirm a finding: a verdict that the votes of lost reviewers could have turned is none.
    """
    data = {"finding": "f1:X", "verdict": verdict, "confirmed_by": confirmed, "rejected_by": rejected}
    posted = Posted(run="r", step="s", topic="verdict", finding=Finding(id="v", claim="", data=data))

    assert stands == ("f1:X" in verdicts_by_finding([posted], 2))


async def test_inputs_of_which_a_part_was_delivered_are_not_done(tmp_path: Path) -> None:
    """
    A run that delivered a part, or nothing, is named; the swarm is then partial, or empty where all delivered nothing.
    """

    def delivering(*how: Any) -> Any:
        def answer(request: Request) -> CallsEnded | None:
            results = [
                CallResult(run=f"run_{one}", package="kb", outcome="succeeded", deliverable=one, output={})
                for one in how
            ]
            return CallsEnded(results=results)

        return answer

    async def outcome(*how: Any) -> tuple[str, list[str]]:
        goal = {"kind": "map", "package": "kb", "inputs": [{}] * len(how)}
        output: Output = (await swarm(tmp_path, goal=goal, answers=delivering(*how))).output
        return output.deliverable, [one.code for one in output.given_up]

    assert ("partial", ["partial", "empty"]) == await outcome("full", "partial", "empty")
    assert ("partial", ["partial"]) == await outcome("partial")
    assert ("empty", ["empty", "empty"]) == await outcome("empty", "empty")
