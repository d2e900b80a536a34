"""How sure it is that the evidence answers the question: a logistic model over a few signals.

The weights were fitted by `evals/calibrate.py` on the tuning questions, and on the same questions with the
passages that answer them taken away; the report questions were never looked at (evals/README.md).
"""

import math

from agora_knowledge_base.evidence import Signals

BIAS = -6.0
WEIGHTS = {
    "covered": 3.0,
    "said": 1.0,
    "around": 3.0,
    "meaning": 4.0,
    "passage_meaning": 1.5,
    "lacking": -2.0,
    "unknown": -3.0,
    "kind": 0.7,
}


def of(signals: Signals | None) -> float:
    """A probability, 0 to 1; 0 where there is no evidence at all."""
    if signals is None:
        return 0.0
    total = BIAS + sum(weight * getattr(signals, name) for name, weight in WEIGHTS.items())
    return round(1 / (1 + math.exp(-total)), 4)
