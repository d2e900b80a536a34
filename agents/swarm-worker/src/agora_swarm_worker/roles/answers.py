"""Reviewing answers to questions, as they stand on the blackboard, without a model and without the sources.

An answer's finding has `data` with `question`, `answered` and `output` (the answering agent's own, cut to a size), the
answer as its claim, and the passages it rests on as evidence.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

from agora.blackboard import Evidence, Finding, Posted

from agora_swarm_worker.types import Input

_NUMBER = re.compile(r"\d[\d.,:/-]*\d|\d")
_WORD = re.compile(r"\w{3,}")
_SUPPORT_MIN = 0.5


def review_answers(answers: Sequence[Posted], given: Input) -> list[Finding]:
    """A vote on each answer of the given items."""
    wanted = {item.id for item in given.items}
    mine = [one for one in answers if str(one.finding.data.get("item", "")) in wanted]
    others = {one.finding.id: conflict for one, conflict in _conflicts(answers)}
    votes = []
    for one in mine:
        finding = one.finding
        match given.lens:
            case "completeness":
                fault = _incomplete(finding)
            case "consistency":
                fault = others.get(finding.id, "")
            case _:
                fault = _unsupported(finding)
        votes.append(
            Finding(
                id=f"{finding.id}:{given.lens}"[:200],
                claim=fault or "as it says",
                about=finding.id,
                evidence=[Evidence(source=one.run, place=finding.id)],
                data={"finding": finding.id, "vote": "reject" if fault else "confirm", "lens": given.lens},
            )
        )
    return votes


def _incomplete(finding: Finding) -> str:
    if not finding.data.get("answered"):
        return ""  # That there is no answer is a complete statement.
    return "" if finding.claim.strip() else "the answer is empty"


def _unsupported(finding: Finding) -> str:
    """What in an answer has no support in the passages it names; empty where all has."""
    if not finding.data.get("answered"):
        return ""
    if not finding.evidence:
        return "it names no passage"
    passages = " ".join(evidence.quote for evidence in finding.evidence)
    if not passages.strip():
        return ""
    missing = [number for number in _NUMBER.findall(finding.claim) if number not in passages]
    if missing:
        return f"{missing[0]} stands in no passage that it names"
    words = {word.lower() for word in _WORD.findall(finding.claim)}
    found = {word.lower() for word in _WORD.findall(passages)}
    if words and len(words & found) / len(words) < _SUPPORT_MIN:
        return "most of its words stand in no passage that it names"
    return ""


def normalised(question: str) -> str:
    """A question as it is compared with others."""
    return " ".join(word.lower() for word in re.findall(r"\w+", question))


def _conflicts(answers: Sequence[Posted]) -> list[tuple[Posted, str]]:
    by_question: defaultdict[str, list[Posted]] = defaultdict(list)
    for one in answers:
        if one.finding.data.get("answered"):
            by_question[normalised(str(one.finding.data.get("question", "")))].append(one)
    found = []
    for same in by_question.values():
        texts = {normalised(one.finding.claim) for one in same}
        if len(texts) > 1:
            names = ", ".join(one.finding.id for one in same)
            found += [(one, f"the same question is answered differently: {names}") for one in same]
    return found


def contradictions(answers: Sequence[Posted]) -> list[Finding]:
    """Answers to one question that differ, as findings."""
    return [
        Finding(
            id=f"{one.finding.id}:contradiction"[:200],
            claim=reason,
            about=one.finding.id,
            evidence=[Evidence(source=one.run, place=one.finding.id, quote=one.finding.claim[:300])],
            data={"finding": one.finding.id, "contradiction": True},
        )
        for one, reason in _conflicts(answers)
    ]
