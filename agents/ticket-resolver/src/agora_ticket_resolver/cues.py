"""What a ticket's wording gives away: outage, security, deadline, a call for a person, thanks."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import resources

import msgspec

from agora_ticket_resolver.texts import folded, sentences

CHARACTERS_MAX = 6_000
NEGATION_WINDOW = 28
"""How many characters before a cue are searched for a negation."""

PHRASINGS_MAX = 3
PHRASING_SHARE = 0.35
"""How much a second and third phrasing of the same cue adds to its weight."""

_NEGATED = re.compile(
    r"\b(?:not|no|never|isn.?t|wasn.?t|without|nicht|kein\w*|pas|sans|aucun\w*|non|senza|sin|nunca|nao|sem)\s+(?:\w+\s+){0,2}$"
)


class Cue(msgspec.Struct, frozen=True, kw_only=True):
    """A family of phrasings. `cancels` names cues that do not count where this one occurs."""

    name: str
    weight: float
    patterns: list[str]
    cancels: list[str] = []


class FoundCue(msgspec.Struct, frozen=True, kw_only=True):
    """A cue and the words of the ticket, folded, that show it.

    `weight` is the cue's, raised where several different phrasings show it.
    """

    name: str
    weight: float
    evidence: str


class _File(msgspec.Struct, frozen=True, kw_only=True):
    cue: list[Cue]


def find(text: str) -> list[FoundCue]:
    """The cues of a text, each once, in the order of the file; negated and cancelled ones left out."""
    plain = folded(text[:CHARACTERS_MAX])
    found = {cue.name: hit for cue, pattern in _compiled() if (hit := _first(cue, pattern, plain))}
    cancelled = {name for cue, _ in _compiled() if cue.name in found for name in cue.cancels}
    return [hit for name, hit in found.items() if name not in cancelled]


def asks_the_machine(sentence: str) -> bool:
    """Whether a sentence gives orders to the software that reads it, instead of saying what is wrong."""
    plain = folded(sentence)
    return any(cue.name == "instructions" and pattern.search(plain) for cue, pattern in _compiled())


def without_orders(text: str) -> tuple[str, bool]:
    """The text without sentences that give orders to the reading software, and whether there were any."""
    if not asks_the_machine(text[:CHARACTERS_MAX]):
        return text, False
    kept = [sentence for sentence in sentences(text) if not asks_the_machine(sentence)]
    return "\n".join(kept), True


def _first(cue: Cue, pattern: re.Pattern[str], plain: str) -> FoundCue | None:
    shown: list[str] = []
    for hit in pattern.finditer(plain):
        before = plain[max(0, hit.start() - NEGATION_WINDOW) : hit.start()]
        # What is said not to be the case; a cue that is itself about a negation keeps it inside.
        if cue.weight > 0 and cue.name not in ("human", "blocked", "repeated") and _NEGATED.search(before):
            continue
        if hit.group() not in shown:
            shown.append(hit.group())
        if len(shown) == PHRASINGS_MAX:
            break
    if not shown:
        return None
    raised = 1 + PHRASING_SHARE * (len(shown) - 1) if cue.weight > 0 else 1.0
    return FoundCue(name=cue.name, weight=round(cue.weight * raised, 3), evidence=shown[0][:80])


@cache
def _compiled() -> list[tuple[Cue, re.Pattern[str]]]:
    raw = resources.files(__package__).joinpath("data/cues.toml").read_bytes()
    read = msgspec.convert(tomllib.loads(raw.decode()), _File)
    return [(cue, re.compile("|".join(_patterns(cue)))) for cue in read.cue]


def _patterns(cue: Cue) -> Iterator[str]:
    for pattern in cue.patterns:
        yield f"(?:{pattern})"
