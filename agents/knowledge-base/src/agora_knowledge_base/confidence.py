"""How sure it is that the evidence answers the question: a logistic model over a few signals.

The weights were fitted by `evals/calibrate.py` on the tuning questions, and on the same questions with the
passages that answer them taken away; the report questions were never looked at (evals/README.md).
"""

import math

from agora_knowledge_base.evidence import Signals

BIAS = -6.51
WEIGHTS = {
    "covered": 2.49,
    "around": 1.89,
    "meaning": 5.38,
    "passage_meaning": 0.71,
    "lacking": -1.71,
    "numbers": -0.98,
    "gap": -0.98,
    "unknown": -0.89,
    "kind": 1.40,
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
