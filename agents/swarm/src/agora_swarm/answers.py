"""Answers of the goal's agent as findings: the answer as the claim, its passages as evidence."""

from collections.abc import Sequence
from typing import Any

import msgspec
from agora.blackboard import Evidence, Finding
from agora.suspension import CallResult

from agora_swarm.fitting import cut, size_of
from agora_swarm.goals import place_of
from agora_swarm.plans import Task
from agora_swarm.types import Questions

ANSWER_MAX, ANSWER_BYTES_MAX = 2_000, 5_000
QUESTION_BYTES_MAX = 2_500
QUOTE_MAX = 600
CITATIONS_MAX = 8
EVIDENCE_BYTES_MAX = 7_000
"""Answer, question and evidence together stay below what a finding may have, in any script."""


def answer_findings(goal: Questions, tasks: Sequence[Task], results: Sequence[CallResult]) -> list[Finding]:
    """A finding for each question whose agent has delivered."""
    return [
        _finding(goal, task.items[0], result)
        for task, result in zip(tasks, results, strict=True)
        if result.output is not None
    ]


def _finding(goal: Questions, item: str, result: CallResult) -> Finding:
    output = result.output or {}
    answer = output.get(goal.answer_field)
    text = answer if isinstance(answer, str) else ""
    said = output.get(goal.answered_field)
    answered = bool(said) if said is not None else bool(text.strip())
    question = goal.questions[place_of(item)]
    claim = cut(text[:ANSWER_MAX], ANSWER_BYTES_MAX)
    return Finding(
        id=f"{item}:answer",
        claim=claim,
        about=cut(question, 500),
        evidence=_evidence(output.get(goal.citations_field), result.run),
        data={
            "item": item,
            "question": cut(question, QUESTION_BYTES_MAX),
            "answered": answered,
            "run": result.run,
            "cut": len(claim) < len(text),
        },
    )


def _evidence(citations: Any, run: str) -> list[Evidence]:
    if not isinstance(citations, list):
        return [Evidence(source=run, place="output")]
    found = []
    left = EVIDENCE_BYTES_MAX
    for one in citations[:CITATIONS_MAX]:
        if isinstance(one, dict):
            source = cut(str(one.get("source") or run), 400)
            place = cut(str(one.get("locator") or one.get("place") or "")[:200], 300)
            evidence = Evidence(source=source, place=place, quote=str(one.get("quote") or "")[:QUOTE_MAX])
        elif isinstance(one, str):
            evidence = Evidence(source=cut(one, 400))
        else:
            continue
        beside = size_of(msgspec.structs.replace(evidence, quote=""))
        if beside > left:
            break
        evidence = msgspec.structs.replace(evidence, quote=cut(evidence.quote, left - beside))
        left -= size_of(evidence)
        found.append(evidence)
    return found
