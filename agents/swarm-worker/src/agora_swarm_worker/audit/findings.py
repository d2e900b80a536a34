"""What an audit of a file says, as findings with evidence; and the same looked at again, for reviewers."""

import hashlib
from pathlib import Path

from agora.blackboard import Evidence, Finding

from agora_swarm_worker.audit.documents import Document
from agora_swarm_worker.audit.reading import read_file
from agora_swarm_worker.audit.rules import RULES, apply
from agora_swarm_worker.audit.rules.rule import Match
from agora_swarm_worker.audit.rules.secrets import masked, masked_value

QUOTE_MAX = 300


def audit(path: Path, item: str, source: str, name: str) -> tuple[Document, list[Finding]]:
    """Read a file and say what is wrong with it.

    Args:
        path: Where the file lies.
        item: The item's id, which makes the findings' ids unique among files.
        source: The reference that evidence names.
        name: The file's name as people know it, which helps to tell its format.
    """
    document = read_file(path, name)
    return document, [finding_of(document, match, item, source) for match in apply(document)]


def finding_of(document: Document, match: Match, item: str, source: str) -> Finding:
    """One match as a finding. Its id is the same whoever finds it."""
    rule = RULES[match.rule]
    digest = hashlib.sha256(f"{match.path}".encode()).hexdigest()[:6]
    return Finding(
        id=f"{item}:{match.rule}:{match.line}:{digest}"[:200],
        claim=f"{rule.title}: {match.detail}"[:2_000],
        about=document.name[:500],
        rule=rule.id,
        severity=rule.severity,
        remedy=rule.remedy,
        evidence=[
            Evidence(
                source=source, place=f"line {match.line}", quote=quote(document.line(match.line), match.rule)
            )
        ],
        data={"item": item, "line": match.line, "path": match.path[:300], "format": document.format},
    )


def quote(line: str, rule: str) -> str:
    """The line as evidence, with secrets masked."""
    shown = masked_value(line) if rule.startswith("SEC") else masked(line)
    return shown.strip()[:QUOTE_MAX]
