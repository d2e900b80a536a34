"""Train the sentiment heads; see README.md beside this file."""

import argparse
import random
import unicodedata
from pathlib import Path

import numpy as np
from agora import embeddings
from agora_ticket_resolver import multilingual
from numpy.typing import NDArray
from sklearn.linear_model import Ridge  # type: ignore[import-untyped]

SOURCES = {
    "tweets": 4200,
    "amazonReviewSnippets": 3708,
    "movieReviewSnippets": 2000,
    "nytEditorialSnippets": 1500,
}
RATING_MAX = 2.8
"""Mean ratings run from -4 to 4, but 20 people seldom agree on more than this."""

STRENGTH = 10.0

type Floats = NDArray[np.float32]


def read(folder: Path) -> tuple[list[str], Floats, list[str]]:
    """Sentences, their mean ratings scaled to -1 to 1, and their sources."""
    chosen = random.Random(0)
    texts, ratings, sources = [], [], []
    for name, most in SOURCES.items():
        lines = (folder / f"{name}_GroundTruth.txt").read_text("utf-8", errors="replace").splitlines()
        cells = [line.split("\t") for line in lines]
        rated = [(cell[2], float(cell[1])) for cell in cells if len(cell) >= 3]
        for text, rating in chosen.sample(rated, min(most, len(rated))):
            texts.append(unicodedata.normalize("NFKC", text))
            ratings.append(max(-1.0, min(1.0, rating / RATING_MAX)))
            sources.append(name)
    return texts, np.array(ratings, dtype=np.float32), sources


def head(vectors: Floats, ratings: Floats, sources: list[str], name: str) -> dict[str, Floats]:
    """A head's arrays; prints how it does on each source when trained on the others."""
    centre = vectors.mean(axis=0)
    centred = vectors - centre
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    for source in SOURCES:
        held = np.array([other == source for other in sources])
        guessed = Ridge(alpha=STRENGTH).fit(centred[~held], ratings[~held]).predict(centred[held])
        truth = ratings[held]
        clear = np.abs(truth) > 0.5 / RATING_MAX
        right = float((np.sign(guessed[clear]) == np.sign(truth[clear])).mean())
        print(f"{name} {source}: r {np.corrcoef(guessed, truth)[0, 1]:.3f}, sign {right:.3f}")
    fitted = Ridge(alpha=STRENGTH).fit(centred, ratings)
    weights = np.append(fitted.coef_, fitted.intercept_).astype(np.float32)
    return {f"{name}.centre": centre.astype(np.float32), f"{name}.sentiment": weights}


def main() -> None:
    """Train both heads and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    texts, ratings, sources = read(given.source)
    arrays = head(embeddings.shared().embed(texts), ratings, sources, "english")
    arrays |= head(multilingual.shared().embed(texts), ratings, sources, "multilingual")
    np.savez(given.out, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
