"""Word and character n-grams with TF-IDF weights: what a linear model can learn from a few hundred tickets.

Our own forty lines instead of a vectoriser from a library, because the artifact is kept as JSON and arrays and
never as a pickle, and a worker that classifies must not need the training library.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from agora_ticket_resolver.texts import words

CHARACTERS_MAX = 3_000
FEATURES_MAX = 60_000
_NUMBER = re.compile(r"\d+")


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """The n-grams of a training set, in order of their columns, each with its inverse document frequency."""

    terms: list[str]
    idf: list[float]


def ngrams(text: str) -> Iterator[str]:
    """Words, pairs of words, and character n-grams of 3 to 5 within words; numbers count by their length."""
    plain = [
        _NUMBER.sub(lambda found: "0" * min(len(found[0]), 6), word) for word in words(text[:CHARACTERS_MAX])
    ]
    yield from plain
    for first, second in pairwise(plain):
        yield f"{first} {second}"
    for word in plain:
        padded = f"<{word}>"
        for size in (3, 4, 5):
            for start in range(len(padded) - size + 1):
                # The tilde keeps them apart from words.
                yield "~" + padded[start : start + size]


def learn(texts: Sequence[str]) -> Vocabulary:
    """The vocabulary of a training set: n-grams of at least two texts where there are many texts."""
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(set(ngrams(text)))
    least = 1 if len(texts) < 60 else 2
    kept = [(term, count) for term, count in seen.items() if count >= least]
    # By frequency, then by name: the same examples in another order give the same columns.
    kept.sort(key=lambda item: (-item[1], item[0]))
    kept = kept[:FEATURES_MAX]
    total = len(texts)
    return Vocabulary(
        terms=[term for term, _ in kept],
        idf=[round(math.log((1 + total) / (1 + count)) + 1, 5) for _, count in kept],
    )


class Vectoriser:
    """Turns texts into sparse unit vectors over a vocabulary; words and characters weigh the same in sum."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._column = {term: number for number, term in enumerate(vocabulary.terms)}
        self._idf = np.array(vocabulary.idf, dtype=np.float32)
        self._is_characters = np.array([term.startswith("~") for term in vocabulary.terms], dtype=bool)

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self._column)

    def vector(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Columns and their values."""
        counts = Counter(column for term in ngrams(text) if (column := self._column.get(term)) is not None)
        columns = np.fromiter(sorted(counts), dtype=np.int64, count=len(counts))
        if not len(columns):
            return columns, np.zeros(0, dtype=np.float32)
        values = np.array([1 + math.log(counts[column]) for column in columns.tolist()], dtype=np.float32)
        values *= self._idf[columns]
        characters = self._is_characters[columns]
        for part in (characters, ~characters):
            length = float(np.linalg.norm(values[part]))
            if length:
                values[part] /= length * math.sqrt(2)
        return columns, values
