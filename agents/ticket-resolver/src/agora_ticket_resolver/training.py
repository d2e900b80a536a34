"""Training a classifier: which voice counts how much is decided by cross-validation on the examples given."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agora_ticket_resolver import classifier, concepts, embedding, features
from agora_ticket_resolver.classifier import Classifier, Floats, Label, Settings, Weights
from agora_ticket_resolver.features import Vectoriser
from agora_ticket_resolver.labelled import LabelledTicket

CHARACTERS_EMBEDDED = 130_000
"""Of all examples together: what two cores embed in about half a minute."""

CHARACTERS_EACH = 400
CENTRE_WEIGHT = 8
"""How many labels the general centre weighs against the given ones, which all belong to one company."""

VALIDATED_MAX = 1_500
NGRAM_ROWS_MAX = 12_000
FITTED_MAX = 150_000
"""Rows times labels up to which each round of validation learns n-grams from every row."""

DENSE_STRENGTHS = (1.0, 8.0)
"""Inverse strengths of regularisation that are tried."""

DEFAULT = Weights(ngrams=0.3, dense=0.7, words=0.3)
"""Where there are too few examples to validate anything."""


@dataclass(slots=True, kw_only=True)
class _Rows:
    """Examples as numbers. `dense` holds a vector for those rows alone that are listed in `embedded`."""

    ngrams: Any
    dense: Floats
    embedded: NDArray[np.int64]
    labels: NDArray[np.int64]
    texts: list[str]


def untrained(labels: Sequence[Label]) -> Classifier:
    """A classifier that knows labels only by what is said of them."""
    model = embedding.available()
    arrays = _phrase_arrays(labels, model)
    return Classifier(Settings(labels=list(labels), weights=Weights(), model=model, nearness_min=0.2), arrays)


def train(examples: Sequence[LabelledTicket], labels: Sequence[Label]) -> Classifier:
    """Learn from examples; `labels` adds what is known of labels, also of some without examples.

    The same examples in the same order give the same classifier.

    Raises:
        ValueError: fewer than two labels have examples.
    """
    named = {label.name: label for label in labels}
    for example in examples:
        named.setdefault(example.category, Label(name=example.category))
    known = list(named.values())
    numbers = {label.name: number for number, label in enumerate(known)}
    chosen = _limited(examples)
    if len({example.category for example in chosen}) < 2:
        raise ValueError("Examples of at least two categories are needed.")
    model = embedding.available()
    vocabulary = features.learn([example.text for example in chosen])
    rows = _rows(chosen, numbers, Vectoriser(vocabulary), model)
    arrays = _phrase_arrays(known, model)
    weights, strength = _validated(rows, known, arrays)
    arrays |= _fitted(rows, len(known), strength)
    settings = Settings(
        labels=known,
        weights=weights,
        model=model,
        vocabulary=vocabulary,
        nearness_min=_nearness_min(rows, arrays),
    )
    return Classifier(settings, arrays)


def _limited(examples: Sequence[LabelledTicket]) -> list[LabelledTicket]:
    """At most `NGRAM_ROWS_MAX`, each label keeping its share but no less than 50."""
    if len(examples) <= NGRAM_ROWS_MAX:
        return list(examples)
    return [examples[row] for row in _sample([item.category for item in examples], NGRAM_ROWS_MAX, least=50)]


def _sample(labels: Sequence[str], most: int, *, least: int) -> list[int]:
    """Rows in order, about `most` of them: an equal cut of each label, though not below `least`."""
    by_label: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        by_label[label].append(row)
    share = most / len(labels)
    kept: list[int] = []
    for rows in by_label.values():
        shuffled = random.Random(len(rows)).sample(rows, len(rows))
        kept.extend(shuffled[: max(least, round(len(rows) * share))])
    return sorted(kept)


def _rows(
    examples: Sequence[LabelledTicket],
    numbers: dict[str, int],
    vectoriser: Vectoriser,
    model: embedding.Model,
) -> _Rows:
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

    texts = [example.text for example in examples]
    pairs = [vectoriser.vector(text) for text in texts]
    starts = np.cumsum([0, *(len(columns) for columns, _ in pairs)])
    ngrams = csr_matrix(
        (
            np.concatenate([values for _, values in pairs]),
            np.concatenate([columns for columns, _ in pairs]),
            starts,
        ),
        shape=(len(texts), vectoriser.width),
    )
    shortened = [text[:CHARACTERS_EACH] for text in texts]
    total = sum(map(len, shortened))
    if total > CHARACTERS_EMBEDDED:
        most = int(len(texts) * CHARACTERS_EMBEDDED / total)
        embedded = _sample([example.category for example in examples], most, least=4)
    else:
        embedded = list(range(len(texts)))
    return _Rows(
        ngrams=ngrams,
        dense=embedding.embed(model, [shortened[row] for row in embedded]),
        embedded=np.array(embedded, dtype=np.int64),
        labels=np.array([numbers[example.category] for example in examples], dtype=np.int64),
        texts=texts,
    )


def _phrase_arrays(labels: Sequence[Label], model: embedding.Model) -> dict[str, NDArray[Any]]:
    own = [(phrase, number) for number, label in enumerate(labels) for phrase in classifier.phrases_of(label)]
    typical = [
        (sentence, number)
        for number, label in enumerate(labels)
        for sentence in concepts.sentences_for(classifier.readable(label.name))
    ]
    numbers = np.array([number for _, number in own + typical], dtype=np.int64)
    vectors = embedding.embed_raw(model, [phrase for phrase, _ in own + typical])
    # Every label weighs the same in the centre, however much is said of it.
    means = np.stack([vectors[numbers == number].mean(axis=0) for number in range(len(labels))])
    centre = (means.sum(axis=0) + CENTRE_WEIGHT * embedding.centre(model)) / (len(labels) + CENTRE_WEIGHT)
    return {
        "phrases": embedding.unit(vectors - centre),
        "phrase_label": numbers,
        "phrase_typical": np.array([False] * len(own) + [True] * len(typical)),
    }


def _fitted(rows: _Rows, labels: int, strength: float) -> dict[str, NDArray[Any]]:
    ngrams, ngrams_bias = _fit_ngrams(rows.ngrams, rows.labels, labels)
    own = rows.labels[rows.embedded]
    dense, dense_bias = _fit_dense(rows.dense, own, labels, strength)
    present = sorted(set(own.tolist()))
    centroids = np.stack([rows.dense[own == number].mean(axis=0) for number in present])
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-6)
    return {
        "ngrams": ngrams,
        "ngrams_bias": ngrams_bias,
        "dense": dense,
        "dense_bias": dense_bias,
        "centroids": centroids.astype(np.float32),
    }


def _fit_ngrams(matrix: Any, labels: NDArray[np.int64], count: int) -> tuple[Floats, Floats]:
    from sklearn.svm import LinearSVC  # type: ignore[import-untyped]

    fitted = LinearSVC(C=1.0, random_state=0, max_iter=2000, tol=1e-3).fit(matrix, labels)
    return _spread(fitted, count, lowest=-1.5)


def _fit_dense(
    vectors: Floats, labels: NDArray[np.int64], count: int, strength: float
) -> tuple[Floats, Floats]:
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    fitted = LogisticRegression(C=strength, max_iter=300, tol=1e-3).fit(vectors, labels)
    return _spread(fitted, count, lowest=-8.0)


def _spread(fitted: Any, count: int, *, lowest: float) -> tuple[Floats, Floats]:
    """Coefficients with a row for every label; one without examples gets a low constant score."""
    coefficients, bias = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:
        coefficients, bias = np.vstack([-coefficients, coefficients]), np.concatenate([-bias, bias])
    whole = np.zeros((count, coefficients.shape[1]), dtype=np.float32)
    whole_bias = np.full(count, lowest, dtype=np.float32)
    whole[fitted.classes_] = coefficients
    whole_bias[fitted.classes_] = bias
    return whole, whole_bias


def _validated(
    rows: _Rows, labels: Sequence[Label], arrays: dict[str, NDArray[Any]]
) -> tuple[Weights, float]:
    """Weights, temperatures and the dense model's strength that did best on examples held out."""
    held = _folds(rows)
    if (held >= 0).sum() < 10:
        return DEFAULT, DENSE_STRENGTHS[1]
    count = len(labels)
    shape = (len(held), count)
    ngrams = np.zeros(shape, dtype=np.float32)
    dense = {strength: np.zeros(shape, dtype=np.float32) for strength in DENSE_STRENGTHS}
    own = rows.labels[rows.embedded]
    for fold in range(int(held.max()) + 1):
        test, train_rows = held == fold, held != fold
        if len(set(own[train_rows].tolist())) < 2:
            return DEFAULT, DENSE_STRENGTHS[1]
        known = _ngram_rows(rows, rows.embedded[test], count)
        coefficients, bias = _fit_ngrams(rows.ngrams[known], rows.labels[known], count)
        ngrams[test] = rows.ngrams[rows.embedded[test]] @ coefficients.T + bias
        for strength in DENSE_STRENGTHS:
            coefficients, bias = _fit_dense(rows.dense[train_rows], own[train_rows], count, strength)
            dense[strength][test] = rows.dense[test] @ coefficients.T + bias
    tested = held >= 0
    said = _said(rows, labels, arrays)[tested]
    return _best(ngrams[tested], {s: scores[tested] for s, scores in dense.items()}, said, own[tested])


def _ngram_rows(rows: _Rows, held: NDArray[np.int64], labels: int) -> NDArray[np.int64]:
    """The rows that n-grams are learnt from while `held` are held out: all, unless that would take long."""
    listed = np.arange(len(rows.labels)) if len(rows.labels) * labels <= FITTED_MAX else rows.embedded
    return np.setdiff1d(listed, held)


def _folds(rows: _Rows) -> NDArray[np.int64]:
    """A fold for each embedded row, spread over every label; -1 for a label's only example."""
    own = rows.labels[rows.embedded]
    counts = Counter(own.tolist())
    folds = 5 if len(own) <= 300 else 3
    seen: Counter[int] = Counter()
    held = np.full(len(own), -1, dtype=np.int64)
    order = random.Random(0).sample(range(len(own)), len(own))
    for row in order[:VALIDATED_MAX]:
        label = int(own[row])
        if counts[label] > 1:
            held[row] = (seen[label] + label) % folds
            seen[label] += 1
    used = sorted(set(held.tolist()) - {-1})
    return np.array([used.index(fold) if fold >= 0 else -1 for fold in held.tolist()], dtype=np.int64)


def _said(rows: _Rows, labels: Sequence[Label], arrays: dict[str, NDArray[Any]]) -> Floats:
    keywords = [classifier.keyword_stems(label) for label in labels]
    other = [classifier.is_other(label.name) for label in labels]
    return np.stack(
        [
            classifier.label_shares(
                arrays["phrases"] @ vector,
                arrays["phrase_label"],
                arrays["phrase_typical"],
                classifier.keyword_hits(keywords, rows.texts[row]),
                other,
            )
            for row, vector in zip(rows.embedded.tolist(), rows.dense, strict=True)
        ]
    )


def _best(
    ngrams: Floats, dense: dict[float, Floats], said: Floats, truth: NDArray[np.int64]
) -> tuple[Weights, float]:
    """A small grid; the least log loss wins, because a calibrated confidence decides about escalation."""
    said_log = np.log(np.maximum(said, 1e-6))
    ngrams_temperature = min((0.15, 0.25, 0.4, 0.7), key=lambda t: _loss(ngrams / t, truth))
    ngrams_log = _log_softmax(ngrams / ngrams_temperature)
    found: tuple[float, Weights, float] | None = None
    for strength, scores in dense.items():
        temperature = min((0.3, 0.5, 0.75, 1.0, 1.4), key=lambda t: _loss(scores / t, truth))
        dense_log = _log_softmax(scores / temperature)
        for share in (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0):
            for words in (0.0, 0.1, 0.25, 0.5):
                total = (share * ngrams_log + (1 - share) * dense_log + words * said_log).astype(np.float32)
                sharpness = min((0.8, 1.0, 1.25, 1.6, 2.0), key=lambda s: _loss(total * s, truth))
                loss = _loss(total * sharpness, truth)
                if found is None or loss < found[0] - 1e-4:
                    weights = Weights(
                        ngrams=share,
                        dense=round(1 - share, 2),
                        words=words,
                        ngrams_temperature=ngrams_temperature,
                        dense_temperature=temperature,
                        sharpness=sharpness,
                        doubt=round(1 / (len(truth) + 2), 4),
                    )
                    found = (loss, weights, strength)
    assert found is not None, "the grid is not empty"
    return found[1], found[2]


def _loss(scores: Floats, truth: NDArray[np.int64]) -> float:
    return float(-_log_softmax(scores)[np.arange(len(truth)), truth].mean())


def _log_softmax(scores: Floats) -> Floats:
    shifted = scores - scores.max(axis=1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def _nearness_min(rows: _Rows, arrays: dict[str, NDArray[Any]]) -> float:
    """Less like anything than nearly all of the examples are like the others."""
    own = rows.labels[rows.embedded]
    present = sorted(set(own.tolist()))
    likeness = (rows.dense @ arrays["phrases"].T).max(axis=1)
    for place, number in enumerate(present):
        members = np.flatnonzero(own == number)
        likeness = np.maximum(
            likeness,
            np.where(own == number, -1.0, rows.dense @ arrays["centroids"][place]).astype(np.float32),
        )
        if len(members) > 1:
            # The centroid of the others: with few examples each is like a centroid that holds itself.
            others = rows.dense[members].sum(axis=0) - rows.dense[members]
            others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-6)
            likeness[members] = np.maximum(likeness[members], (others * rows.dense[members]).sum(axis=1))
    return round(min(float(np.quantile(likeness, 0.02)) - 0.03, 0.3), 4)
