"""Joining what stands: accepted findings become claims, each with the run that found it, who confirmed it, and the
evidence; statements of the synthesis name the claims that they rest on. Nothing is said that no claim says."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import agora
import msgspec
from agora.blackboard import Finding, Posted, Severity, by_id

from agora_swarm.goals import item_ids, names_of, place_of, same_questions
from agora_swarm.plans import Plan
from agora_swarm.report import diffs, markdown, sarif
from agora_swarm.types import (
    CLAIMS_MAX,
    Answer,
    Claim,
    Disputed,
    GivenUp,
    Input,
    Output,
    PhaseReport,
    Questions,
    Result,
    Statement,
)

SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low", "info")
STATEMENTS_MAX = 40
UNREVIEWED = "no reviewer has seen it"


async def synthesise_audit(
    given: Input,
    plan: Plan,
    *,
    findings: Sequence[Posted],
    verdicts: Sequence[Posted],
    remedies: Sequence[Posted],
    assessed: Sequence[Posted],
    context: agora.Context,
) -> Output:
    """The outcome of an audit, with its report as Markdown, SARIF, and the remedies as a diff."""
    claims, disputed = judged(findings, verdicts, remedies, assessed)
    given_up = list(plan.given_up)
    items = item_ids(given.goal)
    lost = len({one.item for one in given_up})
    counts = Counter(claim.severity for claim in claims)
    statements = statements_of(claims, given_up)
    full = Output(
        kind="audit",
        deliverable=deliverable(len(items), lost),
        summary=_audit_summary(len(items), lost, claims, disputed),
        agents=len(plan.tasks),
        revisions=plan.revision,
        statements=statements,
        claims=claims,
        claims_in_all=len(claims),
        counts={severity: counts[severity] for severity in SEVERITIES if counts[severity]},
        disputed=disputed,
        given_up=given_up,
        phases=phases(plan),
    )
    report = await context.files.save(markdown(full).encode(), name="audit.md", content_type="text/markdown")
    data = await context.files.save(sarif(claims), name="audit.sarif", content_type="application/sarif+json")
    changes = None
    if remedies:
        changes = await context.files.save(diffs(remedies), name="remedies.diff", content_type="text/x-diff")
    return _bounded(full, report=report, sarif=data, changes=changes)


def judged(
    findings: Sequence[Posted],
    verdicts: Sequence[Posted],
    remedies: Sequence[Posted],
    assessed: Sequence[Posted] = (),
) -> tuple[list[Claim], list[Disputed]]:
    """Claims, the worst first, and what the reviewers disagree on or reject."""
    verdict_of = {
        str(one.finding.data.get("finding")): one.finding for one in verdicts if "verdict" in one.finding.data
    }
    works = {str(finding) for one in remedies for finding in one.finding.data.get("solves", [])}
    copies: defaultdict[str, list[str]] = defaultdict(list)
    for one in assessed:
        if same := one.finding.data.get("same_as"):
            copies[str(same)].append(one.finding.about)
    claims, disputed = [], []
    for identity, one in by_id(findings).items():
        verdict = verdict_of.get(identity)
        if verdict is not None and verdict.data["verdict"] == "accepted":
            claims.append(_claim(one, verdict, copies, identity in works))
        else:
            disputed.append(_disputed(one.finding, verdict))
    claims.sort(key=lambda claim: (SEVERITIES.index(claim.severity), claim.rule, claim.about, claim.id))
    return claims, disputed


def _claim(one: Posted, verdict: Finding, copies: dict[str, list[str]], works: bool) -> Claim:
    finding = one.finding
    return Claim(
        id=finding.id,
        statement=finding.claim,
        severity=finding.severity,
        rule=finding.rule,
        about=finding.about,
        remedy=finding.remedy,
        found_by=one.run,
        confirmed_by=[str(lens) for lens in verdict.data.get("confirmed_by", [])],
        evidence=finding.evidence,
        also_in=sorted(copies.get(str(finding.data.get("item")), [])),
        remedy_works=works,
    )


def _disputed(finding: Finding, verdict: Finding | None) -> Disputed:
    if verdict is None:
        return Disputed(
            id=finding.id,
            statement=finding.claim,
            about=finding.about,
            verdict="unreviewed",
            reasons=[UNREVIEWED],
        )
    return Disputed(
        id=finding.id,
        statement=finding.claim,
        about=finding.about,
        verdict=str(verdict.data["verdict"]),
        reasons=[
            verdict.claim,
            *(
                f"{one.place}: {one.quote}"
                for one in verdict.evidence
                if one.place in verdict.data["rejected_by"]
            ),
        ],
    )


def statements_of(claims: Sequence[Claim], given_up: Sequence[GivenUp]) -> list[Statement]:
    """A sentence for each rule that is broken, the worst first, with the claims behind it."""
    by_rule: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        by_rule[claim.rule].append(claim)
    ordered = sorted(
        by_rule.items(), key=lambda pair: (SEVERITIES.index(pair[1][0].severity), -len(pair[1]), pair[0])
    )
    found = []
    for rule, broken in ordered[:STATEMENTS_MAX]:
        files = sorted(
            {claim.about for claim in broken} | {name for claim in broken for name in claim.also_in}
        )
        title = broken[0].statement.partition(":")[0]
        where = files[0] if len(files) == 1 else f"{len(files)} files, {files[0]} among them"
        works = sum(claim.remedy_works for claim in broken)
        remedy = f" A tried remedy solves {works} of {len(broken)}." if works else ""
        found.append(
            Statement(
                text=f"{rule} ({broken[0].severity}): {title}, {_times(len(broken))} in {where}.{remedy}",
                claims=[claim.id for claim in broken[:100]],
            )
        )
    if given_up:
        found.append(
            Statement(
                text=f"{_many(len(given_up), 'item')} could not be worked on; given_up says why.", claims=[]
            )
        )
    return found


def _audit_summary(files: int, lost: int, claims: Sequence[Claim], disputed: Sequence[Disputed]) -> str:
    worst = Counter(claim.severity for claim in claims)
    listed = ", ".join(f"{worst[severity]} {severity}" for severity in SEVERITIES if worst[severity])
    sentences = [
        f"{files - lost} of {_many(files, 'file')} audited: {_many(len(claims), 'claim')}{f' ({listed})' if listed else ''}."
    ]
    if disputed:
        sentences.append(f"{_many(len(disputed), 'finding')} did not pass the review.")
    solved = sum(claim.remedy_works for claim in claims)
    if solved:
        sentences.append(f"For {solved} a remedy was tried on a copy and works.")
    return " ".join(sentences)


def synthesise_answers(
    given: Input,
    plan: Plan,
    *,
    answers: Sequence[Posted],
    verdicts: Sequence[Posted],
    results: Sequence[Result],
) -> Output:
    """Every question with its answer, in the order asked, and what the reviewers made of it."""
    goal = given.goal
    if not isinstance(goal, Questions):
        raise TypeError("answers are those of a goal of questions")
    found = {str(one.finding.data["item"]): one.finding for one in answers}
    verdict_of = {
        str(one.finding.data.get("finding")): one.finding for one in verdicts if "verdict" in one.finding.data
    }
    same = same_questions(goal)
    runs = {one.index: one.run for one in results}
    listed = []
    lost = {one.item: one for one in plan.given_up}
    given_up = list(plan.given_up)
    names = names_of(goal)
    for item in item_ids(goal):
        asked = same.get(item, item)
        finding = found.get(asked)
        if finding is None:
            if item != asked and asked in lost:
                one = lost[asked]
                given_up.append(GivenUp(item=item, name=names[item], reason=one.reason, code=one.code))
            continue
        verdict = verdict_of.get(finding.id)
        listed.append(
            Answer(
                question=goal.questions[place_of(item)],
                answered=bool(finding.data["answered"]),
                answer=finding.claim,
                run=runs.get(place_of(asked), ""),
                verdict="unreviewed" if verdict is None else str(verdict.data["verdict"]),
                evidence=finding.evidence[:3],
                reasons=[]
                if verdict is None or verdict.data["verdict"] == "accepted"
                else _disputed(finding, verdict).reasons,
            )
        )
    answered = sum(one.answered for one in listed)
    passed = sum(one.answered and one.verdict == "accepted" for one in listed)
    return _bounded(
        Output(
            kind="questions",
            deliverable=deliverable(len(goal.questions), len(given_up)),
            summary=f"{answered} of {_many(len(goal.questions), 'question')} answered, {passed} of these confirmed by the review.",
            agents=len(plan.tasks),
            revisions=plan.revision,
            answers=listed,
            given_up=given_up,
            phases=phases(plan),
        )
    )


def synthesise_map(plan: Plan, results: Sequence[Result]) -> Output:
    """Every input's result, in the order of the inputs."""
    lost = len(plan.given_up)
    succeeded = sum(one.outcome == "succeeded" for one in results)
    return _bounded(
        Output(
            kind="map",
            deliverable=deliverable(len(results), lost),
            summary=f"{succeeded} of {_many(len(results), 'input')} done.",
            agents=len(plan.tasks),
            revisions=plan.revision,
            results=list(results),
            given_up=plan.given_up,
            phases=phases(plan),
        )
    )


def deliverable(items: int, lost: int) -> Literal["full", "partial", "empty"]:
    """Full where nothing was lost, empty where all was."""
    return "full" if not lost else "empty" if lost >= items else "partial"


def phases(plan: Plan) -> list[PhaseReport]:
    """How many agents worked, by phase and role."""
    counted: dict[tuple[str, str], list[int]] = {}
    for task in plan.tasks:
        numbers = counted.setdefault((task.phase, task.role), [0, 0])
        numbers[0] += 1
        numbers[1] += task.status != "done"
    return [
        PhaseReport(phase=phase, role=role, agents=agents, failed=failed)  # type: ignore[arg-type]
        for (phase, role), (agents, failed) in counted.items()
    ]


def _bounded(output: Output, **files: str | None) -> Output:
    """The output within what a run may deliver: the worst claims, the rest in the report's files."""
    return msgspec.structs.replace(
        output,
        claims=output.claims[:CLAIMS_MAX],
        disputed=output.disputed[:100],
        given_up=output.given_up[:500],
        **files,
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
