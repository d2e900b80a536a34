"""Finding the passage that answers a ticket: by words (BM25) and by meaning, in any language."""

import logging
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

CENTRE_WEIGHT = 8
"""How many passages the general centre weighs against those of the knowledge base: its articles share a
subject, which says nothing about which of them answers."""

# Fitted by logistic regression on evals/*/tune.jsonl: tickets with the article that answers them, the same
# tickets with that article taken away, and tickets of another company.
LIKENESS_WEIGHT = 22.0
COVERAGE_WEIGHT = 4.0
SAME_LANGUAGE = -1.5
BIAS = -5.8


class Index:
    """Passages of a knowledge base with their vectors and words, in memory.

    Args:
        passages: In any order; citations name their source.
        vectors: A row for each, by `model`.
        model: The embedding that made them.
    """

    def __init__(self, passages: Sequence[Passage], vectors: Floats, model: embedding.Model) -> None:
        import bm25s  # type: ignore[import-untyped]

        # It sets itself to DEBUG when it is imported.
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        self.passages = list(passages)
        self.vectors = vectors
        self.model = model
        listed = [content_words(_indexed(passage)) for passage in passages]
        counts = Counter(word for one in listed for word in set(one))
        self._words: dict[str, set[str]] = {}
        for passage, one in zip(passages, listed, strict=True):
            self._words.setdefault(passage.source, set()).update(one)
        self._rarity = {word: math.log(1 + len(listed) / count) for word, count in counts.items()}
        self._unseen = sum(self._rarity.values()) / max(1, len(self._rarity))
        self._bm25: Any = bm25s.BM25()
        self._bm25.index([one or ["-"] for one in listed], show_progress=False)

    def search(self, text: str, vectors: Floats, language: str, limit: int = 5) -> list[Evidence]:
        """The passages that answer best, at most two of one article, best first.

        Args:
            text: The ticket.
            vectors: What `embedding.of_ticket` gave for it, by this index's model.
            language: Of the ticket; words are compared only with passages of the same language.
            limit: How many at most.
        """
        likeness = self.vectors @ vectors.T
        # What the whole says and what its nearest sentence says count the same.
        nearness = (likeness[:, 0] + likeness.max(axis=1)) / 2
        asked = content_words(text)
        counted = self._by_words(asked)
        first = nearness + 0.1 * counted / max(float(counted.max()), 1e-6)
        found: list[Evidence] = []
        for row in np.argsort(-first, kind="stable")[: limit * 8].tolist():
            passage = self.passages[row]
            same = passage.language == language
            covered = self._coverage(asked, row) if same else 0.0
            found.append(_evidence(passage, float(nearness[row]), covered, same_language=same))
        found.sort(key=lambda one: -one.score)
        per_source: Counter[str] = Counter()
        kept = []
        for one in found:
            per_source[one.passage.source] += 1
            if per_source[one.passage.source] <= 2:
                kept.append(one)
        return kept[:limit]

    def _by_words(self, asked: Sequence[str]) -> NDArray[np.float32]:
        known = [word for word in dict.fromkeys(asked) if word in self._rarity]
        if not known:
            return np.zeros(len(self.passages), dtype=np.float32)
        scores: NDArray[np.float32] = self._bm25.get_scores(known)
        return scores

    def _coverage(self, asked: Sequence[str], row: int) -> float:
        known = self._words[self.passages[row].source]
        weights = {word: self._rarity.get(word, self._unseen) for word in asked}
        total = sum(weights.values())
        return sum(weight for word, weight in weights.items() if word in known) / total if total else 0.0

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
    vectors = embedding.embed_raw(model, texts)
    general = embedding.centre(model)
    centre = (vectors.sum(axis=0) + CENTRE_WEIGHT * general) / (len(texts) + CENTRE_WEIGHT)
    return Index(passages, embedding.unit(vectors - centre), model)


def _indexed(passage: Passage) -> str:
    heading = "" if passage.heading == passage.title else f"{passage.heading}. "
    return f"{passage.title}. {heading}{passage.text}"


def _evidence(passage: Passage, likeness: float, coverage: float, *, same_language: bool) -> Evidence:
    strength = LIKENESS_WEIGHT * likeness + BIAS
    if same_language:
        strength += COVERAGE_WEIGHT * coverage + SAME_LANGUAGE
    return Evidence(
        passage=passage,
        score=round(1 / (1 + math.exp(-strength)), 4),
        likeness=round(likeness, 4),
        coverage=round(coverage, 4),
    )
