"""BM25 over passages, with what else the words tell: how rare each is, and which exist at all."""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agora_knowledge_base import terms
from agora_knowledge_base.terms import Language

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    type Scores = NDArray[np.float32]

WORDS_MAX = 200_000
TYPO_LENGTH_MIN = 5


class _Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """`rows` gives a term's row in BM25's index, `counts` in how many passages it stands."""

    passages: int
    rows: dict[str, int]
    counts: list[int]
    words: list[str]


class Lexical:
    """An index of terms; built once, saved to a folder, loaded with its scores mapped from disk."""

    def __init__(self, bm25: Any, vocabulary: _Vocabulary) -> None:
        self._bm25 = bm25
        self._vocabulary = vocabulary

    @classmethod
    def build(cls, texts: Iterable[str], language: Language) -> "Lexical":
        """Index one text per passage, in the passages' order."""
        bm25s = _bm25s()
        rows: dict[str, int] = {}
        counts: Counter[int] = Counter()
        words: dict[str, None] = {}
        documents: list[list[int]] = []
        for text in texts:
            document: list[int] = []
            for token in terms.tokens(text):
                if token.isalpha() and len(token) >= TYPO_LENGTH_MIN and len(words) < WORDS_MAX:
                    words[token.lower()] = None
                document.extend(rows.setdefault(term, len(rows)) for term in terms.of_token(token, language))
            counts.update(set(document))
            documents.append(document)
        if not rows:
            # BM25 needs a term and a document; a corpus without words finds nothing either way.
            rows[""] = 0
        bm25 = bm25s.BM25(method="lucene", k1=1.2, b=0.6)
        bm25.index((documents or [[0]], rows), show_progress=False)
        vocabulary = _Vocabulary(
            passages=len(documents),
            rows=rows,
            counts=[counts[row] for row in range(len(rows))],
            words=list(words),
        )
        return cls(bm25, vocabulary)

    def save(self, folder: Path) -> None:
        """Write the index into a folder, which must exist."""
        self._bm25.save(str(folder / "bm25"), show_progress=False)
        (folder / "vocabulary.msgpack").write_bytes(msgspec.msgpack.encode(self._vocabulary))

    @classmethod
    def load(cls, folder: Path) -> "Lexical":
        """Read what `save` wrote."""
        bm25 = _bm25s().BM25.load(str(folder / "bm25"), mmap=True, load_corpus=False)
        data = (folder / "vocabulary.msgpack").read_bytes()
        return cls(bm25, msgspec.msgpack.decode(data, type=_Vocabulary))

    def idf(self, term: str) -> float:
        """How rare a term is: 0 for one in every passage, and the most for one in none."""
        row = self._vocabulary.rows.get(term)
        count = 0 if row is None else self._vocabulary.counts[row]
        return math.log(1 + (self._vocabulary.passages - count + 0.5) / (count + 0.5))

    def knows(self, term: str) -> bool:
        """Whether any passage has the term."""
        return term in self._vocabulary.rows

    def scores(self, wanted: Mapping[str, float]) -> "Scores":
        """BM25 of each passage for weighted terms, from 0; one is what a passage with every term once gets."""
        import numpy as np

        total = np.zeros(self._vocabulary.passages, dtype=np.float32)
        ideal = 0.0
        for term, weight in wanted.items():
            ideal += weight * self.idf(term)
            if term in self._vocabulary.rows:
                total += weight * self._bm25.get_scores_from_ids([self._vocabulary.rows[term]])
        return total / max(ideal, 1e-9)

    def corrected(self, word: str) -> str | None:
        """The word of the passages that an unknown word was most likely meant to be."""
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        if len(word) < TYPO_LENGTH_MIN or not word.isalpha():
            return None
        most = 1 if len(word) < 8 else 2
        candidates: Sequence[str] = self._words_by_initial.get(word[0], [])
        # Typing errors at a word's first letter are rare, and without it names turn into one another.
        found = process.extractOne(word, candidates, scorer=OSA.distance, score_cutoff=most)
        return None if found is None else str(found[0])

    @cached_property
    def _words_by_initial(self) -> dict[str, list[str]]:
        grouped: dict[str, list[str]] = {}
        for word in self._vocabulary.words:
            grouped.setdefault(word[0], []).append(word)
        return grouped


def _bm25s() -> Any:
    import bm25s  # type: ignore[import-untyped]

    # It sets its own logger to write each step of its work.
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    return bm25s
