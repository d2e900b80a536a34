"""Finding the passages for a part of a question: by words and by meaning, and both scores made one."""

import heapq
from collections.abc import Awaitable, Callable

import msgspec

from agora_knowledge_base.corpus import Corpus
from agora_knowledge_base.passages import Passage
from agora_knowledge_base.questions import Wanted

POOL = 60
"""How many passages each way of searching proposes."""

WEIGHT_OF_MEANING = 0.5
"""Measured on the tuning questions; see evals/README.md."""

type Nearest = Callable[[str, int], Awaitable[dict[int, float]]]
"""Given a query and how many, the rows of the nearest passages with their cosine."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that may hold the answer. `words` and `meaning` are its two scores, `score` is both, 0 to 1."""

    passage: Passage
    words: float
    meaning: float
    score: float


async def find(
    corpus: Corpus,
    query: str,
    wanted: Wanted,
    nearest: Nearest,
    *,
    limit: int,
    allowed: set[int] | None = None,
) -> list[Candidate]:
    """The best passages for a query, best first; only of the `allowed` rows, if given."""
    if allowed is not None and not allowed:
        return []
    by_words = _best_by_words(corpus, wanted, allowed)
    by_meaning = {
        row: score for row, score in (await nearest(query, POOL)).items() if allowed is None or row in allowed
    }
    # What the other search did not propose is at most as near as the last that it did.
    floor = min(by_meaning.values(), default=0.0)
    candidates = []
    for row in {**by_words, **by_meaning}:
        words, meaning = by_words.get(row, 0.0), by_meaning.get(row, floor)
        candidates.append((_fused(words, meaning), row, words, meaning))
    best = heapq.nsmallest(limit, candidates, key=lambda found: (-found[0], found[1]))
    return [
        Candidate(passage=corpus.passages[row], words=words, meaning=meaning, score=score)
        for score, row, words, meaning in best
    ]


def _best_by_words(corpus: Corpus, wanted: Wanted, allowed: set[int] | None) -> dict[int, float]:
    import numpy as np

    scores = corpus.lexical.scores(wanted.terms)
    if allowed is not None:
        mask = np.zeros(len(scores), dtype=bool)
        mask[list(allowed)] = True
        scores = np.where(mask, scores, 0)
    count = min(POOL, len(scores))
    if not count:
        return {}
    rows = np.argpartition(-scores, count - 1)[:count]
    return {int(row): float(scores[row]) for row in rows if scores[row] > 0}


def _fused(words: float, meaning: float) -> float:
    meaning = min(max(meaning, 0.0), 1.0)
    return (1 - WEIGHT_OF_MEANING) * min(words, 1.0) + WEIGHT_OF_MEANING * meaning
