"""Finding the passage that answers a ticket: by words (BM25) and by meaning, in any language."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from agora_ticket_resolver import embedding
from agora_ticket_resolver.articles import Passage
from agora_ticket_resolver.classifier import Floats
from agora_ticket_resolver.evidence import Evidence, content_words

EMBEDDED_CHARACTERS = 450
"""Of each passage: its start says what it is about, and the rest costs time."""


class Index:
    """Passages of a knowledge base with their vectors and words, in memory.

    Args:
        passages: In any order; citations name their source.
        vectors: A row for each, by `model`.
        model: The embedding that made them.
    """

    def __init__(self, passages: Sequence[Passage], vectors: Floats, model: embedding.Model) -> None:
        import bm25s  # type: ignore[import-untyped]

        self.passages = list(passages)
        self.vectors = vectors
        self.model = model
        listed = [content_words(_indexed(passage)) for passage in passages]
        self._words = [frozenset(one) for one in listed]
        counts = Counter(word for one in self._words for word in one)
        self._rarity = {word: math.log(1 + len(listed) / count) for word, count in counts.items()}
        self._unseen = math.log(1 + len(listed) / 0.5)
        self._bm25: Any = bm25s.BM25()
        self._bm25.index([one or ["-"] for one in listed], show_progress=False)

    def search(self, text: str, vector: Floats, limit: int = 5) -> list[Evidence]:
        """The passages that answer best, at most two of one article, best first."""
        likeness = self.vectors @ vector
        asked = content_words(text)
        counted = self._by_words(asked)
        combined = likeness + 0.25 * counted / max(float(counted.max()), 1e-6)
        found: list[Evidence] = []
        per_source: Counter[str] = Counter()
        for row in np.argsort(-combined, kind="stable")[: limit * 6].tolist():
            passage = self.passages[row]
            if per_source[passage.source] < 2:
                per_source[passage.source] += 1
                covered = self._coverage(asked, row)
                found.append(_evidence(passage, float(likeness[row]), covered))
        found.sort(key=lambda one: -one.score)
        return found[:limit]

    def _by_words(self, asked: Sequence[str]) -> NDArray[np.float32]:
        known = [word for word in dict.fromkeys(asked) if word in self._rarity]
        if not known:
            return np.zeros(len(self.passages), dtype=np.float32)
        scores: NDArray[np.float32] = self._bm25.get_scores(known)
        return scores

    def _coverage(self, asked: Sequence[str], row: int) -> float:
        weights = {word: self._rarity.get(word, self._unseen) for word in asked}
        total = sum(weights.values())
        return sum(weight for word, weight in weights.items() if word in self._words[row]) / total if total else 0.0

    def save(self, folder: Path) -> None:
        """Write passages and vectors; the rest is made again on loading."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "passages.json").write_bytes(msgspec.json.encode(self.passages))
        (folder / "model.json").write_bytes(msgspec.json.encode(self.model))
        np.save(folder / "vectors.npy", self.vectors)

    @classmethod
    def load(cls, folder: Path) -> "Index":
        """Read what `save` wrote."""
        found = msgspec.json.decode((folder / "passages.json").read_bytes(), type=list[Passage])
        model = msgspec.json.decode((folder / "model.json").read_bytes(), type=embedding.Model)
        return cls(found, np.load(folder / "vectors.npy", allow_pickle=False), model)


def build(passages: Sequence[Passage]) -> Index:
    """Embed the passages of a knowledge base."""
    model = embedding.available()
    texts = [_indexed(passage)[:EMBEDDED_CHARACTERS] for passage in passages]
    return Index(passages, embedding.embed(model, texts), model)


def _indexed(passage: Passage) -> str:
    heading = "" if passage.heading == passage.title else f"{passage.heading}. "
    return f"{passage.title}. {heading}{passage.text}"


LIKENESS_WEIGHT = 11.0
COVERAGE_WEIGHT = 3.0
THRESHOLD = 5.2


def _evidence(passage: Passage, likeness: float, coverage: float) -> Evidence:
    strength = LIKENESS_WEIGHT * likeness + COVERAGE_WEIGHT * coverage - THRESHOLD
    return Evidence(
        passage=passage,
        score=round(1 / (1 + math.exp(-strength)), 4),
        likeness=round(likeness, 4),
        coverage=round(coverage, 4),
    )
