"""Joining what stands: accepted findings become claims, each with the run that found it, who confirmed it, and the
evidence; statements of the synthesis name the claims that they rest on. Nothing is said that no claim says."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import agora
import msgspec
from agora.blackboard import Finding, Posted, Severity, by_id

from agora_swarm.fitting import cut, fitting, size_of
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
STATEMENT_CLAIMS_MAX = 50
CLAIMS_BYTES_MAX, LISTED_BYTES_MAX, ANSWERS_BYTES_MAX = 200_000, 70_000, 300_000
"""Together, and with the statements, within the 512 KiB that a run may deliver."""
UNREVIEWED = "too few reviewers have seen what was found"
REVIEWERS = 3
"""How many vote on a finding, each through a lens of its own."""


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
    claims, disputed = judged(findings, verdicts, remedies, assessed, agree=given.agree)
    unreviewed = {one.id for one in disputed if one.verdict == "unreviewed"}
    without_votes = [str(one.finding.data["item"]) for one in findings if one.finding.id in unreviewed]
    given_up = with_unreviewed(plan, without_votes, names_of(given.goal))
    items = item_ids(given.goal)
    lost = len({one.item for one in given_up})
    counts = Counter(claim.severity for claim in claims)
    statements = statements_of(claims, given_up)
    full = Output(
        kind="audit",
        deliverable=deliverable(len(items), lost, some=bool(claims)),
        summary=_audit_summary(len(items), given_up, claims, disputed),
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
    *,
    agree: int = 2,
) -> tuple[list[Claim], list[Disputed]]:
    """Claims, the worst first, and what the reviewers disagree on or reject, or what too few of them have seen."""
    verdict_of = verdicts_by_finding(verdicts, agree)
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


def verdicts_by_finding(verdicts: Sequence[Posted], agree: int) -> dict[str, Finding]:
    """The verdicts by what they are on, but for those that votes which are missing could still have turned."""
    found = {}
    for one in verdicts:
        data = one.finding.data
        if "verdict" not in data:
            continue
        confirmed, rejected = list(data.get("confirmed_by", [])), list(data.get("rejected_by", []))
        missing = REVIEWERS - len(confirmed) - len(rejected)
        open_still = len(confirmed) < agree <= len(confirmed) + missing and "evidence" not in rejected
        if not open_still:
            found[str(data.get("finding"))] = one.finding
    return found


def named(given_up: Sequence[GivenUp], names: Mapping[str, str]) -> list[GivenUp]:
    """What is given up with the names that people know it by, which a plan does not repeat."""
    return [msgspec.structs.replace(one, name=names[one.item]) for one in given_up]


def with_unreviewed(plan: Plan, items: Sequence[str], names: Mapping[str, str]) -> list[GivenUp]:
    """What is given up, with the items whose findings or answers too few reviewers have seen."""
    given_up = named(plan.given_up, names)
    known = {one.item for one in given_up}
    lost = [task for task in plan.tasks if task.phase == "review" and task.status == "given_up"]
    for item in dict.fromkeys(items):
        if item not in known:
            because = next((task.why for task in lost if item in task.items or not task.items), "")
            reason = f"{UNREVIEWED}: {because}" if because else UNREVIEWED
            given_up.append(GivenUp(item=item, name=names[item], reason=reason[:500], code="unreviewed"))
    return given_up


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
                claims=[claim.id for claim in broken[:STATEMENT_CLAIMS_MAX]],
                claims_in_all=len(broken),
            )
        )
    if given_up:
        found.append(
            Statement(
                text=f"{_many(len(given_up), 'item')} could not be worked on; given_up says why.", claims=[]
            )
        )
    return found


def _audit_summary(
    files: int, given_up: Sequence[GivenUp], claims: Sequence[Claim], disputed: Sequence[Disputed]
) -> str:
    lost = len({one.item for one in given_up})
    unreviewed = sum(one.code == "unreviewed" for one in given_up)
    worst = Counter(claim.severity for claim in claims)
    listed = ", ".join(f"{worst[severity]} {severity}" for severity in SEVERITIES if worst[severity])
    sentences = [
        f"{files - lost} of {_many(files, 'file')} audited: {_many(len(claims), 'claim')}{f' ({listed})' if listed else ''}."
    ]
    if disputed:
        sentences.append(f"{_many(len(disputed), 'finding')} did not pass the review.")
    if unreviewed:
        sentences.append(f"What was found in {_many(unreviewed, 'file')} was not reviewed to the end.")
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
    verdict_of = verdicts_by_finding(verdicts, given.agree)
    same = same_questions(goal)
    runs = {one.index: one.run for one in results}
    listed = []
    lost = {one.item: one for one in plan.given_up}
    names = names_of(goal)
    without_votes = [item for item, one in found.items() if one.id not in verdict_of]
    given_up = with_unreviewed(plan, without_votes, names)
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
            deliverable=deliverable(len(goal.questions), len(given_up), some=bool(listed)),
            summary=f"{answered} of {_many(len(goal.questions), 'question')} answered, {passed} of these confirmed by the review.",
            agents=len(plan.tasks),
            revisions=plan.revision,
            answers=listed,
            given_up=given_up,
            phases=phases(plan),
        )
    )


def synthesise_map(given: Input, plan: Plan, results: Sequence[Result]) -> Output:
    """Every input's result, in the order of the inputs."""
    lost = {one.item: one.code for one in plan.given_up}
    whole = len(results) - len(lost)
    partial = "partial" in lost.values()
    return _bounded(
        Output(
            kind="map",
            deliverable=deliverable(len(results), len(lost), some=partial),
            summary=f"{whole} of {_many(len(results), 'input')} done.",
            agents=len(plan.tasks),
            revisions=plan.revision,
            results=list(results),
            given_up=named(plan.given_up, names_of(given.goal)),
            phases=phases(plan),
        )
    )


def deliverable(items: int, lost: int, *, some: bool = False) -> Literal["full", "partial", "empty"]:
    """Full where nothing was lost; empty where all was, and not even `some` of it is there."""
    return "full" if not lost else "empty" if lost >= items and not some else "partial"


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
    """The output within what a run may deliver: the worst claims, the rest in the report's files; how many in all."""
    return msgspec.structs.replace(
        output,
        claims=fitting(output.claims[:CLAIMS_MAX], CLAIMS_BYTES_MAX),
        disputed=fitting(output.disputed[:100], LISTED_BYTES_MAX),
        disputed_in_all=len(output.disputed),
        # Only an audit has files that list them all.
        given_up=fitting(output.given_up[:500], LISTED_BYTES_MAX * (1 if output.kind == "audit" else 2)),
        given_up_in_all=len(output.given_up),
        answers=_answers_that_fit(output.answers),
        **files,
    )


def _answers_that_fit(answers: list[Answer]) -> list[Answer]:
    """The answers, with as much of each text as all of them leave room for: their runs have the whole."""
    found = answers
    for bytes_max in (2_000, 1_000, 500, 250, 120):
        if size_of(found) <= ANSWERS_BYTES_MAX:
            break
        found = [
            msgspec.structs.replace(
                one,
                question=cut(one.question, bytes_max),
                answer=cut(one.answer, bytes_max),
                evidence=[
                    msgspec.structs.replace(each, quote=cut(each.quote, bytes_max // 4))
                    for each in one.evidence[:2]
                ],
                reasons=[cut(reason, bytes_max // 4) for reason in one.reasons[:3]],
            )
            for one in answers
        ]
    return found


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
