"""The validator settles what reviewers disagree on, and looks for findings and answers that contradict each other."""

from collections import defaultdict

import agora
from agora.blackboard import Evidence, Finding, Posted

from agora_swarm_worker.roles.answers import contradictions
from agora_swarm_worker.roles.role import Done
from agora_swarm_worker.types import Input


async def work(given: Input, context: agora.Context) -> Done:
    """A verdict on each finding that was voted on."""
    votes = await context.blackboard.read("vote", runs=given.runs)
    findings = await context.blackboard.read("finding")
    answers = await context.blackboard.read("answer")
    verdicts = judge(votes, {one.finding.id for one in (*findings, *answers)}, given.agree)
    verdicts += contradictions(answers)
    accepted = sum(verdict.data.get("verdict") == "accepted" for verdict in verdicts)
    return Done(
        role="validator",
        summary=f"{accepted} accepted, {len(verdicts) - accepted} not",
        findings=verdicts,
        items_done=len(given.items),
        asked=len(given.items),
        counts=_counts(verdicts),
    )


def judge(votes: list[Posted], known: set[str], agree: int) -> list[Finding]:
    """Accepted with enough votes; rejected where nobody confirms, or where the evidence is not there at all;
    disputed otherwise, and shown with the votes. A vote on what nobody posted counts for nothing."""
    by_finding: defaultdict[str, dict[str, Posted]] = defaultdict(dict)
    for one in votes:
        finding = str(one.finding.data.get("finding", ""))
        if finding in known:
            # One vote a lens: a reviewer whose run was repeated does not vote twice.
            by_finding[finding].setdefault(str(one.finding.data.get("lens", "")), one)
    verdicts = []
    for finding, cast in sorted(by_finding.items()):
        confirming = sorted(lens for lens, one in cast.items() if one.finding.data["vote"] == "confirm")
        rejecting = sorted(lens for lens, one in cast.items() if one.finding.data["vote"] != "confirm")
        if "evidence" in rejecting:
            verdict, reason = "rejected", "the evidence is not there: no number of votes makes up for that"
        elif len(confirming) >= agree:
            verdict, reason = "accepted", f"{len(confirming)} of {len(cast)} reviewers confirm it"
        elif not confirming:
            verdict, reason = "rejected", "no reviewer confirms it"
        else:
            verdict, reason = "disputed", f"{len(confirming)} confirm it where {agree} are needed"
        verdicts.append(
            Finding(
                id=f"{finding}:verdict"[:200],
                claim=reason,
                about=finding,
                evidence=[
                    Evidence(source=one.run, place=lens, quote=one.finding.claim[:300])
                    for lens, one in sorted(cast.items())
                ],
                data={
                    "finding": finding, "verdict": verdict, "confirmed_by": confirming, "rejected_by": rejecting,
                },
            )
        )  # fmt: skip
    return verdicts


def _counts(verdicts: list[Finding]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for verdict in verdicts:
        name = str(verdict.data.get("verdict", "contradiction"))
        counts[name] = counts.get(name, 0) + 1
    return counts
