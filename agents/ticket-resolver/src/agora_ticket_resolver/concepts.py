"""What customers usually write under categories of common names, for categories that nobody has described."""

import tomllib
from functools import cache
from importlib import resources

import msgspec

from agora_ticket_resolver.texts import stem, words

SENTENCES_MAX = 12


class Concept(msgspec.Struct, frozen=True, kw_only=True):
    """A common subject of tickets: the names it goes by, words that give it away, and typical sentences."""

    names: list[str]
    sentences: list[str]
    keywords: list[str] = []


class _File(msgspec.Struct, frozen=True, kw_only=True):
    concept: list[Concept]


def sentences_for(name: str) -> list[str]:
    """Sentences typical of a category, told from its name (words, not an identifier); empty if it is uncommon."""
    return [sentence for concept in _matching(name) for sentence in concept.sentences][:SENTENCES_MAX]


def keywords_for(name: str) -> list[str]:
    """Words that give a category of this name away."""
    return [keyword for concept in _matching(name) for keyword in concept.keywords]


def _matching(name: str) -> list[Concept]:
    present = {stem(word) for word in words(name)}
    found = [
        (max((len(one) for one in names if one <= present), default=0), concept)
        for concept, names in _stemmed()
    ]
    # "Order change" is not also "order" in general: only those that explain the most words count.
    most = max(covered for covered, _ in found)
    return [concept for covered, concept in found if covered == most] if most else []


@cache
def _stemmed() -> list[tuple[Concept, list[frozenset[str]]]]:
    raw = resources.files(__package__).joinpath("data/concepts.toml").read_bytes()
    read = msgspec.convert(tomllib.loads(raw.decode()), _File)
    return [
        (concept, [frozenset(stem(word) for word in words(name)) for name in concept.names])
        for concept in read.concept
    ]
