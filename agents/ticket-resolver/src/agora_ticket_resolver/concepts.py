"""What customers usually write under categories of common names, for categories that nobody has described."""

import tomllib
from functools import cache
from importlib import resources

import msgspec

from agora_ticket_resolver.texts import stem, words

SENTENCES_MAX = 12


class Concept(msgspec.Struct, frozen=True, kw_only=True):
    """A common subject of tickets: the names it goes by, and sentences in which it comes up."""

    names: list[str]
    sentences: list[str]


class _File(msgspec.Struct, frozen=True, kw_only=True):
    concept: list[Concept]


def sentences_for(name: str) -> list[str]:
    """Sentences typical of a category, told from its name (words, not an identifier); empty if it is uncommon."""
    present = {stem(word) for word in words(name)}
    found: list[tuple[int, list[str]]] = []
    for concept, names in _stemmed():
        covered = max((len(one) for one in names if one <= present), default=0)
        if covered:
            found.append((covered, concept.sentences))
    if not found:
        return []
    # "Order change" is not also "order" in general: only those that explain the most words count.
    most = max(covered for covered, _ in found)
    kept = [sentence for covered, listed in found if covered == most for sentence in listed]
    return kept[:SENTENCES_MAX]


@cache
def _stemmed() -> list[tuple[Concept, list[frozenset[str]]]]:
    raw = resources.files(__package__).joinpath("data/concepts.toml").read_bytes()
    read = msgspec.convert(tomllib.loads(raw.decode()), _File)
    return [
        (concept, [frozenset(stem(word) for word in words(name)) for name in concept.names])
        for concept in read.concept
    ]
