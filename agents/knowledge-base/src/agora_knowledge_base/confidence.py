"""How sure it is that the evidence answers the question: a logistic model over a few signals.

The weights were fitted by `evals/calibrate.py` on the tuning questions, and on the same questions with the
passages that answer them taken away; the report questions were never looked at (evals/README.md).
"""

import math

from agora_knowledge_base.evidence import Signals

BIAS = -6.25
WEIGHTS = {
    "covered": 2.21,
    "said": -0.12,
    "around": 2.42,
    "meaning": 5.07,
    "passage_meaning": 1.14,
    "lacking": -1.20,
    "numbers": -1.43,
    "gap": -1.15,
    "unknown": -1.82,
    "kind": 1.21,
}


def of(signals: Signals | None) -> float:
    """A probability, 0 to 1; 0 where there is no evidence at all."""
    if signals is None:
        return 0.0
    total = BIAS + sum(weight * getattr(signals, name) for name, weight in WEIGHTS.items())
    return round(1 / (1 + math.exp(-total)), 4)
