"""Fit the weights of `agora_knowledge_base.confidence` on a set, and show how well they tell right from wrong.

Run `python evals/calibrate.py evals/tune [--embeddings FILE]`; it prints the weights to put into confidence.py.
A question counts as right if the chosen sentences hold the expected answer. Each question that can be answered
is asked a second time with the passages that answer it taken away, as one that cannot.
"""

import argparse
import asyncio
import math
from pathlib import Path

import numpy as np
from agora_knowledge_base import confidence
from examining import Embedder, Examined, examine_set
from scipy.optimize import minimize  # type: ignore[import-untyped]

PENALTY = 0.1
NAMES = tuple(confidence.WEIGHTS)


def main() -> None:
    """Examine the sets, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--embeddings", type=Path)
    parser.add_argument("--show", action="store_true", help="list what is wrong")
    asked = parser.parse_args()
    embedder = Embedder(asked.embeddings)
    examined = [one for folder in asked.sets for one in asyncio.run(examine_set(folder, embedder))]
    embedder.save()
    _report(examined, asked.show)
    print(_fitted(examined))


def _report(examined: list[Examined], show: bool) -> None:
    plain = [one for one in examined if not one.robbed]
    asked = [one for one in plain if one.expected.answerable]
    ranks = [
        next((at for at, passage in enumerate(one.found, 1) if passage.source in one.expected.sources), 0)
        for one in asked
    ]
    print(f"retrieval: recall@1 {np.mean([rank == 1 for rank in ranks]):.3f}", end=" ")
    print(f"recall@5 {np.mean([1 <= rank <= 5 for rank in ranks]):.3f}", end=" ")
    print(f"MRR {np.mean([1 / rank if rank else 0 for rank in ranks]):.3f}")
    print(f"chosen sentences hold the answer: {np.mean([one.right for one in asked]):.3f} of {len(asked)}")
    units = [sum(len(statement.units) for statement in one.statements) for one in asked]
    print(f"sentences chosen per part: {np.mean(units):.2f}")
    for name, some in (("asked", plain), ("asked and robbed", examined)):
        scores = np.array([confidence.of(one.signals) for one in some])
        right = np.array([one.right for one in some])
        print(
            f"{name}: AUROC {_auroc(scores, right):.3f}, accuracy at 0.5 {np.mean((scores >= 0.5) == right):.3f}",
            end=" ",
        )
        print(
            f"answered when right {np.mean(scores[right] >= 0.5):.3f}, silent when not {np.mean(scores[~right] < 0.5):.3f}"
        )
    for one in examined if show else ():
        score = confidence.of(one.signals)
        wrong_choice = one.expected.answerable and not one.robbed and not one.right
        if wrong_choice or (score >= 0.5) != one.right:
            said = " / ".join(unit.text for statement in one.statements for unit in statement.units)[:230]
            kind = "WRONG CHOICE" if wrong_choice else ("SILENT" if one.right else "FALSE ANSWER")
            print(f"{kind} {'robbed ' if one.robbed else ''}{one.id} {score:.2f} {one.query}\n    -> {said}")
            print(
                "   ", {name: round(getattr(one.signals, name), 2) for name in NAMES} if one.signals else None
            )


def _auroc(scores: "np.ndarray", right: "np.ndarray") -> float:
    above, below = scores[right], scores[~right]
    return float(np.mean((above[:, None] > below[None, :]) + 0.5 * (above[:, None] == below[None, :])))


def _fitted(examined: list[Examined]) -> str:
    known = [one for one in examined if one.signals is not None]
    features = np.array([[getattr(one.signals, name) for name in NAMES] + [1.0] for one in known])
    right = np.array([one.right for one in known], dtype=float)
    # On one scale, so that the penalty holds no signal back for being small.
    scale = features.std(axis=0)
    scale[scale == 0] = 1
    scale[-1] = 1
    features = features / scale
    # As many on either side: how often a question can be answered is not known beforehand.
    weight = np.where(right == 1, 0.5 / right.mean(), 0.5 / (1 - right.mean()))

    def loss(weights: "np.ndarray", rows: "np.ndarray") -> float:
        margin = (features[rows] @ weights) * (2 * right[rows] - 1)
        penalty = PENALTY * float(weights[:-1] @ weights[:-1]) / 2
        return float(np.mean(weight[rows] * np.logaddexp(0, -margin))) + penalty * 0.1

    everything = np.arange(len(known))
    whole = minimize(loss, np.zeros(len(NAMES) + 1), args=(everything,)).x / scale
    # Held out by question, so that a question and its robbed twin are never on both sides.
    folds = np.array([sum(map(ord, one.id)) % 5 for one in known])
    held_out = np.zeros(len(known))
    for fold in range(5):
        fitted = minimize(loss, np.zeros(len(NAMES) + 1), args=(everything[folds != fold],)).x
        held_out[folds == fold] = features[folds == fold] @ fitted
    accuracy = np.mean((held_out > 0) == (right == 1))
    lines = [f"held out: AUROC {_auroc(held_out, right == 1):.3f}, accuracy {accuracy:.3f}, n {len(known)}"]
    lines += [f"BIAS = {whole[-1]:.2f}"] + [
        f'"{name}": {value:.2f},' for name, value in zip(NAMES, whole[:-1], strict=True)
    ]
    return "\n".join(lines) if math.isfinite(whole[-1]) else "the fit did not end"


if __name__ == "__main__":
    main()
