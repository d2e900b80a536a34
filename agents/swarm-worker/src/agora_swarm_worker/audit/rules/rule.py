"""What a rule is, and what it is to match one."""

from dataclasses import dataclass
from typing import Literal

from agora_swarm_worker.audit.documents import Entry

type Severity = Literal["critical", "high", "medium", "low", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low", "info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule: its id, how bad a match is, what it finds, and what to do about it."""

    id: str
    severity: Severity
    title: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One place that breaks a rule. `path` is the way to the value within the file."""

    rule: str
    line: int
    detail: str
    path: str = ""


def at(rule: str, entry: Entry, detail: str) -> Match:
    """A match at an entry."""
    return Match(rule=rule, line=entry.line, detail=detail, path=".".join(entry.path))
