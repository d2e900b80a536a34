"""With a model: it may propose how the plan is cut and word the summary, and counts only as far as the checks let it."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from agora import alone
from agora.models import LocalModels
from agora_swarm import agent
from agora_swarm.types import Output

from tests.support.llm_wire import Asked, Reply, Wire, serving

from .test_swarm_alone import FILES, audit_goal

PLANNING, WORDING = "Propose how many files", "Word a summary"


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A vendor that speaks as OpenAI's does."""
    async with serving() as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six files to audit, with faults in all."""
    for number in range(3):
        (tmp_path / f"{number}.yaml").write_text(FILES["web.yaml"].replace("nginx", f"nginx:{number}.0"))
        (tmp_path / f"{number}.env").write_text(f"DEBUG=true\nDB_PASSWORD=k83hd-s93h-{number}\n")
    return tmp_path


def saying(planning: Any, wording: Callable[[str], Any] | Any) -> Callable[[Asked], Reply]:
    """Answers a question about the plan, and one about the summary, of which it is shown what it was asked."""

    def answer(asked: Asked) -> Reply:
        question = json.dumps(asked.body)
        worded = wording(question) if callable(wording) and WORDING in question else wording
        said = planning if PLANNING in question else worded
        return Reply(pieces=(said if isinstance(said, str) else json.dumps(said),))

    return answer


async def audited(folder: Path, wire: Wire) -> Output:
    """The audit of the folder with the vendor's model."""
    result = await alone.run(
        agent,
        {"goal": audit_goal(folder)},
        base=folder,
        out=folder / "out",
        cache=folder / ".cache",
        models=LocalModels(wire.environment("openai")),
    )
    output: Output = result.output
    return output


def engineers(output: Output) -> int:
    """How many engineers worked."""
    return next(one.agents for one in output.phases if one.role == "engineer")


SIZES = {"files_per_researcher": 6, "files_per_engineer": 2, "files_per_reviewer": 6}


async def test_a_plan_is_cut_as_a_model_proposes(folder: Path, wire: Wire) -> None:
    """
    Within the limits its proposal is the plan's; without one, six files are two engineers' work.
    """
    wire.answer = saying(SIZES, {"sentences": []})
    output = await audited(folder, wire)

    assert ("assisted", 3) == (output.mode, engineers(output))
    assert ("full", 9) == (output.deliverable, output.claims_in_all)


@pytest.mark.parametrize(
    "planning",
    [
        SIZES | {"files_per_engineer": 0},
        SIZES | {"files_per_engineer": 10_000},
        {"files_per_researcher": "many"},
        "Two engineers would do, I think.",
        "",
    ],
)
async def test_a_proposal_that_is_none_changes_nothing(folder: Path, wire: Wire, planning: Any) -> None:
    """
    Outside the limits, another shape, or no JSON at all: the plan is made without it, and the audit is the same.
    """
    wire.answer = saying(planning, {"sentences": []})
    output = await audited(folder, wire)

    assert ("baseline", 2) == (output.mode, engineers(output))
    assert ("full", 9) == (output.deliverable, output.claims_in_all)


def a_claim(question: str) -> str:
    """The id of the first claim that a question shows."""
    return next(word for word in question.replace("\\n", " ").split() if ":CMP001:" in word)


async def test_a_summary_is_worded_as_far_as_its_claims_bear_it_out(folder: Path, wire: Wire) -> None:
    """
    A sentence stands with the claims that it names; one with a number that they do not have, or on a claim that is not
    there, is dropped.
    """

    def words(question: str) -> Any:
        claim = a_claim(question)
        return {
            "sentences": [
                {"text": "Take the privilege from the service first.", "claims": [claim]},
                {"text": "This costs 4711 dollars a day.", "claims": [claim]},
                {"text": "The moon is at fault.", "claims": ["f9:MOON:1"]},
            ]
        }

    wire.answer = saying("no", words)
    output = await audited(folder, wire)

    assert "assisted" == output.mode
    assert output.summary.endswith("Take the privilege from the service first.")
    assert "4711" not in output.summary + "".join(one.text for one in output.statements)
    assert "moon" not in output.summary
    assert output.statements[0].claims[0] in {claim.id for claim in output.claims}


@pytest.mark.parametrize(
    "wording",
    [
        {"sentences": [{"text": "All is well with 12345 files.", "claims": ["f1:X"]}]},
        {"sentences": []},
        {"poem": True},
        "Roses are red.",
        "",
    ],
)
async def test_a_summary_of_which_nothing_stands_is_the_plain_one(
    folder: Path, wire: Wire, wording: Any
) -> None:
    """
    Invented claims, another shape or no JSON: the summary is made without the model, and nothing is lost.
    """
    wire.answer = saying("no", wording)
    output = await audited(folder, wire)

    assert ("baseline", "full", 9) == (output.mode, output.deliverable, output.claims_in_all)
    assert output.summary.startswith("6 of 6 files audited")


@pytest.mark.parametrize(
    "reply", [Reply(status=500), Reply(garbage=b"<html>gone</html>"), Reply(breaks_after=0)]
)
async def test_a_vendor_that_is_out_of_order_does_not_stop_a_swarm(
    folder: Path, wire: Wire, reply: Reply
) -> None:
    """
    Errors, garbage and broken connections at the vendor: the swarm goes on without it.
    """
    wire.answer = reply
    output = await audited(folder, wire)

    assert ("baseline", "full", 9) == (output.mode, output.deliverable, output.claims_in_all)
