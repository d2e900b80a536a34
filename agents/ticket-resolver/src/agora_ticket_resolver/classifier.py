"""Which label a ticket has: learnt from examples, told from the labels' own words, or both; numpy alone.

Three voices are heard, each a probability for every label: a linear model over n-grams, a linear model over the
ticket's embedding, and the likeness between the ticket and what the taxonomy says of a label. Training decides
how much each of them counts, see `training`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from agora_ticket_resolver import concepts, embedding
from agora_ticket_resolver.features import Vectoriser, Vocabulary
from agora_ticket_resolver.texts import stem, words

type Floats = NDArray[np.float32]

OTHER = "other"
OWN_OTHER_MARGIN = 0.08
"""A deployment that has a label for everything else wants it used: it takes that much more."""

FOREIGN_CONFIDENCE_MAX = 0.6
_OTHER_NAMES = frozenset(
    (
        *[
            "other",
            "others",
            "unknown",
            "general",
            "misc",
            "miscellaneous",
            "none",
            "uncategorized",
            "sonstiges",
            "autre",
            "otro",
            "altro",
            "outro",
        ],
        *("general inquiry", "general enquiry", "other request", "something else", "out of scope", "oos"),
    )
)


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """A label with whatever a taxonomy says of it."""

    name: str
    description: str = ""
    keywords: list[str] = []


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """How much each voice counts, and how sharp it speaks (its temperature divides the scores)."""

    ngrams: float = 0.0
    dense: float = 0.0
    words: float = 1.0
    ngrams_temperature: float = 0.4
    dense_temperature: float = 1.0
    sharpness: float = 1.0
    """The sum is raised to this power: set so that a confidence of 0.8 is right in 8 of 10 cases."""

    doubt: float = 0.05
    """Spread over all labels: after thirty tickets that went well, the next may still go wrong."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a classifier that is no array."""

    labels: list[Label]
    weights: Weights
    model: embedding.Model
    vocabulary: Vocabulary | None = None
    nearness_min: float = -1.0
    """A ticket less like every label than this is none of them (cosine)."""


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """The label, how sure that is (0 to 1), and the probability of every label."""

    label: str
    confidence: float
    scores: dict[str, float]
    nearness: float
    """Cosine between the ticket and the nearest label's examples or words."""
    foreign: bool
    """Whether the ticket is unlike everything that the classifier knows."""


class Classifier:
    """A trained or untrained classifier in memory.

    Args:
        settings: Labels and weights.
        arrays: `phrases`, `phrase_label` and `phrase_typical` always; `ngrams`, `ngrams_bias`, `dense`, `dense_bias` and
            `centroids` where it was trained.
    """

    def __init__(self, settings: Settings, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.settings = settings
        self.arrays = dict(arrays)
        self._vectoriser = Vectoriser(settings.vocabulary) if settings.vocabulary else None
        self._keywords = [keyword_stems(label) for label in settings.labels]
        own_other = next((label.name for label in settings.labels if is_other(label.name)), None)
        self._other = own_other or OTHER
        self._margin = 0.0 if own_other is None else OWN_OTHER_MARGIN

    def classify(self, text: str, vector: Floats) -> Classified:
        """The label of a ticket, given its text and its embedding by `settings.model`."""
        weights = self.settings.weights
        total = weights.words * _log(self.by_words(text, vector))
        if weights.ngrams and self._vectoriser is not None:
            scores = self.by_ngrams(text) / weights.ngrams_temperature
            total += weights.ngrams * _log_softmax(scores)
        if weights.dense:
            total += weights.dense * _log_softmax(self.by_embedding(vector) / weights.dense_temperature)
        shares = np.exp(_log_softmax(total * weights.sharpness))
        shares = shares * (1 - weights.doubt) + weights.doubt / len(shares)
        best = int(shares.argmax())
        nearness = self.nearness(vector)
        named = self.settings.labels[best].name
        foreign = self._is_foreign(nearness, float(shares[best])) and not self._keyword_hits(text)[best]
        return Classified(
            label=self._other if foreign else named,
            confidence=round(float(shares[best]), 4),
            scores={
                label.name: round(share, 4)
                for label, share in zip(self.settings.labels, shares.tolist(), strict=True)
            },
            nearness=round(nearness, 4),
            foreign=foreign,
        )

    def _is_foreign(self, nearness: float, confidence: float) -> bool:
        return nearness < self.settings.nearness_min + self._margin and confidence < FOREIGN_CONFIDENCE_MAX

    def by_ngrams(self, text: str) -> Floats:
        """The linear model's score of each label, from n-grams."""
        assert self._vectoriser is not None, "only a trained classifier has a vocabulary"
        columns, values = self._vectoriser.vector(text)
        scores: Floats = self.arrays["ngrams"][:, columns] @ values + self.arrays["ngrams_bias"]
        return scores

    def by_embedding(self, vector: Floats) -> Floats:
        """The linear model's score of each label, from the embedding."""
        scores: Floats = self.arrays["dense"] @ vector + self.arrays["dense_bias"]
        return scores

    def by_words(self, text: str, vector: Floats) -> Floats:
        """Each label's probability from what is said of it: likeness of meaning, and keywords that occur."""
        return label_shares(
            self.arrays["phrases"] @ vector,
            self.arrays["phrase_label"],
            self.arrays["phrase_typical"],
            self._keyword_hits(text),
            [is_other(label.name) for label in self.settings.labels],
        )

    def nearness(self, vector: Floats) -> float:
        """Cosine to the nearest centroid of a label's examples or phrase of a label."""
        likeness = float((self.arrays["phrases"] @ vector).max())
        if "centroids" in self.arrays:
            likeness = max(likeness, float((self.arrays["centroids"] @ vector).max()))
        return likeness

    def _keyword_hits(self, text: str) -> list[float]:
        return keyword_hits(self._keywords, text)

    def save(self, folder: Path) -> None:
        """Write settings as JSON and arrays as npz."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "settings.json").write_bytes(msgspec.json.encode(self.settings))
        np.savez(folder / "arrays.npz", **self.arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Read what `save` wrote."""
        settings = msgspec.json.decode((folder / "settings.json").read_bytes(), type=Settings)
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            return cls(settings, {name: arrays[name] for name in arrays.files})


def phrases_of(label: Label) -> list[str]:
    """What is said of a label, in pieces that are each compared with a ticket."""
    name = readable(label.name)
    phrases = [f"{name}: {label.description}" if label.description else name]
    if label.description:
        phrases.append(label.description)
    if label.keywords:
        phrases.append(f"{name}: {', '.join(label.keywords[:20])}")
    return phrases


def readable(name: str) -> str:
    """A label's name as words: `refundRequest` and `refund_request` are "refund request"."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.sub(r"[\s_\-/&:.]+", " ", spaced).strip().lower()


def is_other(name: str) -> bool:
    """Whether a label stands for "none of these"."""
    return readable(name) in _OTHER_NAMES


# Set on evals/*/tune.jsonl, with the categories' names and descriptions alone.
LIKENESS_SHARPNESS = 24.0
KEYWORD_WEIGHT = 2.0
OTHER_PENALTY = 1.5
TYPICAL_SHARE = 0.6


def label_shares(
    likeness: Floats,
    phrase_label: NDArray[np.int64],
    typical: NDArray[np.bool_],
    hits: Sequence[float],
    other: Sequence[bool],
) -> Floats:
    """Probabilities of labels, from what is said of them.

    Args:
        likeness: The cosine of the ticket and each phrase.
        phrase_label: The number of each phrase's label.
        typical: Which phrases are sentences typical of a label, rather than its own words.
        hits: How many keywords of each label occur, see `keyword_hits`.
        other: Which labels stand for "none of these".
    """
    scores = np.zeros(len(hits), dtype=np.float32)
    for number in range(len(hits)):
        own = phrase_label == number
        scores[number] = _middle(likeness[own & ~typical])
        if (own & typical).any():
            sentences = _middle(likeness[own & typical])
            scores[number] += TYPICAL_SHARE * (sentences - scores[number])
    scores = scores * LIKENESS_SHARPNESS + np.array(hits, dtype=np.float32) * KEYWORD_WEIGHT
    # "Other" is like everything a little; what it says of itself is no evidence.
    scores -= np.array(other, dtype=np.float32) * OTHER_PENALTY
    shares: Floats = np.exp(_log_softmax(scores))
    return shares


def _middle(values: Floats) -> float:
    """Half the best, half the mean: one phrase that fits counts, and so does a label that fits on the whole."""
    return 0.5 * float(values.max()) + 0.5 * float(values.mean())


type Keywords = tuple[tuple[frozenset[str], float], ...]
"""Keywords as stems that must all occur, each with its weight."""

NAME_WEIGHT = 0.25
"""A label's name in a ticket says little: most tickets to a maker of invoicing software hold the word invoice."""


def keyword_stems(label: Label) -> Keywords:
    """A label's keywords: its own list, what is usual for its name, and the name itself."""
    name = readable(label.name)
    listed = [(keyword, 1.0) for keyword in (*label.keywords, *concepts.keywords_for(name))]
    stems = [
        (frozenset(stem(word) for word in words(keyword) if word not in _EMPTY), weight)
        for keyword, weight in (*listed, (name, NAME_WEIGHT))
    ]
    heaviest: dict[frozenset[str], float] = {}
    for item, weight in stems:
        if item:
            heaviest[item] = max(weight, heaviest.get(item, 0.0))
    return tuple(heaviest.items())


def keyword_hits(keywords: Sequence[Keywords], text: str) -> list[float]:
    """How many keywords of each label occur, by weight, with less and less for each further one."""
    present = {stem(word) for word in words(text[:6_000])}
    totals = (sum(weight for item, weight in listed if item <= present) for listed in keywords)
    return [math.log1p(total) / math.log(2) for total in totals]


_EMPTY = frozenset(
    [
        "and",
        "or",
        "the",
        "a",
        "an",
        "of",
        "for",
        "to",
        "in",
        "on",
        "with",
        "about",
        "my",
        "your",
        "und",
        "oder",
        "et",
        "ou",
        "y",
        "o",
        "e",
        "de",
        "la",
        "le",
    ]
)


def _log(shares: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(shares, 1e-6))
    return logs


def _log_softmax(scores: Floats) -> Floats:
    shifted = scores - scores.max()
    logs: Floats = shifted - np.log(np.exp(shifted).sum())
    return logs
