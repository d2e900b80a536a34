"""What each role does with a blackboard, and that findings are the same whoever makes them."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import agora
import pytest
from agora import alone
from agora.blackboard import Evidence, Finding, Posted
from agora_swarm_worker import agent
from agora_swarm_worker.audit.findings import audit
from agora_swarm_worker.roles.analyst import assess
from agora_swarm_worker.roles.answers import contradictions, review_answers
from agora_swarm_worker.roles.reviewer import review, vote
from agora_swarm_worker.roles.role import OpenedItem
from agora_swarm_worker.roles.validator import judge
from agora_swarm_worker.types import Input, Item

COMPOSE = "services:\n  db:\n    image: postgres\n    privileged: true\n    mem_limit: 1g\n"


@pytest.fixture
def compose(tmp_path: Path) -> OpenedItem:
    """A file with two findings."""
    path = tmp_path / "compose.yaml"
    path.write_text(COMPOSE)
    item = Item(id="f1", file="compose.yaml", name="compose.yaml")
    return OpenedItem(item=item, path=path, name="compose.yaml", source="compose.yaml")


def found(one: OpenedItem) -> list[Finding]:
    """What an engineer finds in it."""
    return audit(one.path, one.item.id, one.source, one.name)[1]


def posted(findings: Sequence[Finding], topic: str = "x") -> list[Posted]:
    """Findings as they stand on the blackboard."""
    return [Posted(run="run_1", step="s", topic=topic, finding=finding) for finding in findings]


async def test_an_engineer_delivers_findings_with_evidence(tmp_path: Path, compose: OpenedItem) -> None:
    """
    Run alone, the engineer's output holds each finding with rule, line and quote, and usage by the file.
    """
    item = {"id": "f1", "file": "compose.yaml"}
    result = await alone.run(agent, {"role": "engineer", "items": [item]}, base=tmp_path, out=tmp_path)
    findings = {finding.rule: finding for finding in result.output.findings}

    assert {"CMP001", "CMP004"} == set(findings)
    assert [Evidence(source="compose.yaml", place="line 4", quote="privileged: true")] == findings[
        "CMP001"
    ].evidence
    assert ("full", 1) == (result.output.deliverable, result.output.items_done)
    assert [("items", Decimal(1))] == [(used.meter, used.quantity) for used in result.usage]


async def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """
    Alone the input's files are looked at first: the run says which one is missing.
    """
    with pytest.raises(agora.RunFailed) as failed:
        item = {"id": "f1", "file": "gone.yaml"}
        await alone.run(agent, {"role": "engineer", "items": [item]}, base=tmp_path, out=tmp_path)

    assert "file_not_found" == failed.value.code


async def test_two_items_with_one_id_are_refused(tmp_path: Path, compose: OpenedItem) -> None:
    """
    Findings could not be told apart.
    """
    item = {"id": "f1", "file": "compose.yaml"}
    with pytest.raises(agora.RunFailed) as failed:
        await alone.run(agent, {"role": "engineer", "items": [item, item]}, base=tmp_path, out=tmp_path)

    assert "item_twice" == failed.value.code


@pytest.mark.parametrize("lens", ["evidence", "rule", "reproduction"])
def test_true_findings_are_confirmed_through_every_lens(compose: OpenedItem, lens: Any) -> None:
    """
    What an engineer has found, every reviewer confirms.
    """
    votes = review(compose, found(compose), lens)

    assert ["confirm"] * 2 == [one.data["vote"] for one in votes]


@pytest.mark.parametrize(
    ("lens", "change"),
    [
        (
            "evidence",
            {"evidence": [Evidence(source="compose.yaml", place="line 4", quote="privileged: false")]},
        ),
        ("evidence", {"evidence": [Evidence(source="compose.yaml", place="line 99", quote="")]}),
        ("evidence", {"evidence": []}),
        ("rule", {"severity": "low"}),
        ("rule", {"rule": "XXX001"}),
        ("rule", {"about": "other.yaml"}),
        ("reproduction", {"id": "f1:CMP001:77:abcdef"}),
    ],
)
def test_a_finding_that_was_made_up_is_rejected(
    compose: OpenedItem, lens: Any, change: dict[str, Any]
) -> None:
    """
    Wrong quotes, lines, severities, rules or findings that nobody finds again get a vote against, with the reason.
    """
    import msgspec

    forged = msgspec.structs.replace(found(compose)[0], **change)
    (cast,) = review(compose, [forged], lens)

    assert "reject" == cast.data["vote"]
    assert cast.claim


def test_a_quorum_decides_and_missing_evidence_is_final() -> None:
    """
    Two of three confirm; one of three is disputed; none is rejected; without evidence no number of votes helps.
    """
    findings = {name: Finding(id=name, claim=name) for name in ("two", "one", "none", "forged", "unknown")}
    votes = [
        vote(findings["two"], "rule", "confirm", ""), vote(findings["two"], "reproduction", "confirm", ""),
        vote(findings["two"], "evidence", "confirm", ""),
        vote(findings["one"], "evidence", "confirm", ""), vote(findings["one"], "rule", "reject", "no such rule"),
        vote(findings["none"], "rule", "reject", ""), vote(findings["none"], "reproduction", "reject", ""),
        vote(findings["forged"], "evidence", "reject", ""), vote(findings["forged"], "rule", "confirm", ""),
        vote(findings["forged"], "reproduction", "confirm", ""), vote(findings["unknown"], "rule", "confirm", ""),
    ]  # fmt: skip
    verdicts = judge(posted(votes), {"two", "one", "none", "forged"}, 2)

    assert {"two": "accepted", "one": "disputed", "none": "rejected", "forged": "rejected"} == {
        one.data["finding"]: one.data["verdict"] for one in verdicts
    }


def test_a_vote_that_comes_twice_counts_once() -> None:
    """
    A reviewer whose run was repeated does not make a quorum of one.
    """
    cast = vote(Finding(id="a", claim="a"), "rule", "confirm", "")
    (verdict,) = judge(posted([cast, cast]), {"a"}, 2)

    assert "disputed" == verdict.data["verdict"]


def test_copies_and_empty_files_are_not_worth_the_work() -> None:
    """
    The analyst lets the first of several equal files stand for all, and names what cannot be read.
    """

    def stock(item: str, digest: str, readable: bool = True) -> Finding:
        data = {
            "item": item,
            "sha256": digest,
            "readable": readable,
            "lines": 10,
            "faults": [] if readable else ["empty"],
        }
        return Finding(id=f"{item}:inventory", claim=item, about=item, data=data)

    findings = assess(posted([stock("f1", "a"), stock("f2", "a"), stock("f3", "b", readable=False)]))

    assert [("f1", "work", ""), ("f2", "skip", "f1"), ("f3", "skip", "")] == [
        (one.data["item"], one.data["decision"], one.data["same_as"]) for one in findings
    ]


def answer(item: str, question: str, claim: str, *quotes: str) -> Finding:
    """An answer on the blackboard."""
    return Finding(
        id=f"{item}:answer",
        claim=claim,
        about=question,
        evidence=[Evidence(source="faq.md", place="line 1", quote=quote) for quote in quotes],
        data={"item": item, "question": question, "answered": True},
    )


def test_an_answer_whose_numbers_stand_nowhere_is_rejected() -> None:
    """
    The evidence reviewer rejects a number that no passage holds, and confirms what the passages say.
    """
    answers = posted(
        [
            answer(
                "q1",
                "How long?",
                "Goods can be returned within 30 days.",
                "Goods can be returned within 30 days.",
            ),
            answer("q2", "How much?", "It costs 12 euros.", "It costs 10 euros."),
        ]
    )
    given = Input(role="reviewer", lens="evidence", items=[Item(id="q1"), Item(id="q2")])

    assert ["confirm", "reject"] == [one.data["vote"] for one in review_answers(answers, given)]


def test_two_answers_to_one_question_are_a_contradiction() -> None:
    """
    The same question with different answers is shown as such; the same answer twice is not.
    """
    answers = posted(
        [
            answer("q1", "How long?", "30 days"),
            answer("q2", "how long", "14 days"),
            answer("q3", "Where?", "Here"),
        ]
    )

    assert ["q1:answer", "q2:answer"] == [one.data["finding"] for one in contradictions(answers)]
