"""Faults of the file itself."""

from collections.abc import Iterator

from agora_swarm_worker.audit.documents import Document
from agora_swarm_worker.audit.rules.rule import Match, Rule

RULES = [
    Rule(
        id="CFG001", severity="high", title="The file does not parse",
        remedy="Correct the syntax where the parser stopped; nothing behind that place was looked at.",
    ),
    Rule(
        id="CFG002", severity="medium", title="A key is given twice",
        remedy="Keep one of them: the last one counts, and whoever changes the first changes nothing.",
    ),
    Rule(
        id="CFG003", severity="info", title="The file could not be looked at",
        remedy="Send a text file in UTF-8 that is not empty and at most 2 MB long.",
    ),
]  # fmt: skip

_RULE_OF = {"syntax": "CFG001", "duplicate_key": "CFG002"}


def check(document: Document) -> Iterator[Match]:
    """Each fault that reading met."""
    for fault in document.faults:
        yield Match(rule=_RULE_OF.get(fault.code, "CFG003"), line=fault.line, detail=fault.detail)
