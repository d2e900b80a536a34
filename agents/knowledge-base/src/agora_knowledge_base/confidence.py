"""How sure it is that the evidence answers the question: a logistic model over a few signals.

The weights were fitted by `evals/calibrate.py` on the tuning questions, and on the same questions with the
passages that answer them taken away. The fit holds either case as likely; the bias is 0.5 above it, since most
questions that people ask their own documents have an answer there (evals/README.md).
"""

import math

from agora_knowledge_base.evidence import Signals

BIAS = -8.90
WEIGHTS = {
    "covered": 3.04,
    "around": 1.74,
    "meaning": 11.54,
    "passage_meaning": -2.17,
    "lacking": -2.11,
    "numbers": -1.58,
    "gap": -1.45,
    "unknown": -0.39,
    "kind": 2.05,
    "pull": 3.56,
}
KIND_HELD, VETO = 0.5, 0.3


def of(signals: Signals | None) -> float:
    """A probability, 0 to 1; 0 where there is no evidence at all."""
    if signals is None:
        return 0.0
    total = BIAS + sum(weight * getattr(signals, name) for name, weight in WEIGHTS.items())
    # Sentences without any number do not say how many, however much they speak of the same things.
    veto = 1.0 if signals.kind >= KIND_HELD else VETO + (1 - VETO) * signals.kind
    return round(veto / (1 + math.exp(-total)), 4)
