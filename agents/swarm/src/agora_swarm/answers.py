"""Answers of the goal's agent as findings: the answer as the claim, its passages as evidence."""

from collections.abc import Sequence
from typing import Any

from agora.blackboard import Evidence, Finding
from agora.suspension import CallResult

from agora_swarm.goals import place_of
from agora_swarm.plans import Task
from agora_swarm.types import Questions

ANSWER_MAX = 2_000
QUOTE_MAX = 600
CITATIONS_MAX = 8


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
    return Finding(
        id=f"{item}:answer",
        claim=text[:ANSWER_MAX],
        about=question[:500],
        evidence=_evidence(output.get(goal.citations_field), result.run),
        data={
            "item": item,
            "question": question,
            "answered": answered,
            "run": result.run,
            "cut": len(text) > ANSWER_MAX,
        },
    )


def _evidence(citations: Any, run: str) -> list[Evidence]:
    if not isinstance(citations, list):
        return [Evidence(source=run, place="output")]
    found = []
    for one in citations[:CITATIONS_MAX]:
        if isinstance(one, dict):
            source = str(one.get("source") or run)[:500]
            place = str(one.get("locator") or one.get("place") or "")[:200]
            found.append(Evidence(source=source, place=place, quote=str(one.get("quote") or "")[:QUOTE_MAX]))
        elif isinstance(one, str):
            found.append(Evidence(source=one[:500]))
    return found
