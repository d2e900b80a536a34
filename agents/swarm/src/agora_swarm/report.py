"""The report's files: Markdown for people, SARIF for tools, and a diff for who applies the remedies."""

from collections.abc import Sequence
from typing import Any

import msgspec
from agora.blackboard import Posted

from agora_swarm.types import Claim, Output

_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}


def markdown(output: Output) -> str:
    """The whole audit, claim by claim with its evidence."""
    lines = ["# Audit", "", output.summary, ""]
    if output.statements:
        lines += ["## What stands out", "", *(f"- {one.text}" for one in output.statements), ""]
    lines += ["## Claims", ""]
    for claim in output.claims:
        lines.append(f"### {claim.rule} in {_plain(claim.about)} ({claim.severity})")
        lines += ["", _plain(claim.statement), "", f"- Claim: `{_code(claim.id)}`"]
        for evidence in claim.evidence:
            lines.append(f"- {_plain(evidence.source)}, {evidence.place}: `{_code(evidence.quote)}`")
        lines.append(
            f"- Remedy: {claim.remedy}{' It was tried on a copy and works.' if claim.remedy_works else ''}"
        )
        if claim.also_in:
            lines.append(f"- The same bytes: {_plain(', '.join(claim.also_in))}")
        lines += [
            f"- Found by {claim.found_by or 'an engineer'}, confirmed by: {', '.join(claim.confirmed_by)}",
            "",
        ]
    if output.disputed:
        lines += ["## Did not pass the review", ""]
        lines += [
            f"- {one.id}: {_plain(one.statement)} ({one.verdict}: {_plain('; '.join(one.reasons))})"
            for one in output.disputed
        ]
        lines.append("")
    if output.given_up:
        lines += [
            "## Given up",
            "",
            *(f"- {_plain(one.name)}: {_plain(one.reason)}" for one in output.given_up),
            "",
        ]
    return "\n".join(lines)


def sarif(claims: Sequence[Claim]) -> bytes:
    """The claims as SARIF 2.1.0, which code hosts and editors show at their lines."""
    rules = {
        claim.rule: {
            "id": claim.rule,
            "shortDescription": {"text": claim.statement.partition(":")[0]},
            "help": {"text": claim.remedy},
        }
        for claim in claims
    }
    results: list[dict[str, Any]] = [
        {
            "ruleId": claim.rule,
            "level": _LEVELS[claim.severity],
            "message": {"text": claim.statement},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": claim.about},
                        "region": {"startLine": _line(claim)},
                    }
                }
            ],
            "partialFingerprints": {"agoraClaim/v1": claim.id},
            "properties": {
                "claim": claim.id,
                "severity": claim.severity,
                "foundBy": claim.found_by,
                "confirmedBy": claim.confirmed_by,
            },
        }
        for claim in claims
    ]
    return msgspec.json.encode(
        {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [
                {
                    "tool": {
                        "driver": {"name": "agora-swarm", "rules": [rules[rule] for rule in sorted(rules)]}
                    },
                    "results": results,
                }
            ],
        }
    )


def diffs(remedies: Sequence[Posted]) -> bytes:
    """All remedies that work, as one diff."""
    pieces = sorted((one.finding.about, str(one.finding.data.get("diff", ""))) for one in remedies)
    return "".join(f"{diff}\n" for _, diff in pieces).encode()


def _line(claim: Claim) -> int:
    words = claim.evidence[0].place.split() if claim.evidence else []
    return max(int(words[1]), 1) if len(words) == 2 and words[1].isdigit() else 1


def _plain(text: str) -> str:
    """Text of a file or a name as it may stand in Markdown: on one line, no markup of its own."""
    return " ".join(text.split()).replace("<", "&lt;").replace("[", "\\[").replace("`", "'")


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")
