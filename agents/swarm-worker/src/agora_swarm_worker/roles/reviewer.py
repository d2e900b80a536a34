"""The reviewer votes on findings, each after checking it in the file itself and through one lens.

`evidence`: is the quoted line really there? `rule`: is the finding well-formed: a known rule, its severity and remedy,
a line within the file? `reproduction`: does an audit of the file, made anew, come to the same finding?
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Literal

import agora
from agora.blackboard import Evidence, Finding, Posted

from agora_swarm_worker.audit.documents import Document
from agora_swarm_worker.audit.findings import audit, quote
from agora_swarm_worker.audit.reading import read_file
from agora_swarm_worker.audit.rules import RULES
from agora_swarm_worker.roles.answers import review_answers
from agora_swarm_worker.roles.role import Done, OpenedItem, in_thread, opened, posted
from agora_swarm_worker.types import Input, Lens, Unread

type Vote = Literal["confirm", "reject"]


async def work(given: Input, context: agora.Context) -> Done:
    """One vote for each finding of the items."""
    if given.lens in ("completeness", "consistency") or not any(item.file for item in given.items):
        votes = review_answers(await posted(given, context, "answer"), given)
        return _done(given, votes, len(given.items), [])
    unread: list[Unread] = []
    files = await opened(given, context, unread)
    by_item: defaultdict[str, list[Posted]] = defaultdict(list)
    for one in await posted(given, context, "finding"):
        by_item[str(one.finding.data.get("item", ""))].append(one)
    votes = []
    for number, file in enumerate(files):
        found = [one.finding for one in by_item.get(file.item.id, [])]
        votes += await in_thread(partial(review, file, found, given.lens))
        context.progress(file.name, (number + 1) / len(files))
    return _done(given, votes, len(files), unread)


def _done(given: Input, votes: list[Finding], items: int, unread: list[Unread]) -> Done:
    confirmed = sum(vote.data["vote"] == "confirm" for vote in votes)
    return Done(
        role="reviewer",
        summary=f"{confirmed} of {len(votes)} findings confirmed through the lens {given.lens}",
        findings=votes,
        items_done=items,
        asked=len(given.items),
        unread=unread,
        counts={"confirm": confirmed, "reject": len(votes) - confirmed},
    )


def review(file: OpenedItem, findings: Sequence[Finding], lens: Lens) -> list[Finding]:
    """A vote on each finding of one file."""
    if not findings:
        return []
    if lens == "reproduction":
        _, again = audit(file.path, file.item.id, file.source, file.name)
        ids = {finding.id for finding in again}
        return [
            vote(one, lens, "confirm" if one.id in ids else "reject", "found again by an audit made anew"
                 if one.id in ids else "an audit made anew does not find it")
            for one in findings
        ]  # fmt: skip
    document = read_file(file.path, file.name)
    check = _evidence if lens == "evidence" else _form
    votes = []
    for one in findings:
        fault = check(one, document)
        votes.append(vote(one, lens, "reject" if fault else "confirm", fault or "as it says"))
    return votes


def vote(finding: Finding, lens: str, choice: Vote, reason: str) -> Finding:
    """A vote as it stands on the blackboard."""
    return Finding(
        id=f"{finding.id}:{lens}"[:200],
        claim=reason,
        about=finding.id,
        rule=finding.rule,
        evidence=[Evidence(source=one.source, place=one.place) for one in finding.evidence[:3]],
        data={"finding": finding.id, "vote": choice, "lens": lens},
    )


def _evidence(finding: Finding, document: Document) -> str:
    """What is wrong with the evidence; empty where each quote is really there."""
    if not finding.evidence:
        return "no evidence is given"
    for evidence in finding.evidence:
        number = _line_number(evidence.place)
        if number is None:
            return f"{evidence.place!r} is no line"
        if not 1 <= number <= max(len(document.lines), 1):
            return f"the file has {len(document.lines)} lines, not {number}"
        if quote(document.line(number), finding.rule) != evidence.quote:
            return f"line {number} does not read as quoted"
    return ""


def _form(finding: Finding, document: Document) -> str:
    rule = RULES.get(finding.rule)
    if rule is None:
        return f"there is no rule {finding.rule!r}"
    if (finding.severity, finding.remedy) != (rule.severity, rule.remedy):
        return "severity or remedy are not those of the rule"
    if finding.about != document.name:
        return f"it is about {finding.about!r}, not about this file"
    if not finding.claim.startswith(rule.title):
        return "the claim does not say what the rule finds"
    return ""


def _line_number(place: str) -> int | None:
    words = place.split()
    return int(words[1]) if len(words) == 2 and words[0] == "line" and words[1].isdigit() else None
