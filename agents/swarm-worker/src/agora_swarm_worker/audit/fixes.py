"""Remedies that are one change of one line, tried on a copy: a fix counts only if the finding is gone and none is new."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agora.blackboard import Finding

from agora_swarm_worker.audit.documents import Document
from agora_swarm_worker.audit.reading import read_bytes
from agora_swarm_worker.audit.rules import apply

type Change = Callable[[str], str]

LINE_MAX = 2_000
"""A longer line needs a person."""

_FLIPS = {
    "true": "false", "false": "true", "on": "off", "off": "on", "yes": "no", "no": "yes", "1": "0", "0": "1",
    "enabled": "disabled", "disabled": "enabled",
}  # fmt: skip
_SWITCH = re.compile(
    r"\b(true|false|on|off|yes|no|enabled|disabled)\b(?!.*\b(?:true|false|on|off|yes|no|enabled|disabled)\b)",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"(?<=[=: \"'])([01])(?=[\"';,]?\s*$)")


def _flip(line: str) -> str:
    changed = _SWITCH.sub(lambda found: _like(found[0], _FLIPS[found[0].lower()]), line, count=1)
    return changed if changed != line else _DIGIT.sub(lambda found: _FLIPS[found[0]], line, count=1)


def _like(old: str, new: str) -> str:
    return new.upper() if old.isupper() else new.capitalize() if old[:1].isupper() else new


def _replace(form: str, by: str) -> Change:
    compiled = re.compile(form)
    return lambda line: compiled.sub(by, line, count=1)


FIXES: dict[str, Change] = {
    "K8S001": _flip,
    "K8S002": _flip,
    "K8S003": _flip,
    "CMP001": _flip,
    "DBG001": _flip,
    "AUT001": _flip,
    "NET001": _replace(r"0\.0\.0\.0|\[?::\]?(?=[\"'\s,:]|$)", "127.0.0.1"),
    "NET002": lambda line: (
        _replace(r"(?<=sslmode=)(disable|allow)", "require")(line) if "sslmode=" in line else _flip(line)
    ),
    "CMP005": _replace(r"(?<=[\"'\s])(?:0\.0\.0\.0:)?(?=\d+:\d+)", "127.0.0.1:"),
    "DOC003": _replace(r"^(\s*)ADD\b", r"\1COPY"),
    "NGX001": _replace(r"ssl_protocols[^;]*;", "ssl_protocols TLSv1.2 TLSv1.3;"),
    "NGX002": _flip,
    "NGX003": _flip,
    "NGX004": _replace(r"(listen\s+[^;]*443)", r"\1 ssl"),
    "NGX007": _flip,
}
"""Changes that a rule's remedy comes down to; a rule that is not here needs a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What came of trying remedies on one file: the findings that are gone by them, and the change as a diff."""

    solved: list[str]
    diff: str


def try_fixes(document: Document, findings: Sequence[Finding]) -> Fixed:
    """Apply every remedy that is a change of one line, one after the other, each kept only if it works."""
    lines = list(document.lines)
    solved: list[str] = []
    known = _keys(document)
    for finding in findings:
        change = FIXES.get(finding.rule)
        number = finding.data.get("line")
        if change is None or not isinstance(number, int) or not 1 <= number <= len(lines):
            continue
        if len(lines[number - 1]) > LINE_MAX:
            continue
        tried = [*lines]
        tried[number - 1] = change(lines[number - 1])
        if tried == lines:
            continue
        after = read_bytes("\n".join([*tried, ""]).encode(), document.name)
        keys = _keys(after)
        if (finding.rule, number) not in keys and keys <= known:
            lines, known = tried, keys
            solved.append(finding.id)
    diff = difflib.unified_diff(
        document.lines, lines, f"a/{document.name}", f"b/{document.name}", lineterm="", n=1
    )
    return Fixed(solved=solved, diff="\n".join(diff))


def _keys(document: Document) -> set[tuple[str, int]]:
    return {(match.rule, match.line) for match in apply(document)}
