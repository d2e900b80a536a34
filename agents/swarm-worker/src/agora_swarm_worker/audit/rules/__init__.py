"""The rules of the audit: one list of them all, and what is found by applying them to a document."""

from collections.abc import Callable, Iterator

from agora_swarm_worker.audit.documents import Document
from agora_swarm_worker.audit.rules import containers, dockerfile, files, general, kubernetes, nginx, secrets
from agora_swarm_worker.audit.rules.rule import Match, Rule

type Check = Callable[[Document], Iterator[Match]]

_MODULES = (files, secrets, general, kubernetes, containers, dockerfile, nginx)

RULES: dict[str, Rule] = {rule.id: rule for module in _MODULES for rule in module.RULES}
"""Every rule, by its id."""

MATCHES_MAX = 500
"""A file with more is reported with its first ones: it needs another remedy than a list."""


def apply(document: Document) -> list[Match]:
    """What the rules find in a document, by line; each once."""
    found: dict[tuple[str, int, str], Match] = {}
    for module in _MODULES:
        for match in module.check(document):
            found.setdefault((match.rule, match.line, match.path), match)
    # A secret of a known form says more than that its name sounds like one.
    known = {(match.line) for match in found.values() if match.rule == "SEC002"}
    kept = [
        match for match in found.values() if not (match.rule in ("SEC001", "SEC003") and match.line in known)
    ]
    return sorted(kept, key=lambda match: (match.line, match.rule, match.path))[:MATCHES_MAX]
